"""Launchers without their clusters: what they would hand over, and what they say to wrong sites."""

from __future__ import annotations

import socket

import pytest

from cluster.addresses import free_port, own_address
from orchestrator.errors import SpecError, UsageError
from orchestrator.site import load_site


def test_wrong_launcher_fields_name_those_that_are_known() -> None:
    with pytest.raises(SpecError, match=r"nodse: unknown field; did you mean 'nodes'\? known here: .*partition"):
        load_site("slurm", ["launcher.nodse=2"])
    with pytest.raises(SpecError, match=r"launcher.type: give one of .*slurm"):
        load_site("slurm", ["launcher.type=pbs"])
    with pytest.raises(SpecError, match=r"time: .*4 hours"):
        load_site("slurm", ["launcher.time=4 hours"])
    with pytest.raises(SpecError, match="give fields"):
        load_site("slurm", ["launcher=slurm"])


def test_a_port_in_use_is_passed_over() -> None:
    first = free_port("77", "127.0.0.1")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", first))
        holder.listen()
        assert free_port("77", "127.0.0.1") != first
    assert free_port("77", "127.0.0.1", skip=1) != first


def test_the_address_on_a_network_that_is_not_here_is_told() -> None:
    assert own_address("lo") == own_address("127.0.0.0/8") == "127.0.0.1"
    with pytest.raises(UsageError, match=r"launcher.network ib7: .* has no address there; it has lo 127.0.0.1"):
        own_address("ib7")
