"""MNIST, and what has its format (Fashion-MNIST, KMNIST), from IDX files in a local folder."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.storage.bounds import gunzip, room
from landsweep.sweeps.lab.data.base import Data, Dimensions, FolderData, ImageData, Split, images, labels, required
from landsweep.sweeps.lab.data.foreign import reads_files

__all__ = ["Mnist", "read_idx"]

WHERE = "put the four IDX files (train-images-idx3-ubyte, ..., plain or .gz) there"
PARTS = {"train": "train", "test": "t10k"}


class Mnist(FolderData, ImageData):
    """60,000 training and 10,000 test images [1, 28, 28]; pixels normalised by MNIST's mean and deviation."""

    source: Literal["mnist"]

    def files(self, base: Path) -> Sequence[Path]:
        stems = [f"{part}-{what}" for part in PARTS.values() for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
        options = [(stem, f"{stem}.gz", stem.replace("-idx", ".idx")) for stem in stems]
        return required(base / self.folder, options, "mnist", WHERE)

    def dimensions(self) -> Dimensions:
        return Dimensions((1, 28, 28), 10, splits=self.split_names)

    @reads_files
    def load(self, base: Path) -> Data:
        """Splits `train` and `test`, and `validation` if asked for, on the CPU.

        Raises:
            SpecError: a file is missing, truncated or no IDX file.
        """
        files = self.verified(base)
        splits = {}
        for i, name in enumerate(PARTS):
            pixels, targets = read_idx(files[2 * i], 3), read_idx(files[2 * i + 1], 1)
            if len(pixels) != len(targets):
                raise SpecError(f"data: {files[2 * i]} has {len(pixels)} images, but {files[2 * i + 1]} {len(targets)}")
            splits[name] = Split(images(pixels[:, None], [0.1307], [0.3081]), labels(targets))
        return self.parted(**splits)


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes in an IDX file, plain or gzip.

    Args:
        file: its path; one ending in .gz is unpacked.
        dimensions: how many the array must have.

    Raises:
        SpecError: the file is no such array, or shorter or longer than its header says.
    """
    raw = file.read_bytes()
    if file.suffix == ".gz":
        try:
            raw = gunzip(raw, str(file), room())
        except (EOFError, zlib.error, OSError) as e:
            raise SpecError(f"data: {file} ({len(raw)} bytes) is a damaged gzip file: {e}; fetch it again") from e
    start = 4 + 4 * dimensions
    if raw[:4] != bytes([0, 0, 8, dimensions]) or len(raw) < start:
        raise SpecError(
            f"data: {file} is no IDX file of bytes with {dimensions} dimensions: it starts with {raw[:4].hex()!r} "
            f"instead of '000008{dimensions:02x}' and has {len(raw)} bytes; fetch it again"
        )
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], ">u4"))
    expected = start + math.prod(shape)
    if len(raw) != expected:
        raise SpecError(
            f"data: {file} should hold {expected} bytes for an array of shape {list(shape)}, but holds {len(raw)}; "
            "it is truncated or damaged, fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
