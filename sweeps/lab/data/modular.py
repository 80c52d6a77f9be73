"""Modular arithmetic (arXiv 2201.02177): the tables on which grokking was found."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import Field, model_validator
from torch import Tensor

from landsweep.sweeps.lab.data.base import Data, Source, Split
from landsweep.sweeps.lab.streams import generator

__all__ = ["Modular"]


class Modular(Source):
    """All pairs a, b below a modulus p, split at random; the class is the result of the operation modulo p.

    As tokens an input is [a, b, p], p standing for the sign of equality: so the vocabulary and `classes` have p + 1
    entries, and a `gpt` needs `logits: last`. As one_hot it is [2 p]. A greater share contains the smaller ones.
    """

    source: Literal["modular"]
    modulus: int = Field(97, ge=2, le=1000, description="p; a prime in the papers")
    operation: Literal["add", "subtract", "multiply"] = "add"
    form: Literal["tokens", "one_hot"] = "one_hot"
    train_fraction: float = Field(
        0.5, gt=0, lt=1, description="share of the p^2 pairs to train on; the others are test"
    )
    seed: int = Field(0, ge=0, description="of the split; recipes have a seed of their own")

    @model_validator(mode="after")
    def _both_splits_have_samples(self) -> Self:
        if not 0 < self._count() < self.modulus**2:
            raise ValueError(f"train_fraction leaves one split empty: there are {self.modulus**2} pairs")
        return self

    def load(self, base: Path) -> Data:
        """Splits `train` and `test` on the CPU."""
        del base
        p = self.modulus
        order = torch.randperm(p * p, generator=generator(self.seed, "split"))
        parts = {"train": order[: self._count()], "test": order[self._count() :]}
        splits = {name: self._split(pairs // p, pairs % p) for name, pairs in parts.items()}
        return Data.of(splits, p + 1 if self.form == "tokens" else p)

    def _count(self) -> int:
        return round(self.train_fraction * self.modulus**2)

    def _split(self, a: Tensor, b: Tensor) -> Split:
        p = self.modulus
        result = {"add": a + b, "subtract": a - b, "multiply": a * b}[self.operation] % p
        if self.form == "tokens":
            return Split(torch.stack([a, b, torch.full_like(a, p)], 1), result)
        return Split(torch.cat([F.one_hot(a, p), F.one_hot(b, p)], 1).float(), result)
