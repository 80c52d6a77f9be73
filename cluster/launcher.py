"""The launcher's contract: how a frozen sweep gets to a cluster, and what can be asked about it afterwards.

A launch is frozen at submission: `launch.json` holds spec, site and paths, so that editing a file while the job waits
changes nothing, and a job that is queued again goes on with exactly the same sweep. Everything else is the engine's:
the job's driver is `python -m cluster.driver launch.json`, and its rows are the only state that matters.

A launcher of another package registers its class in the entry-point group `landsweep.launchers` and inherits
`cluster.testing.launcher_suite`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from orchestrator.errors import UsageError
from orchestrator.inside import refuse_odd
from orchestrator.readers import json_object
from orchestrator.site import LauncherOptions
from orchestrator.spec import Model, parse

__all__ = [
    "EXIT_FILE",
    "LAUNCH_FILE",
    "PRIVATE",
    "Check",
    "JobState",
    "Launch",
    "Launcher",
    "Look",
    "ended",
    "filled",
    "log_text",
    "read_launch",
    "write_private",
]

LAUNCH_FILE = "launch.json"
EXIT_FILE = "exit"
PRIVATE = ("tracking", "runtime_env")  # fields of a site that may hold credentials
Options = TypeVar("Options", bound=LauncherOptions)


class JobState(StrEnum):
    """Of a job, by its scheduler. Whether the sweep is complete is told by its rows."""

    queued = "queued"
    running = "running"
    done = "done"
    failed = "failed"
    cancelled = "cancelled"
    unknown = "unknown"  # the scheduler has forgotten it

    @property
    def over(self) -> bool:
        """Whether nothing more comes from it."""
        return self not in (JobState.queued, JobState.running)


@dataclass(frozen=True, slots=True)
class Look:
    """What a scheduler says of a job.

    Attributes:
        state: in our words.
        told: in the scheduler's, with its reason.
    """

    state: JobState
    told: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One pre-flight check.

    Attributes:
        what: was looked at.
        ok: whether it is fine; None when it could not be looked at.
        told: what was found.
        cure: what to do when it is not fine.
    """

    what: str
    ok: bool | None
    told: str
    cure: str = ""

    def text(self) -> str:
        """One line for people."""
        mark = {True: "ok", False: "FAILED", None: "not checked"}[self.ok]
        return f"{mark:>11}  {self.what}: {self.told}" + (f". {self.cure}" if self.cure and not self.ok else "")


@dataclass(frozen=True, slots=True)
class Launch:
    """A sweep as it was submitted.

    Attributes:
        name: of the sweep.
        out: results, an absolute path or a URL, as the cluster names it.
        home: local folder with this job's files: `launch.json`, script or manifest, log.
        number: of the job among those of this sweep, from 1.
        kind: of the sweep.
        spec: all its fields.
        folder: what relative paths in the spec are relative to.
        cwd: where it was submitted; modules that the spec names are looked for there and in `folder`.
        site: its fields, without the section `launcher` and without what may hold credentials.
        command: what was typed.
        versions: of Python and of the packages that all nodes must share.
        seconds: forecast of the work, in seconds of one worker; None when unknown.
        bytes: forecast of the rows' size.
        private_file: path of a file that this user alone can read, with the fields of the site that may hold
            credentials; empty where there are none.
        private: those fields, until they are in that file; no part of `launch.json`.
    """

    name: str
    out: str
    home: str
    number: int
    kind: str
    spec: Mapping[str, Any]
    folder: str
    cwd: str
    site: Mapping[str, Any]
    command: str
    versions: Mapping[str, str]
    seconds: float | None = None
    bytes: int = 0
    private_file: str = ""
    private: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def file(self, name: str) -> Path:
        """Path of one of this job's files."""
        return Path(self.home) / name

    def text(self, indent: int | None = 2) -> str:
        """As JSON, for `launch.json`."""
        aside = ("private",) if self.private_file else ("private", "private_file")
        facts = {name: value for name, value in asdict(self).items() if name not in aside}
        return json.dumps(facts, indent=indent) + "\n"

    @property
    def rendezvous(self) -> str:
        """Where the job's nodes find each other: a folder below the results, path or URL."""
        return f"{self.out}/jobs/{self.number:04d}"


def ended(home: Path) -> Look | None:
    """The end of a job whose script writes its exit code beside its log; None before. No scheduler is asked for it."""
    refuse_odd(home / EXIT_FILE)
    try:
        code = int((home / EXIT_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None
    state = {0: JobState.done, 3: JobState.cancelled}.get(code, JobState.failed)
    return Look(state, f"ended with exit code {code}")


def log_text(file: Path) -> str:
    """What a log holds.

    Raises:
        UsageError: it is a pipe or a device.
    """
    refuse_odd(file)
    return file.read_text(errors="replace")


def filled(template: str, texts: Mapping[str, str]) -> str:
    """A template with each of its @@NAME@@ replaced. Where an empty text has a line of its own, that is left out.

    What is put in is not searched again: a path may hold @@NAME@@, too.
    """

    def text(match: re.Match[str]) -> str:
        line, part = match.groups()
        return texts[part] if line is None else f"{texts[line]}\n" if texts[line] else ""

    return re.sub(r"^@@([A-Z]+)@@\n|@@([A-Z]+)@@", text, template, flags=re.MULTILINE)


def write_private(path: Path, text: str) -> None:
    """Write a new file that this user alone can read, in a folder that is there.

    Raises:
        UsageError: there is a file, or a link, of that name: it is not this job's, so it is neither used nor replaced.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as e:
        raise UsageError(
            f"{path} is there already, though this job is new: somebody else writes to that folder. Look at who may, "
            "and submit again"
        ) from e
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


class _LaunchFile(Model):
    """What `launch.json` holds."""

    name: str
    out: str
    home: str
    number: int
    kind: str
    spec: dict[str, Any]
    folder: str
    cwd: str
    site: dict[str, Any]
    command: str
    versions: dict[str, str]
    seconds: float | None = None
    bytes: int = 0
    private_file: str = ""


def read_launch(text: str | bytes, source: str = LAUNCH_FILE) -> Launch:
    """The launch in a `launch.json`.

    Raises:
        UsageError: it is not as landsweep wrote it.
    """
    return Launch(**parse(_LaunchFile, json_object(text, source), source).model_dump())


class Launcher(ABC, Generic[Options]):
    """Gets a launch to a cluster. It keeps no state: all that it is asked later is asked by job id.

    Attributes:
        name: in `launcher.type` of a site.
        options: model of the site's section `launcher`.
    """

    name: ClassVar[str]
    options: ClassVar[type[LauncherOptions]]

    def __init__(self, options: Options) -> None:
        self.given = options

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
        """What can be found out before anything is queued; nothing is left behind.

        Raises:
            Unreachable: the cluster, or the tool that talks to it, is not there.
        """

    @abstractmethod
    def submit(self, launch: Launch) -> str:
        """Queue it, after its files have been written to `launch.home`; gives the job id.

        Raises:
            UsageError: the cluster refuses it; nothing was queued.
        """

    @abstractmethod
    def look(self, job: str, home: Path) -> Look:
        """What the scheduler says of a job.

        Raises:
            Unreachable: it does not answer.
        """

    @abstractmethod
    def logs(self, job: str, home: Path) -> Mapping[str, str]:
        """What the job has printed up to now: name of a node, element or file to text; none before it has begun."""

    @abstractmethod
    def cancel(self, job: str, home: Path) -> None:
        """End a job; rows that have come are kept. No matter if it is over already."""

    def dry_run(self, launch: Launch) -> str:
        """What would be handed over and how, for people."""
        parts = [f"# {launch.file(name)}\n{text.rstrip()}" for name, text in self.files(launch).items()]
        return "\n\n".join([*parts, "\n".join(["# submitted with", *map(shlex.join, self.commands(launch))])])
