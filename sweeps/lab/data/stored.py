"""Splits that stay on disk: samples are read when they are needed, so that memory does not grow with the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Split
from landsweep.sweeps.lab.data.order import Order, shuffled_order

__all__ = ["Arrays", "Feed", "OrderedFeed", "Reader", "StoredSplit", "Unreadable", "as_split", "reading"]

Arrays: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
"""Inputs [n, ...] and targets [n, ...] of samples."""

_WHOLE = 1 << 30  # bytes; what asks for a whole split at once gets it up to this size


class Unreadable(SpecError):
    """Samples on disk can't be had. That holds for all models, while other errors of a training are its own."""


@contextmanager
def reading() -> Iterator[None]:
    """Around the reading of samples.

    Raises:
        Unreadable: they can't be had.
    """
    try:
        yield
    except SpecError as e:
        raise Unreadable(str(e)) from e


class Feed(ABC):
    """The samples of one model, pass after pass. It is pickled into processes that read ahead.

    Attributes:
        count: samples in a pass.
    """

    count: int

    @abstractmethod
    def take(self, epoch: int, start: int, stop: int, batch: int, rank: int = 0, ranks: int = 1) -> Arrays:
        """The samples from `start` up to `stop` of a pass, which are a batch, or a part of them.

        Args:
            epoch: number of the pass, from 0.
            start: first sample.
            stop: after the last; both within the pass.
            batch: number of the batch within the pass, from 0.
            rank: of the member of a gang that asks; it gets those number rank, rank + ranks, ..., or else the first.
            ranks: members of the gang, which share each batch.

        Raises:
            SpecError: they can't be had; names the file.
        """

    @abstractmethod
    def first(self, n: int) -> Arrays:
        """The first n samples of the model in the order of the files, or as many as it has."""


class Reader(ABC):
    """Random access to the samples of one split. It is pickled into processes that read ahead."""

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def read(self, positions: NDArray[np.int64]) -> Arrays:
        """The samples at these positions [n]: integers for tokens and classes, other numbers as float32.

        Raises:
            SpecError: a file is not what it was when the sweep began; names it.
        """

    def first(self, n: int) -> Arrays:
        """The first n samples."""
        return self.read(np.arange(n))

    def feed(self, seed: int, fraction: float) -> Feed:
        """The samples in the order of a recipe's seed, or the share of them that it trains on."""
        return OrderedFeed(self, shuffled_order(seed, len(self), fraction))


class OrderedFeed(Feed):
    """Samples of a reader in an order, whichever batch is asked for first.

    Args:
        reader: of the samples.
        order: of their positions.
    """

    def __init__(self, reader: Reader, order: Order) -> None:
        self._reader, self._order, self.count = reader, order, order.count

    def take(self, epoch: int, start: int, stop: int, batch: int, rank: int = 0, ranks: int = 1) -> Arrays:
        del batch
        first = rank if rank < stop - start else 0
        return self._reader.read(self._order.positions(epoch, start, stop)[first::ranks])

    def first(self, n: int) -> Arrays:
        return self._reader.read(self._order.own(n))


def as_split(arrays: Arrays, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Split:
    """Samples as tensors on a device; whole numbers as int64."""
    inputs, targets = (_tensor(a, dtype).to(device) for a in arrays)
    return Split(inputs, targets)


def _tensor(array: NDArray[Any], dtype: torch.dtype) -> Tensor:
    if array.dtype.kind == "f":
        return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
    return torch.from_numpy(array.astype(np.int64))


class StoredSplit(Split):
    """A split on disk. What needs all of it in memory gets it if it is small, and is refused otherwise.

    Args:
        name: of the split, for messages.
        reader: of its samples.
        processes: that read ahead when it is trained on; 0: the process that trains reads by itself.
        device: on which samples are put.
        dtype: of floating-point numbers.
    """

    __slots__ = ("_example", "device", "dtype", "name", "processes", "reader")

    name: str
    reader: Reader
    processes: int
    device: str
    dtype: torch.dtype
    _example: Split | None

    def __init__(
        self,
        name: str,
        reader: Reader,
        processes: int = 0,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        fields = {"name": name, "reader": reader, "processes": processes, "device": device, "dtype": dtype}
        for field, value in {**fields, "_example": None}.items():
            object.__setattr__(self, field, value)  # as the class above, it can't be changed afterwards

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def inputs(self) -> Tensor:
        """All inputs, of a small split."""
        return self._whole().inputs

    @property
    def targets(self) -> Tensor:
        """All targets, of a small split."""
        return self._whole().targets

    def cast(self, dtype: torch.dtype) -> Self:
        return type(self)(self.name, self.reader, self.processes, self.device, dtype)

    def to(self, device: str) -> Self:
        return type(self)(self.name, self.reader, self.processes, device, self.dtype)

    def part(self, start: int, stop: int | None) -> Split:
        return self.at(np.arange(len(self))[start:stop] if stop is None else np.arange(start, min(stop, len(self))))

    def at(self, positions: NDArray[np.int64]) -> Split:
        """The samples at these positions."""
        with reading():
            return as_split(self.reader.read(positions), self.dtype, self.device)

    def head(self, n: int | None) -> Split:
        if n == 1:  # asked for again and again, for its shape
            if self._example is None:
                object.__setattr__(self, "_example", self._first(1))
            assert self._example is not None
            return self._example
        return self._whole() if n is None else self._first(min(n, len(self)))

    def _whole(self) -> Split:
        example = self.head(1)
        size = len(self) * sum(t.nbytes for t in (example.inputs, example.targets))
        if size > _WHOLE:
            self._refuse(size)
        return self._first(len(self))

    def _first(self, n: int) -> Split:
        with reading():
            return as_split(self.reader.first(n), self.dtype, self.device)

    def _refuse(self, size: int) -> NoReturn:
        raise SpecError(
            f"data: the split {self.name!r} has {len(self)} samples on disk, {size / 2**30:.1f} GiB in memory. Only "
            f"training and its evaluations read it piece by piece; here it would be loaded whole, which is done up to "
            f"{_WHOLE / 2**30:g} GiB: name a smaller split"
        )
