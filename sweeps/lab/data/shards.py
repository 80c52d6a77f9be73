"""Data in many files of a folder that are not read whole: how they are found, pinned, and told from damaged ones."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import Field, field_validator

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.data.base import FolderData

__all__ = ["OpenFiles", "ShardData", "fingerprint"]

_BLOCK = 1 << 14
_WHOLE = 1 << 20  # files up to this size are read whole for their digest
_NAMED = 64  # up to so many files have a digest each; more have one together
_SHOWN = 8


def fingerprint(file: Path) -> str:
    """Digest of a file by its size and content: all of it up to 1 MiB, of larger files 16 blocks of 16 KiB."""
    size = file.stat().st_size
    summary = hashlib.blake2b(str(size).encode(), digest_size=16)
    with file.open("rb") as f:
        if size <= _WHOLE:
            summary.update(f.read())
        else:
            for i in range(16):
                f.seek((size - _BLOCK) * i // 15)
                summary.update(f.read(_BLOCK))
    return summary.hexdigest()


class ShardData(FolderData):
    """Splits that are each one file or many, by patterns. What pins a file is its `fingerprint`."""

    shards: dict[str, str] = Field(
        {"train": "**/*train*", "test": "**/*val*"},
        min_length=1,
        description="split to the pattern of its files in the folder, `*` for parts that vary, `**/` for any folders",
    )
    processes: int = Field(
        0, ge=0, le=64, description="processes that read ahead; 0: the worker itself; changes nothing that is computed"
    )

    @field_validator("shards")
    @classmethod
    def _patterns_stay_inside(cls, shards: dict[str, str]) -> dict[str, str]:
        for split, pattern in shards.items():
            if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
                raise ValueError(f"{split}: {pattern!r} must be the name of a file inside of the folder, or a pattern")
        return shards

    def files_by_split(self, base: Path) -> dict[str, list[Path]]:
        """Split to its files, in the order of their names.

        Raises:
            SpecError: no such folder, no file of a split, or a file of two splits.
        """
        place = base / self.folder
        if not place.is_dir():
            raise SpecError(f"data.folder: there is no folder {place}")
        by_split: dict[str, list[Path]] = {}
        splits: dict[Path, str] = {}
        for split, pattern in self.shards.items():
            files = sorted(f for f in place.glob(pattern) if f.is_file() and self.holds(f))
            if not files:
                names = sorted(f.name for f in place.iterdir())
                some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
                raise SpecError(
                    f"data.shards.{split}: no file in {place} fits {pattern!r}; there are: {some or 'no files'}"
                )
            if twice := [f for f in files if f in splits]:
                raise SpecError(
                    f"data.shards: {twice[0].relative_to(place)} fits the patterns of {splits[twice[0]]} and of "
                    f"{split}; a file is of one split"
                )
            splits |= dict.fromkeys(files, split)
            by_split[split] = files
        return by_split

    def holds(self, file: Path) -> bool:
        """Whether a file that fits a pattern holds data; by default those that do not begin with a dot."""
        return not file.name.startswith(".")

    def files(self, base: Path) -> Sequence[Path]:
        return [file for files in self.files_by_split(base).values() for file in files]

    def pinned(self, base: Path) -> Self:
        """The same with the digest of every file; of very many, one digest of all."""
        place, files = base / self.folder, self.files(base)
        each = {f.relative_to(place).as_posix(): fingerprint(f) for f in files}
        digests = each if len(each) <= _NAMED else {f"{len(each)} files": digest(sorted(each.items()), size=16)}
        return self.model_copy(update={"digests": {**digests, **self.more_digests(base)}})

    def more_digests(self, base: Path) -> Mapping[str, str]:
        """Digests of other files that the data depend on."""
        del base
        return {}

    def verified_splits(self, base: Path) -> dict[str, list[Path]]:
        """Split to its files, each with what was pinned.

        Raises:
            SpecError: a file is missing, or another one than when the sweep began.
        """
        files = self.files_by_split(base)
        if self.digests is not None:
            now = self.pinned(base).digests or {}
            if changed := sorted(n for n in {*now, *self.digests} if now.get(n) != self.digests.get(n)):
                state = (
                    "is missing"
                    if changed[0] not in now
                    else "is new"
                    if changed[0] not in self.digests
                    else "has changed"
                )
                raise SpecError(
                    f"data: of {base / self.folder}, {changed[0]} {state} since the spec was pinned; put the old files "
                    "back, or give the sweep another name to start anew"
                )
        return files


T = TypeVar("T")


class OpenFiles(Generic[T]):
    """Files that are open, at most this many; pickled without them.

    Args:
        opened: opens a file.
        closed: closes it.
        most: open at once.
    """

    def __init__(self, opened: Callable[[Path], T], closed: Callable[[T], None], most: int = 64) -> None:
        self._opened, self._closed, self._most = opened, closed, most
        self._files: OrderedDict[Path, T] = OrderedDict()

    def __getitem__(self, path: Path) -> T:
        if path not in self._files:
            while len(self._files) >= self._most:
                self._closed(self._files.popitem(last=False)[1])
            try:
                self._files[path] = self._opened(path)
            except OSError as e:
                raise SpecError(f"data: {path} can't be read: {e.strerror}") from e
        self._files.move_to_end(path)
        return self._files[path]

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_files": OrderedDict()}

    def __del__(self) -> None:
        for file in self._files.values():
            self._closed(file)
