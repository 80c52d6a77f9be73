"""Files of a local folder, also those with names that object stores don't take: someone else has put them there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from landsweep.orchestrator.text import one_line

__all__ = ["NO_FILE", "STAGED", "files_below", "has_hard_links", "move", "odd_name", "put_whole"]

STAGED = re.compile(r"(#\d+|\.staged)$")  # half-written: `.NAME.staged`, which object_store writes as `.NAME.staged#1`
NO_FILE = -1  # the size of what takes the place of a file and is none
_SUFFIXES = (".parquet", ".json", ".safetensors")  # of files of a sweep
_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # control characters, and bytes that are not UTF-8


def odd_name(path: str) -> bool:
    """Whether a name is one that object stores don't take, so that no file of a sweep has it."""
    return _ODD.search(path) is not None


def files_below(root: Path, folder: str, *, deep: bool) -> Iterator[tuple[str, int]]:
    """Names (relative to the folder) and sizes in bytes of its files; links to files are files.

    Args:
        root: of the results.
        folder: relative to it.
        deep: also files in its folders, but not through links: such a link is listed as a file is. A link to nothing,
            and a folder with the name of a file of ours, have the size `NO_FILE`.

    Raises:
        OSError: it, or a folder below it, can't be read. What is no folder, or gone meanwhile, has no files.
    """
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        try:
            with os.scandir(root / folder / inner) as scanned:
                entries = list(scanned)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            name = f"{inner}/{entry.name}" if inner else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if deep and entry.name.endswith(_SUFFIXES):
                        yield name, NO_FILE
                    elif deep:
                        waiting.append(name)
                    continue
                about = entry.stat(follow_symlinks=not (deep and entry.is_dir()))
            except OSError:  # it has vanished, or is a link to nothing
                if deep and entry.is_symlink():
                    yield name, NO_FILE
                continue
            listed = stat.S_ISREG(about.st_mode) or (stat.S_ISLNK if deep else _is_special)(about.st_mode)
            if listed and not STAGED.search(name):
                yield name, about.st_size


def _is_special(mode: int) -> bool:
    """A pipe or a device, say: whoever reads it is refused."""
    return not stat.S_ISDIR(mode)


def put_whole(root: Path, path: str, put: Callable[[str], object], *, anew: bool) -> bool:
    """Write a file under a name that readers of a whole folder skip, and give it its own once all bytes are there.

    Args:
        root: of the results.
        path: of the file, relative to it.
        put: writes the bytes under a name, relative to it.
        anew: only if there is no such file.

    Returns:
        False: `anew`, and there is one.
    """
    folder, slash, _ = path.rpartition("/")
    name = f"{folder}{slash}.{secrets.token_hex(8)}.staged"
    try:
        put(name)
        if not anew:
            (root / name).replace(root / path)
            return True
        try:
            os.link(root / name, root / path)
        except FileExistsError:
            return False
        return True
    finally:
        with contextlib.suppress(OSError):  # else the next driver removes it
            (root / name).unlink(missing_ok=True)


def move(root: Path, path: str, to: str) -> None:
    """Rename a file; in the new name, what no object store takes is written as escapes.

    Raises:
        OSError: it can't be renamed.
    """
    (root / path).replace(root / one_line(to))


def has_hard_links(folder: Path) -> bool:
    """Whether a file can have two names there; True where that can't be found out."""
    file, other = (folder / f".links-{secrets.token_hex(8)}{end}" for end in ("", "-2"))
    try:
        file.touch()
    except OSError:
        return True
    try:
        os.link(file, other)
    except OSError as e:
        return e.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
    finally:
        for path in (file, other):
            with contextlib.suppress(OSError):  # absent, or the storage fails: that is why this is asked
                path.unlink()
    return True
