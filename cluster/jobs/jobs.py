"""Jobs of a sweep: `jobs/0001/job.json` beside its results tells people, the user's own notes tell this program.

A results folder may come from anybody. So tools are run, and addresses asked, only for jobs that this user has
submitted, and only as the user's notes have them; what stands in the folder is shown and never obeyed.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from landsweep.cluster.launch import LAUNCH_FILE, Launch, write_private
from landsweep.cluster.launchers.launcher import JobState, JobStatus, Launcher
from landsweep.orchestrator.errors import SpecError, Unreachable, UsageError
from landsweep.orchestrator.notes import forget, note, noted
from landsweep.orchestrator.site import launcher_type
from landsweep.orchestrator.spec import Section, parse
from landsweep.orchestrator.storage.inside import folder_in
from landsweep.orchestrator.storage.readers import json_object
from landsweep.orchestrator.storage.store import Store, is_url

__all__ = [
    "Job",
    "Submission",
    "announce",
    "claim",
    "drop",
    "every_job",
    "find_job",
    "jobs_of",
    "keep",
    "launcher_of",
    "record",
    "submissions",
    "withdraw",
]


_NUMBER = re.compile(r"[0-9]{4}")
_FILE = "job.json"
_SHELF, _SUBMISSIONS = "jobs", "submissions"  # of the user's notes


class Job(Section):
    """One submission; also what `job.json` holds, where fields of other versions are passed over.

    Attributes:
        number: among those of its sweep, from 1.
        name: name of the sweep.
        out: its results, as the cluster names them; of a stranger's job the folder in which it was found.
        home: local folder with launch, script and log.
        job: id that the scheduler gave.
        type: name of the launcher, such as slurm.
        command: the command line that submitted it.
        submitted: time, s since the epoch.
        user: who submitted it.
        host: where it was submitted.
        state: what the scheduler last said.
        detail: the state in the scheduler's own words.
        seen: when the scheduler said so, s since the epoch.
        launcher: the section of the site, from the user's notes and never from the file; empty for a job that this
            user has not submitted from this place.
    """

    model_config = ConfigDict(extra="ignore", validate_by_name=True, validate_by_alias=True)

    number: int
    name: str
    out: str
    home: str
    job: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", description="no more than a job id")]
    type: str = "?"
    command: str
    submitted: float
    user: str
    host: str
    state: JobState = JobState.queued
    detail: str = Field("", alias="told")
    seen: float = 0.0
    launcher: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @property
    def submitted_here(self) -> bool:
        """Whether this user has submitted it from this place; for others no tool is run."""
        return bool(self.launcher)

    def with_status(self, status: JobStatus) -> Job:
        """The same with what the scheduler says now; one that has forgotten the job does not undo what it said."""
        forgotten = status.state is JobState.unknown
        state = self.state if forgotten and self.state.over else status.state
        return self.model_copy(update={"state": state, "detail": status.detail, "seen": time.time()})


@dataclass(frozen=True, slots=True)
class Submission:
    """A launch that was handed to a cluster, whose job nobody has noted yet.

    Attributes:
        launch: what was handed over.
        launcher: that did it.
    """

    launch: Launch
    launcher: Launcher[Any]


def claim(launch: Launch) -> Launch:
    """Take the next free number for a launch, and write its `launch.json`; two who submit at once get two numbers.

    The job's folder is a new one: what lies in a folder that is there may come from anybody, and would be run.

    Raises:
        Untrusted: the folder of jobs is a link.
        UsageError: no number is free.
    """
    results = launch.home.rpartition("/jobs/")[0]
    jobs = folder_in(Path(results), "jobs")
    for number in range(1, 10_000):
        taken = launch.model_copy(update={"number": number, "home": f"{results}/jobs/{number:04d}"})
        try:
            (jobs / f"{number:04d}").mkdir()
        except FileExistsError:
            continue
        write_private(taken.file(LAUNCH_FILE), taken.text())
        return taken
    raise UsageError(f"{results}/jobs holds 9,999 jobs; remove old ones")


def drop(launch: Launch) -> None:
    """Remove what was written for a launch that was not queued."""
    shutil.rmtree(launch.home, ignore_errors=True)
    _clear(launch)


def withdraw(launch: Launch) -> None:
    """Make sure that a launch does nothing, should the cluster begin it late; its number stays taken."""
    launch.file(LAUNCH_FILE).unlink(missing_ok=True)
    _clear(launch)


def _clear(launch: Launch) -> None:
    forget(_SUBMISSIONS, os.path.realpath(launch.home))
    if launch.private_file:
        Path(launch.private_file).unlink(missing_ok=True)


def announce(launch: Launch, launcher: Launcher[Any]) -> None:
    """Note that a launch is being handed over: if this process dies before the answer, the job can be found.

    Raises:
        UsageError: it can't be noted.
    """
    section = launcher.options.model_dump(mode="json")
    facts = {"launch": launch.model_dump(mode="json"), "launcher": section}
    if note(_SUBMISSIONS, os.path.realpath(launch.home), facts) is None:
        raise UsageError("the job could not be found again: ~/.local/state/landsweep can't be written to")


def submissions(results: str | Path) -> Iterator[Submission]:
    """What this user has handed to a cluster from this results folder, and nobody has noted the job of."""
    store = Store.at(results)
    for number in _numbers(store):
        submission = _submission(store, number)
        if submission is not None:
            yield submission


def _submission(store: Store, number: int) -> Submission | None:
    if store.path is None:
        return None
    home = os.path.realpath(store.path / "jobs" / f"{number:04d}")
    facts = noted(_SUBMISSIONS, home)
    if facts is None or Path(home, _FILE).exists():
        return None
    source = f"the submission from {home}"
    return Submission(parse(Launch, facts["launch"], source), _launcher(facts["launcher"], source))


def record(launch: Launch, job: str, launcher: Launcher[Any]) -> Job:
    """Note a job down that was submitted just now."""
    section = launcher.options.model_dump(mode="json")
    facts = {
        "number": launch.number,
        "name": launch.name,
        "out": launch.out,
        "home": launch.home,
        "job": job,
        "type": launcher.name,
        "command": launch.command,
        "submitted": time.time(),
        "user": getpass.getuser(),
        "host": platform.node(),
        "launcher": section,
    }
    submission = parse(Job, facts, f"job {job}")
    for place in _places(submission):
        note(_SHELF, f"{place}#{job}", {"home": launch.home, "out": launch.out, "launcher": section})
    keep(submission)
    forget(_SUBMISSIONS, os.path.realpath(launch.home))
    return submission


def _places(job: Job) -> list[str]:
    """Where the job's file is found again: in its folder, and beside results at a URL."""
    beside = [f"{job.out}/jobs/{job.number:04d}"] if is_url(job.out) else []
    return [os.path.realpath(job.home), *beside]


def keep(job: Job) -> None:
    """Write a job's present state: where its other files are, and beside results at a URL too."""
    text = (json.dumps(job.model_dump(by_alias=True), indent=2) + "\n").encode()
    for results in dict.fromkeys([job.home.rpartition("/jobs/")[0], *([job.out] if is_url(job.out) else [])]):
        Store.at(results).replace(f"jobs/{job.number:04d}/{_FILE}", text)


def launcher_of(job: Job) -> Launcher[Any]:
    """The launcher that submitted a job, to ask it about the job.

    Raises:
        UsageError: this user has not submitted it from this place.
    """
    if not job.submitted_here:
        raise UsageError(
            f"job {job.job} was submitted from {job.home} on {job.host} by {job.user}, and this user has no record of "
            "doing so from here. Ask on that machine, or ask the scheduler itself; `landsweep status` reads the rows"
        )
    return _launcher(job.launcher, f"job {job.job}")


def _launcher(section: dict[str, Any], source: str) -> Launcher[Any]:
    launcher_class = launcher_type(section["type"], source)
    launcher: Launcher[Any] = launcher_class(parse(launcher_class.options_type, section, source))
    return launcher


def jobs_of(results: str | Path) -> Iterator[Job]:
    """Jobs of the sweep with this results folder, oldest first; numbers whose submission failed are passed over.

    Where a submission was cut off, the cluster is asked, and a job that it has is noted down.

    Raises:
        UsageError: a `job.json` is not as landsweep wrote it.
    """
    store = Store.at(results)
    for number in _numbers(store):
        with contextlib.suppress(FileNotFoundError):
            yield _job(store, number)
            continue
        if (submission := _submission(store, number)) and (job := _found(submission)):
            yield job


def _found(submission: Submission) -> Job | None:
    """The job that a submission has become, noted down; None where the cluster has none, or does not answer."""
    with contextlib.suppress(Unreachable):
        if job := submission.launcher.find(submission.launch):
            return record(submission.launch, job, submission.launcher)
    return None


def _numbers(store: Store) -> list[int]:
    """Numbers of the folders in `jobs/`, in order: of a sweep on disk also of those without a job."""
    if store.path is None:
        names = [name.partition("/")[0] for name, _ in store.list("jobs", deep=True)]
    else:
        jobs = store.path / "jobs"
        names = [path.name for path in jobs.iterdir()] if jobs.is_dir() else []
    return sorted({int(name) for name in names if _NUMBER.fullmatch(name)})


def _job(store: Store, number: int) -> Job:
    file = f"jobs/{number:04d}/{_FILE}"
    data = json_object(store.read(file), f"{store.where}/{file}")
    where = store.where if store.path is None else os.path.realpath(store.path)
    job = parse(Job, {**data, "number": number, "launcher": {}}, f"{store.where}/{file}")
    notes = noted(_SHELF, f"{where}/jobs/{number:04d}#{job.job}")
    trusted = {"out": where} if notes is None else {name: notes[name] for name in ("home", "out", "launcher")}
    return job.model_copy(update=trusted)


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
        if results and number.isascii() and number.isdigit():  # `int` reads no other digits, such as ²
            jobs = [j for j in jobs_of(results) if j.number == int(number)]
        else:
            jobs = list(jobs_of(which))
    else:
        jobs = [j for j in every_job("results") if j.job == which]
    if not jobs:
        raise SpecError(f"no job {which!r}: give a results folder, or an id that `landsweep jobs` shows")
    return jobs[-1]
