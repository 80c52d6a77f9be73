"""A gang whose members die before they have been told what to compute."""

from __future__ import annotations

import sys
import time

import pytest

from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Lost
from landsweep.orchestrator.run.executors.gang import ProcessGang
from landsweep.orchestrator.run.messages import WorkerConfig
from landsweep.orchestrator.run.schedule import Shard


@pytest.mark.parametrize("size", [1, 2])
def test_members_that_die_at_once_end_the_gang_and_not_the_driver(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    config = WorkerConfig("function", {"description": "x" * 2**22})  # more than a socket takes before it is read
    gang = ProcessGang(config, ["cpu"] * size, timeout=60)
    try:
        gang.start(Shard(id=0, units=()))
        end, events = time.monotonic() + 60, []
        while not events and time.monotonic() < end:
            events = gang.poll(1.0)
        (lost,) = events
        assert isinstance(lost, Lost) and lost.cause is Cause.infra and not lost.began
        assert gang.ended and "ended with code 1" in gang.failure
    finally:
        gang.close()
