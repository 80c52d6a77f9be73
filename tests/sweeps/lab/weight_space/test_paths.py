"""Paths: exact ends, lengths in closed form, and curves that training bends around a hill."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.weight_space.paths import Path, PathTraining, Walk, train_path

SHAPES = ["bezier", "polygon"]


def state(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(values, dtype=torch.float64)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bends", [0, 1, 2, 5])
def test_ends_are_exact_and_shares_add_up(shape: str, bends: int) -> None:
    torch.manual_seed(bends)
    a, b = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    for module in (a, b):
        for t in module.state_dict().values():
            t.copy_(torch.rand(t.shape) * 10)
    path = Path.straight(a.state_dict(), b.state_dict(), shape, bends)
    for t in np.linspace(0, 1, 13):
        assert sum(path.coefficients(float(t))) == pytest.approx(1, abs=1e-14)
    with Walk(nn.BatchNorm1d(3), path) as walk:
        for t, end in ((0.0, a), (1.0, b), (0.0, a)):
            walk.move(t)
            for name, value in walk.module.state_dict().items():
                wanted = a.state_dict()[name] if name == "num_batches_tracked" else end.state_dict()[name]
                assert torch.equal(value, wanted)
        walk.move(0.25)
        mixed = 0.75 * a.running_var + 0.25 * b.running_var
        assert torch.allclose(walk.module.state_dict()["running_var"], mixed)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bends", [0, 1, 3])
def test_a_straight_path_is_as_long_as_its_ends_are_far(shape: str, bends: int) -> None:
    path = Path.straight(state(0, 0, 1), state(3, 4, 1), shape, bends)
    assert path.length(["w"]) == pytest.approx(5, rel=1e-12)


def test_a_polygon_is_as_long_as_its_sides() -> None:
    path = Path("polygon", (state(0, 0), state(3, 0), state(3, 4)))
    assert path.length(["w"]) == pytest.approx(7, rel=1e-12)


def test_a_parabola_has_the_length_of_the_closed_form() -> None:
    """Bezier through (0, 0), (1, 2), (2, 0) is y = 2x - x^2: its length is sqrt(5) + asinh(2) / 2."""
    path = Path("bezier", (state(0, 0), state(1, 2), state(2, 0)))
    assert path.length(["w"]) == pytest.approx(math.sqrt(5) + math.asinh(2) / 2, rel=1e-9)


class Ring(nn.Module):
    """Outputs the squared distance of its two weights from the unit circle, squared: a valley that is a circle."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([x, y]))

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.w.square().sum() - 1).square().expand(len(inputs), 1)


def identity_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[:, 0] + 0 * targets


@pytest.mark.parametrize("shape", SHAPES)
def test_training_bends_a_path_around_the_hill_and_keeps_its_ends(shape: str) -> None:
    a, b = Ring(1.0, 0.0), Ring(0.0, 1.0)
    batches: Iterator[tuple[Tensor, Tensor]] = itertools.repeat((torch.zeros(2, 1), torch.zeros(2)))
    straight = Path.straight(a.state_dict(), b.state_dict(), shape, 1)
    module = Ring(1.0, 0.0)
    generator = torch.Generator().manual_seed(0)
    path = train_path(module, straight, batches, identity_loss, PathTraining(300, 0.02), generator)
    assert torch.equal(path.points[0]["w"], a.w) and torch.equal(path.points[-1]["w"], b.w)

    def highest(path: Path) -> float:
        with Walk(Ring(1.0, 0.0), path) as walk:
            heights = []
            for t in np.linspace(0, 1, 61):
                walk.move(float(t))
                heights.append(float(walk.module(torch.zeros(1, 1)).detach()))
        return max(heights)

    assert highest(straight) == pytest.approx(0.25)
    assert highest(path) < 0.05
    x, y = path.points[1]["w"].tolist()
    assert x == pytest.approx(y, abs=0.15)  # the valley is symmetric
    assert path.length(["w"]) > math.sqrt(2)


def test_weight_decay_is_of_the_curve_and_not_of_the_bends() -> None:
    """Without a loss the decay alone pulls the curve to 0: between (1, 0) and (1, 0) the bend goes beyond 0.

    Integral of |phi|^2 with phi = (1 - s) + s b and s = 2t(1 - t): its minimum is b = 1 - E[s] / E[s^2] = -1.5.
    """
    a = Ring(1.0, 0.0)
    batches = itertools.repeat((torch.zeros(1, 1), torch.zeros(1)))

    def nothing(outputs: Tensor, targets: Tensor) -> Tensor:
        return 0 * outputs[:, 0] + targets

    path = Path.straight(a.state_dict(), a.state_dict(), "bezier", 1)
    training = PathTraining(1500, 0.2, momentum=0.0, weight_decay=1.0)
    path = train_path(Ring(1.0, 0.0), path, batches, nothing, training, torch.Generator().manual_seed(0))
    assert float(path.points[1]["w"][0]) == pytest.approx(-1.5, abs=0.1)


def test_the_learning_rate_falls_from_half_to_nine_tenths() -> None:
    training = PathTraining(100, 0.5)
    assert [training.rate(s) for s in (0, 50, 70, 90, 99)] == pytest.approx([0.5, 0.5, 0.5 * 0.505, 0.005, 0.005])
