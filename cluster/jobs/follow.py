"""How a submitted job is doing: its state at the scheduler, its sweep's progress, its output as it comes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from landsweep.cluster.jobs.jobs import Job, keep, launcher_of
from landsweep.cluster.launchers.launcher import JobState, JobStatus, Launcher
from landsweep.orchestrator.commands.stages import stages_at
from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.storage.ledger import read_status
from landsweep.orchestrator.storage.store import Store

__all__ = ["JobWatch", "Streams", "follow", "progress", "refreshed", "refreshed_by", "status_of"]

_LOG_SECONDS = 2.0
_PATIENCE = 120.0  # s, with a scheduler that does not answer or does not know the job


def refreshed(job: Job) -> Job:
    """The job with its present state at the scheduler; a change is noted."""
    if job.state.over:
        return job
    if not job.submitted_here:
        return job.with_status(JobStatus(JobState.unknown, f"submitted by {job.user} on {job.host}, not from here"))
    return refreshed_by(launcher_of(job), job)


def refreshed_by(launcher: Launcher[Any], job: Job) -> Job:
    """As `refreshed`, by this launcher, which remembers when it last asked."""
    try:
        status = launcher.status(job.job, Path(job.home))
    except LandsweepError as e:
        return job.with_status(JobStatus(JobState.unknown, str(e)))
    now = job.with_status(status)
    if now.state is not job.state:
        keep(now)
    return now


def progress(job: Job) -> str:
    """Units of the sweep that have rows; `?` if that can't be seen from here."""
    status = status_of(job)
    if not status:
        return "?"
    total = "?" if status["total"] is None else f"{status['total']:,}"
    stage = f"{status['stage']}: " if "stage" in status else ""
    return f"{stage}{status['done']:,}/{total} {status['phase']}"


def status_of(job: Job) -> dict[str, Any]:
    """What the driver of this job last wrote; empty before it has, or if that can't be seen from here.

    For stages it is the status of the latest stage that has begun, with its name as `stage`. The phase is `done` only
    when the last stage is, and `counts` are of all stages.
    """
    try:
        stages = stages_at(job.out)
        if stages is None:
            return _news(job, job.out)
        begun = {name: status for name, where in stages.items() if (status := _news(job, where))}
    except LandsweepError:
        return {}
    if not begun:
        return {}
    stage, status = list(begun.items())[-1]
    counts = sum((Counter(s["counts"]) for s in begun.values()), Counter[str]())
    phase = "between stages" if status["phase"] == "done" and stage != list(stages)[-1] else status["phase"]
    return {**status, "stage": stage, "phase": phase, "counts": dict(counts)}


def _news(job: Job, where: str) -> dict[str, Any]:
    status = read_status(Store.at(where)) or {}
    return status if status.get("updated", 0.0) > job.submitted else {}


class Streams:
    """What several files have more than before, told apart by a line with a file's name wherever another one speaks."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}
        self._speaker = ""

    def news(self, logs: Mapping[str, str], *, last: bool = False) -> str:
        r"""What has come since the last call, in whole lines.

        Args:
            logs: all text of each file.
            last: nothing more comes, so that also a line without an end is given.

        Example:
            >>> streams = Streams()
            >>> streams.news({"a": "one\ntw"})
            'one\n'
            >>> streams.news({"a": "one\ntwo\n", "b": "three\n"})
            '== a\ntwo\n== b\nthree\n'
        """
        parts: list[str] = []
        for name, text in logs.items():
            shown = self._shown.get(name, 0)
            if len(text) < shown:  # a new start with a log of its own
                shown = 0
            end = len(text) if last else text.rfind("\n") + 1
            if end > shown:
                if len(logs) > 1 and name != self._speaker:
                    gap = "\n" if parts and not parts[-1].endswith("\n") else ""
                    parts.append(f"{gap}== {name}\n")
                    self._speaker = name
                parts.append(text[shown:end])
            self._shown[name] = max(shown, end)
        return "".join(parts)


class JobWatch:
    """Looks at a job again and again.

    Attributes:
        job: as it was last seen.
        launcher: that submitted it.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.launcher = launcher_of(job)
        self._last_known = time.monotonic()

    def over(self) -> bool:
        """Whether nothing more comes: so says its scheduler, or it has known nothing of it for minutes."""
        self.job = refreshed_by(self.launcher, self.job)
        if self.job.state is not JobState.unknown:
            self._last_known = time.monotonic()
            return self.job.state.over
        return time.monotonic() - self._last_known > _PATIENCE


def follow(job: Job, write: Callable[[str], object]) -> int:
    """Write the job's output as it comes until it ends.

    Args:
        job: to follow.
        write: gets the text.

    Returns:
        The exit code of `landsweep run`; 1 also when the job itself failed.
    """
    watch, streams = JobWatch(job), Streams()
    while True:
        over = watch.over()
        write(streams.news(watch.launcher.logs(job.job, Path(job.home)), last=over))
        if over:
            job = watch.job
            status = status_of(job)
            if status.get("phase") == "done":
                return 1 if status["counts"].get("failed") else 0
            write(f"job {job.job}: {job.state} ({job.detail})\n")
            stopped = job.state is JobState.cancelled or status.get("phase") == "stopped"
            return 3 if stopped else 0 if job.state is JobState.done else 1
        time.sleep(_LOG_SECONDS)
