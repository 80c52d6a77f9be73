"""A drill through a launcher: its sweep is submitted, watched, and submitted again when a death has ended the job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from landsweep.cluster.drill.outcome import DrillOutcome
from landsweep.cluster.jobs.follow import JobWatch, Streams, status_of
from landsweep.cluster.jobs.submit import draft, submit
from landsweep.cluster.launchers.launcher import JobState
from landsweep.orchestrator.errors import LandsweepError

__all__ = ["drill_jobs"]

_LOOK_SECONDS = 1.0
_TAIL = 30  # lines of a job's output that are shown when it failed


def drill_jobs(
    spec: Path, site: str, changes: Sequence[str], out: str, outcome: DrillOutcome, say: Callable[[str], None]
) -> None:
    """Submit the sweep, and again as often as a death has ended its job; what is seen goes into the outcome.

    Args:
        spec: file of the drill's sweep.
        site: file or name of a site with a launcher.
        changes: `field=value` of the site, with `site.` in front.
        out: results.
        outcome: of the drill.
        say: gets what happens, for people.

    Raises:
        UsageError: a check failed before the first job was queued.
        LandsweepError: a job failed by itself.
    """
    deaths = -1
    while True:
        launcher, launch = draft(spec, changes, site, out, ["drill", "--site", site, *changes])
        watch = JobWatch(submit(launcher, launch, say))
        home, job = Path(watch.job.home), watch.job.job
        say(f"job {job} ({launcher.name}) is queued")
        try:
            _watched(watch, outcome, say)
        except BaseException:
            launcher.cancel(job, home)
            raise
        outcome.ended = f"{watch.job.state}: {watch.job.detail}"
        outcome.note_rows()
        if status_of(watch.job).get("phase") == "done":
            return
        before, deaths = deaths, len(outcome.recorded_deaths())
        if deaths <= max(before, 0) or watch.job.state is JobState.cancelled:
            tail = "\n".join(Streams().news(launcher.logs(job, home), last=True).splitlines()[-_TAIL:])
            raise LandsweepError(f"job {job} ended by itself ({outcome.ended}):\n{tail}")
        say(f"job {job} is over ({watch.job.detail}); the same is submitted again")


def _watched(watch: JobWatch, outcome: DrillOutcome, say: Callable[[str], None]) -> None:
    """Look at a job until it is over."""
    recorded = outcome.recorded_deaths()
    while not watch.over():
        if not outcome.workers:
            outcome.began = time.monotonic()  # what a job waits in a queue is not the deaths' doing
        outcome.observe()
        for name, what in outcome.recorded_deaths().items():
            if name not in recorded and not what.startswith("worker"):
                rows = outcome.note_rows()
                say(f"{time.monotonic() - outcome.began:.0f} s: {what} killed after {rows:,} rows")
        recorded = outcome.recorded_deaths()
        time.sleep(_LOOK_SECONDS)
