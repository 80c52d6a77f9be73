"""Sparse parity (arXiv 2207.08799): the product of a few unknown signs among many."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from landsweep.sweeps.lab.data.base import Data, Dimensions, DrawnData, Split
from landsweep.sweeps.lab.streams import generator

__all__ = ["SparseParity"]


class SparseParity(DrawnData):
    """Inputs are signs [bits], -1 or 1 alike; the class is 1 where an odd number of the relevant ones is -1.

    More samples, for the same seed, begin with the fewer ones.
    """

    source: Literal["sparse_parity"]
    bits: int = Field(20, ge=1, description="of one input")
    relevant: int = Field(3, ge=1, description="bits that the class depends on")
    train: int = Field(1024, ge=1, description="training samples")
    test: int = Field(1024, ge=1, description="test samples")
    seed: int = Field(0, ge=0, description="of inputs and relevant bits; recipes have a seed of their own")

    @model_validator(mode="after")
    def _enough_bits(self) -> Self:
        if self.relevant > self.bits:
            raise ValueError(f"relevant must be at most bits, but {self.relevant} is more than {self.bits}")
        return self

    def places(self) -> tuple[int, ...]:
        """Which bits are relevant, in rising order."""
        drawn = torch.randperm(self.bits, generator=generator(self.seed, "relevant"))
        return tuple(sorted(drawn[: self.relevant].tolist()))

    def dimensions(self) -> Dimensions:
        return Dimensions((self.bits,), 2)

    def load(self, base: Path) -> Data:
        """Splits `train` and `test` on the CPU."""
        del base
        splits = {}
        for name, count in (("train", self.train), ("test", self.test)):
            bits = torch.randint(2, (count, self.bits), generator=generator(self.seed, f"inputs of {name}"))
            splits[name] = Split(1 - 2 * bits.float(), bits[:, list(self.places())].sum(1) % 2)
        return Data.of(splits, 2)
