"""Made-up data: shapes, and what each is made to have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from landsweep.sweeps.lab.data import functions_to_learn as made


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("square", {}), ("composed", {"inner": 1, "outer": 2, "train": 200, "test": 100}), ("bigrams", {}),
        ("random_features", {"features": 30}), ("clusters", {"classes": 4}), ("cued_digits", {"cue": 1}),
        ("graded_table", {}),
    ],
)  # fmt: skip
def test_splits_are_whole_and_the_same_each_time(name: str, args: dict[str, Any]) -> None:
    first, again = getattr(made, name)(**args), getattr(made, name)(**args)
    assert "train" in first and len(first) > 1
    for split, (inputs, targets) in first.items():
        assert len(inputs) == len(targets) > 0 and np.isfinite(inputs).all()
        assert np.array_equal(inputs, again[split][0]) and np.array_equal(targets, again[split][1])


def test_the_target_of_composed_is_centred_and_rougher_with_less_smoothness() -> None:
    rough, smooth = (made.composed(s, s)["train"][1] for s in (1, 4))
    assert abs(float(rough.mean())) < 1e-9 and float(smooth.std()) == pytest.approx(1)
    assert not np.array_equal(rough, smooth)


def test_a_certain_token_has_one_successor() -> None:
    splits = made.bigrams()
    for split, most in (("certain", 1), ("uncertain", 32)):
        inputs, targets = splits[split]
        follow = [len(set(targets[inputs.argmax(1) == token])) for token in set(inputs.argmax(1))]
        assert max(follow) <= most and (split == "certain" or min(follow) > 10)


def test_a_cue_is_right_wrong_or_absent() -> None:
    splits = made.cued_digits(1)
    for split, agrees in (("train", True), ("right", True), ("wrong", False)):
        inputs, targets = splits[split]
        cue = inputs[:, 64:].argmax(1)
        assert (cue == targets).all() if agrees else (cue != targets).all()
    assert not splits["plain"][0][:, 64:].any() and not made.cued_digits(0)["train"][0][:, 64:].any()
