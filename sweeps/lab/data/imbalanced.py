"""Images of classes that are not equally frequent in training, and test sets of frequent and of rare ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.data.base import Data, Dimensions, Split
from landsweep.sweeps.lab.data.images_of import ImagesOf

__all__ = ["Imbalanced", "class_counts"]


class Imbalanced(ImagesOf):
    """Images of another source, of which training has fewer from class to class (arXiv 1906.07413, section 4).

    Class 0 is the most frequent one; it has `ratio` times as many images as the last class. What is left of a class are
    its first images, in their order. `class_counts` says how many; the smallest class of the source stands for all of
    them, as if it were balanced. The splits are `train`, `test` (as in the source), and of `test` the first and the
    second half of the classes, `test_frequent` and `test_rare`.
    """

    source: Literal["imbalanced"]
    ratio: float = Field(10.0, ge=1, description="images of the most frequent class for one of the rarest")
    shape: Literal["exponential", "step"] = Field(
        "exponential", description="exponential: falling from class to class; step: the second half is rare"
    )

    def dimensions(self) -> Dimensions:
        plain = self.of.dimensions()
        return Dimensions(plain.shape, plain.outputs, splits=("train", "test", "test_frequent", "test_rare"))

    def stand_in(self, rows: int, base: Path) -> Data:
        plain = self.of.stand_in(rows, base)
        return self._split(plain, plain.splits["train"])

    def made_from(self, plain: Data) -> Data:
        train = plain.splits["train"]
        each = torch.bincount(train.targets, minlength=plain.classes)
        counts = torch.tensor(class_counts(int(each.min()), plain.classes, self.ratio, self.shape))
        kept = _rank_in_class(train.targets, plain.classes) < counts[train.targets]
        return self._split(plain, Split(train.inputs[kept], train.targets[kept]))

    def _split(self, plain: Data, train: Split) -> Data:
        test = plain.splits["test"]
        rare = test.targets >= (plain.classes + 1) // 2
        parts = {"test_frequent": ~rare, "test_rare": rare}
        tests = {name: Split(test.inputs[part], test.targets[part]) for name, part in parts.items()}
        return Data.of({"train": train, "test": test, **tests}, plain.classes)


def class_counts(most: int, classes: int, ratio: float, shape: Literal["exponential", "step"]) -> list[int]:
    """Images of each class [classes]: most ratio^(-c / (classes - 1)), or most / ratio in the second half; at least 1.

    Args:
        most: of class 0.
        classes: at least 2.
        ratio: of class 0 to the last one.
        shape: as in `Imbalanced`.
    """
    if shape == "step":
        return [most if c < (classes + 1) // 2 else max(1, int(most / ratio)) for c in range(classes)]
    return [max(1, int(most * ratio ** (-c / (classes - 1)))) for c in range(classes)]


def _rank_in_class(labels: Tensor, classes: int) -> Tensor:
    """For each label [n] how many equal ones come before it."""
    ranks = torch.zeros_like(labels)
    for c in range(classes):
        places = torch.nonzero(labels == c)[:, 0]
        ranks[places] = torch.arange(len(places))
    return ranks
