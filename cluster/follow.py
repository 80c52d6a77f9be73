"""How a submitted job fares: its scheduler's word, its sweep's progress, its output as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.launcher import JobState, Launcher, Look
from cluster.records import Job, keep, launcher_of
from orchestrator.errors import LandsweepError
from orchestrator.ledger import read_status
from orchestrator.store import Store

__all__ = ["follow", "look_again", "looked", "progress"]

_LOG_SECONDS = 2.0


def looked(job: Job) -> Job:
    """The job with what its scheduler says now, written down if it is news."""
    if job.state.over:
        return job
    if not job.here:
        return job.with_look(Look(JobState.unknown, f"submitted from {job.host}"))
    return look_again(launcher_of(job), job)


def look_again(launcher: Launcher[Any], job: Job) -> Job:
    """The same by a launcher that remembers when it last asked."""
    try:
        look = launcher.look(job.job, Path(job.home))
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
        job = look_again(launcher, job)
        text = launcher.logs(job.job, home)
        write(text[shown:])
        shown = len(text)
        if job.state.over and job.state is not JobState.unknown:
            status = _status(job)
            if status.get("phase") == "done":
                return 1 if status["counts"].get("failed") else 0
            write(f"job {job.job}: {job.state} ({job.told})\n")
            stopped = job.state is JobState.cancelled or status.get("phase") == "stopped"
            return 3 if stopped else 0 if job.state is JobState.done else 1
        time.sleep(_LOG_SECONDS)
