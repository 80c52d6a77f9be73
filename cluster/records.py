"""Jobs of a sweep, kept as JSON beside its results: `jobs/0001/job.json`. No pickle, no state anywhere else."""

from __future__ import annotations

import getpass
import json
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cluster.launcher import LAUNCH_FILE, JobState, Launch, Launcher, Look
from orchestrator.errors import SpecError, UsageError
from orchestrator.site import launcher_type
from orchestrator.spec import parse
from orchestrator.store import Store, is_url

__all__ = ["Job", "claim", "drop", "every_job", "find_job", "jobs_of", "keep", "launcher_of", "record"]


_FILE = "job.json"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


@dataclass(frozen=True, slots=True)
class Job:
    """One submission.

    Attributes:
        number: among those of its sweep, from 1.
        name: of the sweep.
        out: its results, as the cluster names them.
        home: local folder with launch, script and log.
        job: id that the scheduler gave.
        launcher: the section of the site.
        command: what was typed.
        submitted: time, s since the epoch.
        user, host: who submitted, where.
        state, told, seen: what the scheduler last said, and when.
    """

    number: int
    name: str
    out: str
    home: str
    job: str
    launcher: Mapping[str, Any]
    command: str
    submitted: float
    user: str
    host: str
    state: JobState = JobState.queued
    told: str = ""
    seen: float = 0.0

    @property
    def here(self) -> bool:
        """Whether it was submitted from this folder; a copy may come from anybody, so no tool is run for it."""
        try:
            noted = json.loads((Path(self.home) / _FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(noted, dict) and (noted.get("job"), noted.get("home")) == (self.job, self.home)

    def with_look(self, look: Look) -> Job:
        """The same with what the scheduler says now; one that has forgotten the job does not undo what it said."""
        if look.state is JobState.unknown:
            look = Look(self.state if self.state.over else JobState.unknown, look.told)
        return replace(self, state=look.state, told=look.told, seen=time.time())


def claim(launch: Launch) -> Launch:
    """Take the next free number for a launch, and write its `launch.json`; two who submit at once get two numbers."""
    results = launch.home.rpartition("/jobs/")[0]
    store = Store.at(results)
    for number in range(1, 10_000):
        taken = replace(launch, number=number, home=f"{results}/jobs/{number:04d}")
        if store.create(f"jobs/{number:04d}/{LAUNCH_FILE}", taken.text().encode()):
            return taken
    raise UsageError(f"{results}/jobs holds 9,999 jobs; remove old ones")


def drop(launch: Launch) -> None:
    """Remove what was written for a launch that was not submitted."""
    shutil.rmtree(launch.home, ignore_errors=True)


def record(launch: Launch, job: str, launcher: Launcher[Any]) -> Job:
    """Note a job down that was submitted just now."""
    made = Job(
        number=launch.number,
        name=launch.name,
        out=launch.out,
        home=launch.home,
        job=job,
        launcher=launcher.given.model_dump(mode="json"),
        command=launch.command,
        submitted=time.time(),
        user=getpass.getuser(),
        host=platform.node(),
    )
    keep(made)
    return made


def keep(job: Job) -> None:
    """Write a job's present state: where its other files are, and beside results at a URL too."""
    text = (json.dumps(asdict(job), indent=2) + "\n").encode()
    for results in dict.fromkeys([job.home.rpartition("/jobs/")[0], *([job.out] if is_url(job.out) else [])]):
        Store.at(results).replace(f"jobs/{job.number:04d}/{_FILE}", text)


def launcher_of(job: Job) -> Launcher[Any]:
    """The launcher that submitted a job, to ask it about the job.

    Raises:
        UsageError: it was submitted from another folder or machine.
    """
    if not job.here:
        raise UsageError(
            f"job {job.job} was submitted from {job.home} on {job.host}, so ask there; its rows tell the rest"
        )
    made = launcher_type(job.launcher["type"], f"job {job.job}")
    launcher: Launcher[Any] = made(parse(made.options, job.launcher, f"job {job.job}"))
    return launcher


def jobs_of(results: str | Path) -> Iterator[Job]:
    """Jobs of the sweep with this results folder, oldest first; numbers whose submission failed are passed over."""
    store = Store.at(results)
    number, misses = 1, 0
    while misses < 3:
        try:
            yield Job(**_job(store.read(f"jobs/{number:04d}/{_FILE}")))
            misses = 0
        except FileNotFoundError:
            misses += 1
        number += 1


def _job(raw: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(raw)
    if not _ID.fullmatch(data["job"]):  # it becomes a word of a command line
        raise UsageError(f"{data['job']!r} is no job id; {_FILE} is not as landsweep wrote it")
    return {**data, "state": JobState(data["state"])}


def every_job(folder: str) -> list[Job]:
    """Jobs of one sweep, or of all sweeps of a folder such as `results`."""
    if is_url(folder) or (Path(folder) / "jobs").is_dir():
        return list(jobs_of(folder))
    sweeps = sorted(p.parent for p in Path(folder).glob("*/jobs") if p.is_dir())
    return [job for sweep in sweeps for job in jobs_of(sweep)]


def find_job(which: str) -> Job:
    """A job by its id, by its folder, or the last one of a results folder.

    Raises:
        SpecError: there is none.
    """
    if is_url(which) or Path(which).is_dir():
        results, _, number = which.rstrip("/").rpartition("/jobs/")
        if results and number.isdigit():
            found = [j for j in jobs_of(results) if j.number == int(number)]
        else:
            found = list(jobs_of(which))
    else:
        found = [j for j in every_job("results") if j.job == which]
    if not found:
        raise SpecError(f"no job {which!r}: give a results folder, or an id that `landsweep jobs` shows")
    return found[-1]
