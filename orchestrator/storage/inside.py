"""Files below a folder that may come from anybody: written through no link, read only where they are regular files.

No name leads out of the folder. The folder itself may be a link, and files may be read through links (some hubs keep
downloads so). What another process changes at the same moment is not seen.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from landsweep.orchestrator.errors import Untrusted, UsageError
from landsweep.orchestrator.storage.bounds import refuse_beyond

__all__ = [
    "check_names",
    "folder_in",
    "is_name",
    "no_links",
    "refuse_large",
    "refuse_link",
    "refuse_odd",
    "remove_tree",
    "write_in",
]

_ABANDONED = 3600.0  # s
_LARGEST_JSON = 64 << 20  # bytes
_ODD = (
    (stat.S_ISFIFO, "named pipe (FIFO)"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@,-]{0,199}")


def is_name(text: object) -> bool:
    """Whether a text can be one part of a path and nothing else: no separator, no dot in front, no option."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def check_names(names: Iterable[object], what: str, source: str) -> None:
    """Refuse texts from a results folder that will be parts of paths and are none.

    Raises:
        UsageError: names the first one.
    """
    for name in names:
        if not is_name(name):
            raise UsageError(f"{source}: {str(name)[:80]!r} is no {what}: it can't be part of a file's name")


def refuse_link(root: Path, relative: str | Path) -> None:
    """Refuse to go on where a part of a path below a folder is a link.

    Raises:
        Untrusted: names the link and where it leads.
    """
    place = root
    for part in Path(relative).parts:
        place = place / part
        if place.is_symlink():
            raise Untrusted(
                f"{place} is a link, to {place.readlink()}, and nothing is written through links in a results "
                "folder: whoever made the folder could have files elsewhere overwritten. Remove the link, or link the "
                "whole results folder instead"
            )


def refuse_odd(root: Path | None, name: str = "") -> None:
    """Refuse to read what is neither a file nor a folder: a pipe blocks its reader for ever, a device never ends.

    A link counts as what it leads to. What is not there is not refused.

    Raises:
        UsageError: names it.
    """
    if root is None:
        return
    path = root / name
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # opening it will say why
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        what = next((words for is_one, words in _ODD if is_one(mode)), "special file")
        raise UsageError(f"{path} is a {what}, not a regular file, and is not read; remove it, or copy the file back")


def refuse_large(file: str, size: int) -> None:
    """Refuse JSON of more than 64 MiB, and any file that does not fit into memory: they are read whole."""
    if file.endswith(".json") and size > _LARGEST_JSON:
        what = f"has {size:,} bytes, and at most {_LARGEST_JSON:,} of JSON are read"
        raise UsageError(f"{file} {what}: it is not what was written; restore it, or remove it")
    refuse_beyond(file, size)


def no_links(folder: Path) -> None:
    """Refuse a folder with a link, pipe or device anywhere in it: for what is sent or published whole.

    Raises:
        Untrusted: names the first link.
        UsageError: names the first pipe or device.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            refuse_link(Path(place), name)
            refuse_odd(Path(place, name))


def folder_in(root: Path, relative: str | Path) -> Path:
    """A folder below another one, made where it is absent.

    Raises:
        Untrusted: the way there leads through a link.
        UsageError: something there is no folder.
    """
    refuse_link(root, relative)
    place = root / relative
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as e:
        raise UsageError(f"{place} can't be created: it or one of its parents is not a folder; remove that file") from e
    return place


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, however deep that is. What can't be removed stays, and the folder then.

    Python's own way needs a level of recursion and an open file for each level of folders, so here inner ones come up.
    """
    stuck = set[Path]()
    while tops := [place for place in _tops(folder) if place not in stuck]:
        for place in tops:
            with contextlib.suppress(OSError):
                for inner in _tops(place):
                    inner.rename(folder / secrets.token_hex(16))
                shutil.rmtree(place)
        stuck.update(place for place in tops if place.exists())
    if not stuck:
        shutil.rmtree(folder, ignore_errors=True)


def _tops(folder: Path) -> list[Path]:
    """The folders in a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def write_in(root: Path, relative: str | Path, data: bytes | str) -> Path:
    """Write a file below a folder, all or nothing, in place of one of that name; gives its path.

    Raises:
        Untrusted: the way there leads through a link, or the file is one.
    """
    refuse_link(root, relative)
    path = root / relative
    folder_in(root, Path(relative).parent)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    _remove_unfinished(path)
    return path


def _remove_unfinished(path: Path) -> None:
    """Remove what processes that were killed had begun to write for a file; what is young may be another one's work."""
    for unfinished in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        with contextlib.suppress(OSError):
            if time.time() - unfinished.lstat().st_mtime > _ABANDONED:
                unfinished.unlink()
