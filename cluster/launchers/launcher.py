"""The launcher's contract: how a launch gets to a cluster, and what can be asked about it afterwards.

A launcher of another package registers its class in the entry-point group `landsweep.launchers` and inherits
`landsweep.cluster.testing.launcher_suite`.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from landsweep.cluster.launch import EXIT_FILE, Launch
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.site import LauncherOptions
from landsweep.orchestrator.storage.inside import refuse_odd

__all__ = ["Check", "JobState", "JobStatus", "Launcher", "NotQueued", "log_text", "status_at_end"]

Options = TypeVar("Options", bound=LauncherOptions)


class NotQueued(UsageError):
    """The cluster has refused a job and holds nothing of it."""


class JobState(StrEnum):
    """State of a job, as its scheduler says. Only the rows say whether the sweep is complete."""

    queued = "queued"
    running = "running"
    done = "done"
    failed = "failed"
    cancelled = "cancelled"
    unknown = "unknown"  # the scheduler has forgotten it

    @property
    def over(self) -> bool:
        """Whether the job has ended, or is unknown."""
        return self not in (JobState.queued, JobState.running)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What a scheduler says of a job.

    Attributes:
        state: the common name of its state.
        detail: the scheduler's own words, with its reason.
    """

    state: JobState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check, before a job is queued or after a drill.

    Attributes:
        what: was checked.
        ok: whether it is fine; None if that can't be known.
        detail: what was seen.
        fix: what to do if it is not fine.
    """

    what: str
    ok: bool | None
    detail: str
    fix: str = ""

    def text(self) -> str:
        """One line for people."""
        verdict = {True: "ok", False: "FAILED", None: "not checked"}[self.ok]
        return f"{verdict:>11}  {self.what}: {self.detail}" + (f". {self.fix}" if self.fix and not self.ok else "")


def status_at_end(home: Path) -> JobStatus | None:
    """The status of a job whose script has written its exit code beside its log, without asking its scheduler.

    Returns:
        None: it has not ended yet.
    """
    refuse_odd(home / EXIT_FILE)
    try:
        code = int((home / EXIT_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None
    state = {0: JobState.done, 3: JobState.cancelled}.get(code, JobState.failed)
    return JobStatus(state, f"ended with exit code {code}")


def log_text(file: Path) -> str:
    """The text of a log.

    Raises:
        UsageError: it is a pipe or a device.
    """
    refuse_odd(file)
    return file.read_text(errors="replace")


class Launcher(ABC, Generic[Options]):
    """Gets a launch to a cluster. It keeps no state: later questions name the job by its id.

    Attributes:
        name: in `launcher.type` of a site.
        options_type: model of the site's section `launcher`.
        options: that section.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[LauncherOptions]]

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def shares_files(self) -> bool:
        """Whether the cluster sees the folders of the machine where one submits."""
        return True

    @property
    def cpus(self) -> float | None:
        """CPUs that one job asks for, on all its nodes; None: only the cluster knows."""
        return None

    @abstractmethod
    def files(self, launch: Launch) -> Mapping[str, str]:
        """Name to text of what is handed over, such as a batch script: pure, the same for the same launch."""

    @abstractmethod
    def commands(self, launch: Launch) -> list[list[str]]:
        """What hands it over: the words of each command line."""

    @abstractmethod
    def checks(self, launch: Launch) -> Iterable[Check]:
        """Check what can be checked before anything is queued; leave nothing on the cluster.

        Raises:
            Unreachable: the cluster, or the tool that talks to it, is not there.
        """

    @abstractmethod
    def submit(self, launch: Launch) -> str:
        """Queue it, after its files have been written to `launch.home`.

        Returns:
            The job's id.

        Raises:
            NotQueued: the cluster refuses it.
            UsageError: it may have been queued.
        """

    @abstractmethod
    def find(self, launch: Launch) -> str | None:
        """The id of the job that a launch has become, for one whose submission was cut off before it was noted.

        Returns:
            None: the cluster has none that came from this launch.

        Raises:
            Unreachable: the cluster does not answer.
        """

    @abstractmethod
    def status(self, job: str, home: Path) -> JobStatus:
        """What the scheduler says of a job.

        Args:
            job: the scheduler's id of it.
            home: local folder with its launch, script and log.

        Raises:
            Unreachable: the scheduler does not answer.
        """

    @abstractmethod
    def logs(self, job: str, home: Path) -> Mapping[str, str]:
        """What the job has printed up to now: name of a node, element or file to text; none before it has begun."""

    @abstractmethod
    def cancel(self, job: str, home: Path) -> None:
        """End a job, or do nothing if it is over already; its rows are kept."""

    def dry_run(self, launch: Launch) -> str:
        """What would be handed over and how, for people."""
        files = [f"# {launch.file(name)}\n{text.rstrip()}" for name, text in self.files(launch).items()]
        return "\n\n".join([*files, "\n".join(["# submitted with", *map(shlex.join, self.commands(launch))])])
