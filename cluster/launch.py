"""A sweep as it was submitted, and the files of its job.

`launch.json` holds spec, site and paths, so that editing a file while the job waits changes nothing, and a job that is
queued again goes on with exactly the same sweep. Everything else is the engine's: the job's driver reads this file, and
its rows are the only state that matters.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import Field

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.spec import Section, parse
from landsweep.orchestrator.storage.readers import json_object

__all__ = ["EXIT_FILE", "LAUNCH_FILE", "NONCE_FILE", "PRIVATE", "Draft", "Launch", "read_launch", "write_private"]

LAUNCH_FILE = "launch.json"
EXIT_FILE = "exit"  # the job's exit code, once it has ended
NONCE_FILE = "nonce"  # a node can know what it holds only if it sees the job's folder
PRIVATE = ("tracking", "runtime_env", "notify")  # fields of a site that may hold credentials


class Launch(Section):
    """A sweep as it was submitted; also what `launch.json` holds.

    Attributes:
        name: name of the sweep.
        out: results, an absolute path or a URL, as the cluster names it.
        home: local folder with this job's files: `launch.json`, script or manifest, log.
        number: position of the job among those of this sweep, from 1.
        kind: name of the kind, or `stages` for a spec in stages.
        spec: all its fields, or the stages as they were frozen.
        folder: what relative paths in the spec are relative to.
        cwd: where it was submitted; modules that the spec names are looked for there and in `folder`.
        site: its fields, without the section `launcher` and without what may hold credentials.
        command: the command line that submitted it.
        versions: of Python and of the packages that all nodes must share.
        seconds: forecast of the work, in seconds of one worker; None when unknown.
        bytes: forecast of the rows' size.
        private_file: path of a file that this user alone can read, with the fields of the site that may hold
            credentials; empty where there are none.
    """

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

    def file(self, name: str) -> Path:
        """Path of one of this job's files."""
        return Path(self.home) / name

    def text(self, indent: int | None = 2) -> str:
        """As JSON, for `launch.json`."""
        absent = set() if self.private_file else {"private_file"}
        return json.dumps(self.model_dump(exclude=absent), indent=indent) + "\n"

    @property
    def rendezvous(self) -> str:
        """Where the job's nodes find each other: a folder below the results, path or URL."""
        return f"{self.out}/jobs/{self.number:04d}"


class Draft(Launch):
    """A launch of which nothing is written yet.

    Attributes:
        private: fields of the site that may hold credentials; no part of `launch.json`.
    """

    private: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)


def read_launch(text: str | bytes, source: str = LAUNCH_FILE) -> Launch:
    """The launch in a `launch.json`.

    Raises:
        UsageError: it is not as landsweep wrote it.
    """
    return parse(Launch, json_object(text, source), source)


def write_private(path: Path, text: str) -> None:
    """Write a new file that this user alone can read, in a folder that is there.

    Raises:
        UsageError: there is a file, or a link, of that name: it is not this job's, so it is neither used nor replaced.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError as e:
        raise UsageError(
            f"{path} exists already, though this job is new: somebody else writes to that folder. Check who may write, "
            "and submit again"
        ) from e
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
