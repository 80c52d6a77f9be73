"""The split of a zoo into train, val and test that no seed and no lineage crosses."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, TypeAlias

__all__ = ["SHARES", "Part", "split_of"]

Part: TypeAlias = Literal["train", "val", "test"]
SHARES: dict[Part, float] = {"train": 0.7, "val": 0.15, "test": 0.15}

_GOLDEN = Fraction(6180339887, 10_000_000_000)
_OFFSET = Fraction(1, 4)  # so that three seeds give train and test, and five give all parts


def split_of(seed: int) -> Part:
    """The part that all models of a seed belong to.

    Two models of one seed share initialisation and data order, so one of them in train and the other in test would
    leak. The part follows from the seed alone: it is the same on every machine, and growing a zoo never moves a model.
    Seeds are spread by the golden ratio, so that any stretch of consecutive ones comes close to 70, 15 and 15 %.

    Example:
        >>> [split_of(seed) for seed in range(5)]
        ['train', 'test', 'train', 'train', 'val']
    """
    place = (_OFFSET + seed * _GOLDEN) % 1
    if place < Fraction(70, 100):
        return "train"
    return "val" if place < Fraction(85, 100) else "test"
