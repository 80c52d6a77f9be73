"""A gang whose members die before they have been told what to compute, and what is heard of a member that fails."""

from __future__ import annotations

import sys
import time
from multiprocessing import Pipe

import pyarrow as pa
import pytest

from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Gave, Lost
from landsweep.orchestrator.run.executors.gang import ProcessGang
from landsweep.orchestrator.run.messages import Chunk, WorkerConfig
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


@pytest.mark.parametrize(("cause", "heard"), [("infra", [Lost]), ("error", [Gave, Lost])])
def test_an_error_of_another_member_counts_before_the_loss_of_that_member(
    cause: str, heard: list[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy driver hears both at once: only the first member's own error is a row beside it."""
    monkeypatch.setattr(sys, "executable", "/bin/true")
    gang = ProcessGang(WorkerConfig("function", {}), ["cpu"] * 2, timeout=60)
    try:
        ours, theirs = zip(Pipe(), Pipe(), strict=True)
        gang._members[:] = ours
        gang.start(Shard(id=0, units=()))
        theirs[0].send(("opened", None))
        assert gang.poll(1.0) == []
        rows = pa.record_batch({"cause": pa.array([cause])})
        theirs[1].send(("failed", Cause.error, "raised on purpose"))
        theirs[0].send(("gave", Chunk(rows, None, broken=True)))
        events = gang.poll(1.0)
        assert [type(event) for event in events] == heard
        lost = events[-1]
        assert isinstance(lost, Lost) and lost.cause is Cause.error and lost.began
        assert lost.why == "member 1 of 2: raised on purpose"
    finally:
        gang.close()
