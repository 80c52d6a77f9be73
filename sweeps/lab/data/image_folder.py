"""Image files in folders, one for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.data.base import Data, FolderData
from landsweep.sweeps.lab.data.foreign import reads_files
from landsweep.sweeps.lab.data.pictures import SUFFIXES, Pictures
from landsweep.sweeps.lab.data.stored import Arrays, Reader, StoredSplit

__all__ = ["ImageFolder"]

_TRIED = 8  # images of each split that are read before work starts


class ImageFolder(FolderData, Pictures):
    """Images [channels, size, size] in `folder/SPLIT/CLASS/`; classes are numbered in the order of their names.

    Files are pinned by name and size, not by content.
    """

    source: Literal["image_folder"]
    splits: dict[str, str] = Field(
        {"train": "train", "test": "val"}, min_length=1, description="split to its folder inside of `folder`"
    )
    processes: int = Field(
        2, ge=0, le=64, description="processes that read ahead; 0: the worker itself; changes nothing that is computed"
    )

    def files(self, base: Path) -> Sequence[Path]:
        return [Path(file) for names in self._listed(base).values() for file, _, _ in names]

    def pinned(self, base: Path) -> Self:
        """The same with a digest for each split, of the names and sizes of its files."""
        digests = {
            split: digest([[c, Path(f).name, size] for f, c, size in files], size=16)
            for split, files in self._listed(base).items()
        }
        return self.model_copy(update={"digests": digests})

    @reads_files
    def load(self, base: Path) -> Data:
        """The splits, on disk.

        Raises:
            SpecError: a folder is missing, files are not those that were pinned, or some that were tried are no images.
        """
        if self.digests is not None and self.digests != (now := self.pinned(base).digests or {}):
            unlike = next(split for split in {**now, **self.digests} if now.get(split) != self.digests.get(split))
            raise SpecError(
                f"data: of {base / self.folder}, the split {unlike!r} has other files than the spec was pinned to; put "
                "the old ones back, or give the sweep another name to start anew"
            )
        listed = self._listed(base)
        classes = sorted({c for files in listed.values() for _, c, _ in files})
        pictures = Pictures.model_validate(self.model_dump(include=set(Pictures.model_fields)))
        splits = {}
        for name, files in listed.items():
            reader = _Images([f for f, _, _ in files], [classes.index(c) for _, c, _ in files], pictures)
            reader.read(np.linspace(0, len(files) - 1, min(_TRIED, len(files))).astype(np.int64))
            splits[name] = StoredSplit(name, reader, self.processes)
        return Data(splits, len(classes), self.shape)

    def _listed(self, base: Path) -> dict[str, list[tuple[str, str, int]]]:
        """Split to path, class and size of each file, in order."""
        listed: dict[str, list[tuple[str, str, int]]] = {}
        for split, name in self.splits.items():
            place = base / self.folder / name
            if not place.is_dir():
                raise SpecError(f"data.splits.{split}: there is no folder {place}")
            files = [
                (entry.path, kind.name, entry.stat().st_size)
                for kind in sorted((e for e in os.scandir(place) if e.is_dir()), key=lambda e: e.name)
                for entry in sorted(os.scandir(kind.path), key=lambda e: e.name)
                if entry.is_file() and entry.name.lower().endswith(SUFFIXES)
            ]
            if not files:
                raise SpecError(f"data.splits.{split}: {place} has no folders with images, one for each class")
            listed[split] = files
        return listed


class _Images(Reader):
    """Image files and their classes.

    Args:
        paths: of the files.
        classes: of each.
        pictures: how they become inputs.
    """

    def __init__(self, paths: Sequence[str], classes: Sequence[int], pictures: Pictures) -> None:
        # One text with places in it: a list of a million paths takes three times as much memory.
        names = [os.fsencode(p) for p in paths]
        self._names, self._ends = b"".join(names), np.cumsum([len(n) for n in names])
        self._classes, self._pictures = np.array(classes), pictures

    def __len__(self) -> int:
        return len(self._classes)

    def read(self, positions: NDArray[np.int64]) -> Arrays:
        inputs = np.empty((len(positions), *self._pictures.shape), np.float32)
        for row, position in zip(inputs, positions.tolist(), strict=True):
            path = os.fsdecode(self._names[self._ends[position - 1] if position else 0 : self._ends[position]])
            try:
                content = Path(path).read_bytes()
            except OSError as e:
                raise SpecError(f"data: {path} can't be read: {e.strerror}") from e
            row[:] = self._pictures.decode(content, path)
        return inputs, self._classes[positions]
