"""Imbalanced classes: how many images are left of each, which, and their test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch

from landsweep.sweeps.lab.data import Digits, Imbalanced
from landsweep.sweeps.lab.data.imbalanced import class_counts

PLAIN = Digits(source="digits").load(Path()).splits


@pytest.mark.parametrize(
    ("shape", "ratio", "wanted"),
    [  # by hand, from 100 images of class 0
        ("exponential", 100.0, [100, 59, 35, 21, 12, 7, 4, 2, 1, 1]),
        ("exponential", 1.0, [100] * 10),
        ("step", 20.0, [100] * 5 + [5] * 5),
    ],
)
def test_counts_by_hand(shape: Literal["exponential", "step"], ratio: float, wanted: list[int]) -> None:
    assert class_counts(100, 10, ratio, shape) == wanted
    assert class_counts(3, 10, 1000.0, shape)[-1] == 1


@pytest.mark.parametrize("shape", ["exponential", "step"])
def test_the_first_images_of_each_class_are_left(shape: Literal["exponential", "step"]) -> None:
    data = Imbalanced(source="imbalanced", of=Digits(source="digits"), ratio=8, shape=shape).load(Path())
    train, plain = data.splits["train"], PLAIN["train"]
    most = min(int((plain.targets == c).sum()) for c in range(10))
    for c, count in enumerate(class_counts(most, 10, 8, shape)):
        assert torch.equal(train.inputs[train.targets == c], plain.inputs[plain.targets == c][:count])
    places = [int((plain.inputs == image).flatten(1).all(1).nonzero()[0]) for image in train.inputs[::50]]
    assert places == sorted(places)  # in the order of the source
    assert torch.equal(data.splits["test"].inputs, PLAIN["test"].inputs)
    halves = [data.splits[f"test_{name}"].targets for name in ("frequent", "rare")]
    assert int(halves[0].max()) == 4 and int(halves[1].min()) == 5
    assert len(halves[0]) + len(halves[1]) == len(PLAIN["test"])


def test_a_ratio_of_one_leaves_a_balanced_set() -> None:
    data = Imbalanced(source="imbalanced", ratio=1.0).load(Path())
    assert len(set(torch.bincount(data.splits["train"].targets).tolist())) == 1
