"""Measures `losses` and `distance` against formulas written out here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.measure.measures.distance import Distance
from landsweep.sweeps.measure.measures.losses import Losses
from landsweep.sweeps.measure.subject import Samples, StoredModel, Subject


def stored(module: nn.Module, key: str = "a") -> StoredModel:
    return StoredModel(key, "last", None, {}, module.state_dict(), lambda: module.eval())


def subject(modules: Sequence[nn.Module], samples: Samples | None = None) -> Subject:
    named = {} if samples is None else {samples.name: samples}
    return Subject(tuple(stored(m) for m in modules), named, (), 0)


def linear(*weights: float) -> nn.Module:
    module = nn.Linear(len(weights), 1, bias=False)
    module.weight.data = torch.tensor([weights])
    return module


@pytest.mark.parametrize(
    ("a", "b", "distance", "angle"),
    [
        ((3.0, 0.0), (0.0, 4.0), 5.0, 90.0),
        ((1.0, 0.0), (1.0, 0.0), 0.0, 0.0),
        ((1.0, 0.0), (-2.0, 0.0), 3.0, 180.0),
        ((1.0, 0.0), (1.0, 1e-5), 1e-5, 5.7295779e-4),  # an arc cosine would give 0
    ],
)
def test_distance_and_angle_are_those_of_the_plane(
    a: tuple[float, ...], b: tuple[float, ...], distance: float, angle: float
) -> None:
    (measured,) = Distance(measure="distance").compute([subject([linear(*a), linear(*b)])])
    assert measured.values["distance"] == pytest.approx(distance, rel=1e-6)
    assert measured.values["angle"] == pytest.approx(angle, rel=1e-6)
    assert list(measured.values) == [c.name for c in Distance(measure="distance").columns()]


def test_the_angle_to_a_model_of_zeros_is_not_defined() -> None:
    (measured,) = Distance(measure="distance").compute([subject([linear(0.0, 0.0), linear(3.0, 4.0)])])
    assert measured.values == {"distance": 5.0, "relative_distance": 2.0, "angle": None}


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_losses_are_those_of_all_samples_at_once(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    module = nn.Linear(3, 4)
    x, y = torch.randn(20, 3, generator=generator), torch.randint(4, (20,), generator=generator)
    samples = Samples("train", x, y, LOSSES["cross_entropy"], batch_size)
    (measured,) = Losses(measure="losses").compute([subject([module], samples)])
    each = F.cross_entropy(module(x), y, reduction="none")
    assert measured.values["loss"] == pytest.approx(each.mean().item(), rel=1e-6)
    assert measured.values["loss_se"] == pytest.approx((each.var() / 20).sqrt().item(), rel=1e-5)
    assert measured.values["accuracy"] == pytest.approx((module(x).argmax(1) == y).float().mean().item())
    assert measured.values["samples"] == 20


def test_regression_has_no_accuracy() -> None:
    samples = Samples("test", torch.ones(2, 2), torch.zeros(2, 1), LOSSES["mse"], 8)
    (measured,) = Losses(measure="losses", evaluator="test").compute([subject([linear(1.0, 2.0)], samples)])
    assert (measured.values["loss"], measured.values["accuracy"]) == (9.0, None)
