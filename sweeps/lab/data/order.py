"""In which order a model sees samples on disk: a function of its seed and the place, which is never a whole table."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray

from landsweep.sweeps.lab.streams import counted, stream

__all__ = ["Order", "Permutation", "Shuffled", "scrambled", "shuffled_order"]

_TABLE = 1 << 20  # up to so many places a permutation is a table: 8 MiB, the same as for data in memory
_ROUNDS = 6


class Permutation:
    """A bijection of 0 to n - 1, place by place.

    Up to 2^20 places it is `torch.randperm`, as for data in memory. Beyond, a Feistel network of six rounds over the
    least even number of bits that holds n, applied until the result is below n (cycle walking; Black and Rogaway 2002).

    Args:
        root: seed.
        n: number of places.
    """

    def __init__(self, root: int, n: int) -> None:
        self._n = n
        self._table: NDArray[np.int64] | None = None
        if n <= _TABLE:
            self._table = torch.randperm(n, generator=torch.Generator().manual_seed(root)).numpy()
        half = max(1, ((n - 1).bit_length() + 1) // 2)
        self._half, self._mask = np.uint64(half), np.uint64((1 << half) - 1)
        self._keys = [np.uint64(counted(root, i)) for i in range(_ROUNDS)]

    def __call__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """What stands at these places, [m]."""
        if self._table is not None:
            return self._table[places]
        values = self._mixed(places.astype(np.uint64))
        while (outside := values >= np.uint64(self._n)).any():
            values[outside] = self._mixed(values[outside])
        return values.astype(np.int64)

    def _mixed(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (scrambled(right + key) & self._mask)
        return (left << self._half) | right


def scrambled(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of splitmix64, which overflows on purpose."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Order(ABC):
    """Positions of the samples of a model, one pass after the other.

    Attributes:
        count: samples in a pass.
    """

    count: int

    @abstractmethod
    def positions(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """Positions [stop - start] of the samples from `start` up to `stop` in a pass, both within it."""

    def own(self, n: int) -> NDArray[np.int64]:
        """Positions of n samples that the model has, or of as many as it has; the same ones always."""
        return np.arange(min(n, self.count))


class Shuffled(Order):
    """A new permutation for each pass.

    Args:
        root: seed of the model's stream `order`.
        count: samples in a pass.
        chosen: where the model has only some of the samples: their positions are the first of this permutation.
    """

    def __init__(self, root: int, count: int, chosen: Permutation | None = None) -> None:
        self._root, self.count, self._chosen = root, count, chosen
        self._current: tuple[int, Permutation] | None = None

    def positions(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        if self._current is None or self._current[0] != epoch:
            self._current = (epoch, Permutation(counted(self._root, epoch), self.count))
        places = self._current[1](np.arange(start, stop))
        return places if self._chosen is None else self._chosen(places)

    def own(self, n: int) -> NDArray[np.int64]:
        places = super().own(n)
        return places if self._chosen is None else np.sort(self._chosen(places))


def shuffled_order(seed: int, samples: int, fraction: float = 1.0) -> Shuffled:
    """The order of a recipe's seed over so many samples, or over a share of them; smaller shares nest.

    Args:
        seed: of the recipe.
        samples: of the split.
        fraction: share of them that the model has.
    """
    root = stream(seed, "order")
    if fraction == 1:
        return Shuffled(root, samples)
    count = max(1, round(fraction * samples))
    return Shuffled(root, count, Permutation(stream(seed, "subset"), samples))
