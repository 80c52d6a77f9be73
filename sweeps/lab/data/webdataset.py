"""Images in tar shards as WebDataset writes them: the files of a sample have one name and several endings."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data, Dimensions
from landsweep.sweeps.lab.data.foreign import reads_files
from landsweep.sweeps.lab.data.pictures import Pictures
from landsweep.sweeps.lab.data.shards import OpenFiles, ShardData, fingerprint
from landsweep.sweeps.lab.data.stored import Arrays, Reader, StoredSplit
from landsweep.sweeps.lab.data.token_cache import cache_folder

__all__ = ["WebDataset"]

_TRIED = 8  # images of each split that are read before work starts


class WebDataset(ShardData, Pictures):
    """Images [channels, size, size] in tar files, with their classes as text beside them: `a.jpg` and `a.cls`.

    Where each sample is comes from the headers of the tar files, which are read once on each machine; from then on
    samples are read in any order, which is for local disks. Compressed tar files can't be read so, and are refused.
    """

    source: Literal["webdataset"]
    classes: int = Field(ge=2, description="how many there are; labels are below it")
    image: str = Field("jpg;jpeg;png;webp", description="endings of the images")
    label: str = Field("cls", description="ending of the labels: whole numbers from 0 as text")
    processes: int = Field(
        2, ge=0, le=64, description="processes that read ahead; 0: the worker itself; changes nothing that is computed"
    )

    def holds(self, file: Path) -> bool:
        return super().holds(file) and ".tar" in file.suffixes

    def dimensions(self) -> Dimensions:
        return Dimensions(self.shape, self.classes, splits=tuple(self.shards))

    @reads_files
    def load(self, base: Path) -> Data:
        """The splits, on disk.

        Raises:
            SpecError: files are missing, changed, compressed or cut off, or some that were tried are no images.
        """
        pictures = Pictures.model_validate(self.model_dump(include=set(Pictures.model_fields)))
        splits = {}
        for name, files in self.verified_splits(base).items():
            indices = [_index(f, self.image.split(";"), self.label) for f in files]
            for file, index in zip(files, indices, strict=True):
                if len(outside := index[(index[:, 2] < 0) | (index[:, 2] >= self.classes), 2]):
                    raise SpecError(
                        f"data.classes: {file} has the label {outside[0]}; they go from 0 to {self.classes - 1}"
                    )
            reader = _TarImages(files, indices, pictures)
            if not len(reader):
                raise SpecError(f"data: the split {name!r} has no samples with .{self.image} and .{self.label}")
            reader.read(np.linspace(0, len(reader) - 1, min(_TRIED, len(reader))).astype(np.int64))
            splits[name] = StoredSplit(name, reader, self.processes)
        return Data(splits, self.classes, self.shape)


def _index(file: Path, images: Sequence[str], label: str) -> NDArray[np.int64]:
    """First byte, size and class [n, 3] of each image in a tar file; kept in the cache of the machine.

    What a fingerprint of a large file does not see, such as a label that was corrected in place, its time does.
    """
    endings = "-".join((*images, label)).replace("/", "")
    kept = cache_folder("tars") / f"{fingerprint(file)}-{file.stat().st_mtime_ns}-{endings}.npy"
    if kept.is_file():
        try:
            return np.asarray(np.load(kept))
        except (ValueError, OSError, EOFError):
            kept.unlink(missing_ok=True)
    index = np.array(_samples(file, images, label), np.int64).reshape(-1, 3)
    partial = kept.with_suffix(f".{os.getpid()}.partial.npy")
    np.save(partial, index)
    partial.replace(kept)
    return index


@dataclass(slots=True)
class _Sample:
    image: tuple[int, int] | None = None
    label: int | None = None


def _samples(file: Path, images: Sequence[str], label: str) -> list[tuple[int, int, int]]:
    size, samples = file.stat().st_size, dict[str, _Sample]()
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, ending = name.partition(".")
                sample = samples.setdefault(f"{folder}/{stem}", _Sample())
                if member.offset_data + member.size > size:
                    raise SpecError(f"data: {file} is cut off in {member.name}")
                if ending in images:
                    sample.image = (member.offset_data, member.size)
                elif ending == label:
                    text = tar.extractfile(member)
                    sample.label = _class(b"" if text is None else text.read(64), file, member.name)
    except (tarfile.TarError, OSError, EOFError) as e:
        raise SpecError(f"data: {file} is no plain tar file, or is cut off: {e}") from e
    if half := next((n for n, s in samples.items() if (s.image is None) != (s.label is None)), None):
        lacks = f".{label}" if samples[half].label is None else f".{' or .'.join(images)}"
        raise SpecError(f"data: in {file}, the sample {half.lstrip('/')} has no {lacks}")
    return [(*s.image, s.label) for s in samples.values() if s.image is not None and s.label is not None]


def _class(text: bytes, file: Path, name: str) -> int:
    try:
        return int(text)
    except ValueError as e:
        raise SpecError(f"data: in {file}, {name} should be a whole number, but is {text[:40]!r}") from e


class _TarImages(Reader):
    """Images inside of tar files.

    Args:
        files: in order.
        indices: of each.
        pictures: how images become inputs.
    """

    def __init__(self, files: Sequence[Path], indices: Sequence[NDArray[np.int64]], pictures: Pictures) -> None:
        self._paths, self._pictures = list(files), pictures
        self._index = np.concatenate(indices)
        self._ends = np.cumsum([len(i) for i in indices])
        self._files = OpenFiles(_open, os.close)

    def __len__(self) -> int:
        return len(self._index)

    def read(self, positions: NDArray[np.int64]) -> Arrays:
        inputs = np.empty((len(positions), *self._pictures.shape), np.float32)
        for row, position in zip(inputs, positions.tolist(), strict=True):
            path = self._paths[int(np.searchsorted(self._ends, position, side="right"))]
            first, size, _ = self._index[position].tolist()
            row[:] = self._pictures.decode(
                os.pread(self._files[path], size, first), f"an image at byte {first} of {path}"
            )
        return inputs, self._index[positions, 2]


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY)
