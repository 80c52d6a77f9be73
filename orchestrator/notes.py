"""Facts that are kept for this user alone, in a folder that nobody else can write to.

The sweeps that this user has run are noted there, so they need no word of trust; a copy or a moved folder does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from landsweep.orchestrator.storage.readers import object_or_none
from landsweep.orchestrator.unit import digest

__all__ = ["forget", "held", "is_own", "note", "note_sweep", "noted", "state_folder"]


def state_folder() -> Path | None:
    """The folder of this user's notes, made when it is absent; None where there is none that is closed to others."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        folder = Path(base).expanduser() / "landsweep"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except (OSError, RuntimeError):  # no home, or one that can't be written
        return None
    closed = about.st_uid == os.getuid() and not about.st_mode & 0o022
    return folder if closed and not folder.is_symlink() else None


def note(shelf: str, name: str, content: Mapping[str, Any]) -> Path | None:
    """Keep a few facts for this user alone, mode 0600; None where they can't be kept.

    Args:
        shelf: what kind of facts.
        name: what they are about; they replace earlier ones.
        content: JSON.
    """
    folder = state_folder()
    if folder is None:
        return None
    try:
        (folder / shelf).mkdir(mode=0o700, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=folder / shelf, prefix=".new-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({**content, "about": name}, file)
        path = _note(folder, shelf, name)
        Path(new).replace(path)
    except OSError:
        return None
    return path


def noted(shelf: str, name: str) -> dict[str, Any] | None:
    """What was noted of this; None when nothing was."""
    folder = state_folder()
    try:
        return None if folder is None else object_or_none(_note(folder, shelf, name).read_bytes())
    except OSError:
        return None


def forget(shelf: str, name: str) -> None:
    """Remove what was noted of this, if anything was."""
    folder = state_folder()
    if folder is not None:
        with contextlib.suppress(OSError):
            _note(folder, shelf, name).unlink()


@contextlib.contextmanager
def held(shelf: str, name: str) -> Iterator[bool]:
    """Hold something that only one process of this user may do at a time; a process that dies lets go of it.

    Gives False where another process holds it, on this machine or on one that shares the folder and its locks.

    Args:
        shelf: what kind of thing.
        name: which.
    """
    folder = state_folder()
    if folder is None:
        yield True
        return
    (folder / shelf).mkdir(mode=0o700, exist_ok=True)
    with _note(folder, shelf, name).with_suffix(".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            pass
        yield True


def _note(folder: Path, shelf: str, name: str) -> Path:
    return folder / shelf / f"{digest(name, size=16)}.json"


def note_sweep(where: str | Path, manifest: Mapping[str, Any]) -> None:
    """Note that this user has run the sweep with this manifest (the content of `sweep.json`) in this place."""
    note("sweeps", _place(where), {"run": _identity(manifest)})


def is_own(where: str | Path, manifest: Mapping[str, Any]) -> bool:
    """Whether this user has run just this sweep in just this place; a copy or a moved folder is not it."""
    run = noted("sweeps", _place(where))
    return run is not None and run.get("run") == _identity(manifest)


def _place(where: str | Path) -> str:
    from landsweep.orchestrator.storage.store import is_url  # its library is not needed to start

    return str(where).rstrip("/") if is_url(where) else os.path.realpath(Path(where).expanduser())


def _identity(manifest: Mapping[str, Any]) -> str:
    """Of all that decides which code a sweep runs, and on what."""
    facts = [manifest.get(name) for name in ("id", "kind", "spec", "folder")]
    return digest(json.dumps(facts, sort_keys=True), size=16)
