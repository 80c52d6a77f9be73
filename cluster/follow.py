"""How a submitted job fares: its scheduler's word, its sweep's progress, its output as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.launcher import JobState, Look
from cluster.records import Job, keep, launcher_of
from orchestrator.errors import LandsweepError
from orchestrator.ledger import read_status
from orchestrator.store import Store

__all__ = ["follow", "looked", "progress"]

_LOG_SECONDS = 2.0
_END_SECONDS = 1.0  # between the end of the sweep and the last line of the log


def looked(job: Job) -> Job:
    """The job with what its scheduler says now, written down if it is news."""
    if job.state.over:
        return job
    try:
        look = launcher_of(job).look(job.job, Path(job.home))
    except LandsweepError as e:
        return job.with_look(Look(JobState.unknown, str(e)))
    now = job.with_look(look)
    if now.state is not job.state:
        keep(now)
    return now


def progress(job: Job) -> str:
    """Units of the sweep that have rows, as far as they can be seen from here."""
    status = _status(job)
    if not status:
        return "?"
    total = "?" if status["total"] is None else f"{status['total']:,}"
    return f"{status['done']:,}/{total} {status['phase']}"


def _status(job: Job) -> dict[str, Any]:
    """What the driver of this job last wrote; empty while it has not, or where it can't be seen."""
    try:
        status = read_status(Store.at(job.out)) or {}
    except LandsweepError:
        return {}
    return status if status.get("updated", 0.0) > job.submitted else {}


def follow(job: Job, write: Callable[[str], object]) -> int:
    """Write the job's output as it comes until it ends.

    Args:
        job: to follow.
        write: gets the text.

    Returns:
        The exit code of `landsweep run`; 1 also when the job itself failed.
    """
    launcher = launcher_of(job)
    home = Path(job.home)
    shown = 0
    while True:
        status = _status(job)
        ended = status.get("phase") == "done"
        now = looked(job)
        if ended:
            time.sleep(_END_SECONDS)
        text = launcher.logs(job.job, home)
        write(text[shown:])
        shown = len(text)
        if ended:
            return 1 if status["counts"].get("failed") else 0
        if now.state.over and now.state is not JobState.unknown:
            write(f"job {job.job}: {now.state} ({now.told})\n")
            return {JobState.done: 0, JobState.cancelled: 3}.get(
                now.state, 3 if status.get("phase") == "stopped" else 1
            )
        time.sleep(_LOG_SECONDS)
