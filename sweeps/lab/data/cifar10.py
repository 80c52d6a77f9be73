"""CIFAR-10 from its python batches in a local folder."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data, Dimensions, FolderData, ImageData, Split, images, labels, required
from landsweep.sweeps.lab.data.foreign import reads_files

__all__ = ["Cifar10", "read_batch"]

WHERE = "unpack cifar-10-python.tar.gz and name the folder cifar-10-batches-py that comes out"
PARTS = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Cifar10(FolderData, ImageData):
    """50,000 training and 10,000 test images [3, 32, 32]; pixels normalised per channel."""

    source: Literal["cifar10"]

    def files(self, base: Path) -> Sequence[Path]:
        return required(base / self.folder, [(n,) for names in PARTS.values() for n in names], "cifar10", WHERE)

    def dimensions(self) -> Dimensions:
        return Dimensions((3, 32, 32), 10, splits=self.split_names)

    @reads_files
    def load(self, base: Path) -> Data:
        """Splits `train` and `test`, and `validation` if asked for, on the CPU.

        Raises:
            SpecError: a file is missing, truncated, or holds anything but arrays of bytes and labels.
        """
        files = {f.name: f for f in self.verified(base)}
        splits = {}
        for name, parts in PARTS.items():
            batches = [read_batch(files[part]) for part in parts]
            pixels = np.concatenate([pixels for pixels, _ in batches])
            splits[name] = Split(images(pixels, MEAN, STD), labels(np.concatenate([y for _, y in batches])))
        return self.parted(**splits)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


_REBUILD: Callable[..., Any] = np.zeros(1).__reduce__()[0]  # type: ignore[assignment]  # what rebuilds an array
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _REBUILD,
    ("numpy._core.multiarray", "_reconstruct"): _REBUILD,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,  # how Python 3 writes bytes in the old protocol of these files
}


class _ArraysOnly(pickle.Unpickler):
    """Reads built-in containers and numpy arrays: a pickle that names anything else can't run its code."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - whatever a pickle names
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants to use {module}.{name}, which is not allowed in a data file")
        return _ALLOWED[module, name]


def read_batch(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [n, 3, 32, 32] and labels [n] of one batch file.

    Raises:
        SpecError: the file is truncated or holds something else.
    """
    raw = file.read_bytes()
    try:
        content = _ArraysOnly(io.BytesIO(raw), encoding="bytes").load()
        pixels, targets = np.asarray(content[b"data"]), np.asarray(content[b"labels"])
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError) as e:
        raise SpecError(
            f"data: {file} can't be read as a CIFAR-10 batch: {str(e) or type(e).__name__}; it has {len(raw)} bytes, "
            "a whole batch of 10,000 images has about 31,035,000; fetch the archive again"
        ) from e
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072 or targets.shape != (len(pixels),):
        raise SpecError(
            f"data: {file} should hold bytes of shape [n, 3072] and n labels, but holds {pixels.dtype} "
            f"{list(pixels.shape)} and {list(targets.shape)} labels"
        )
    return pixels.reshape(-1, 3, 32, 32), targets.astype(np.int64)
