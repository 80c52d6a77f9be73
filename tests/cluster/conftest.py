"""One Slurm for all tests that need it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.raycluster import RayCluster
from tests.cluster.slurm import MISSING, LocalSlurm, until


@pytest.fixture(scope="session")
def daemons() -> Iterator[LocalSlurm]:
    if MISSING:
        pytest.skip(MISSING)
    slurm = LocalSlurm()
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


@pytest.fixture
def slurm(
    daemons: LocalSlurm, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalSlurm]:
    """Idle nodes at the beginning, and no process of a job left at the end."""
    tmp_path_factory.getbasetemp()  # now, while TMPDIR is still the tests' own
    monkeypatch.setenv("SLURM_CONF", str(daemons.conf))
    monkeypatch.setenv("TMPDIR", str(daemons.scratch))
    for name in [name for name in os.environ if name.startswith("RAY_AUTH")]:
        monkeypatch.delenv(name)
    daemons.wait_idle()
    yield daemons
    daemons.say("scancel", "--me")
    daemons.wait_idle()
    until("no process of a job is left", lambda: not daemons.left_over(), 90)  # agents of a killed Ray take a minute


@pytest.fixture(scope="module")
def dashboard() -> Iterator[RayCluster]:
    """A Ray cluster of others; a test that talks to it asks it for its token first."""
    cluster = RayCluster()
    try:
        cluster.wait()
        yield cluster
    finally:
        cluster.stop()
