"""Random sequences of convolutions, with random settings of training: `conv` trains them as the plain loop does."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.backends import rules
from tests.sweeps.lab.training.cases import distance, ends, finals, run

NETWORKS = range(12)
CLASSES = 3


def shape_of(seed: int) -> tuple[int, int, int]:
    source = random.Random(f"shape {seed}")
    return source.choice((1, 2, 3)), source.choice((5, 8, 9, 12)), source.choice((5, 8, 11))


def network(seed: int) -> nn.Module:
    """One to three convolutions, each perhaps with pooling, an activation and dropout, and one or two linear layers."""
    source = random.Random(f"network {seed}")
    layers: list[nn.Module] = [nn.Identity()]
    before = torch.zeros(1, *shape_of(seed))
    for _ in range(source.randint(1, 3)):
        channels, width = before.shape[1], min(before.shape[2:])
        out, kernel = source.choice((1, 2, 4, 5, 16, 32, 48)), min(width, source.choice((1, 2, 3, 5)))
        groups = 2 if channels % 2 == out % 2 == 0 and source.random() < 0.3 else 1
        stride, padding = source.choice((1, 1, 2, 3)), source.choice((0, 1))
        layers.append(nn.Conv2d(channels, out, kernel, stride, padding, 1, groups, bias=source.random() < 0.8))
        pixels = nn.Sequential(*layers).eval()(torch.zeros(1, *shape_of(seed))).shape[2:]
        if source.random() < 0.3 and min(pixels) >= 2:
            layers.append(nn.MaxPool2d(2, source.choice((None, 1)), ceil_mode=source.random() < 0.5))
        layers.append(source.choice((*rules.RULES, nn.Identity))())
        layers.append(source.choice((nn.Identity(), nn.Dropout(0.3), nn.Dropout2d(0.2))))
        before = nn.Sequential(*layers).eval()(torch.zeros(1, *shape_of(seed)))
    layers += [nn.AdaptiveAvgPool2d(1)] * (source.random() < 0.5) + [nn.Flatten()]
    features = nn.Sequential(*layers).eval()(torch.zeros(1, *shape_of(seed))).shape[1]
    layers += [nn.Linear(features, 7), nn.Tanh(), nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.Linear(7, CLASSES, bias=source.random() < 0.8))


def maker(seed: int) -> Callable[[], nn.Module]:
    return lambda: network(seed)


for _seed in NETWORKS:  # a recipe names a function of a module
    globals()[f"network_{_seed}"] = maker(_seed)


def recipes(seed: int) -> list[Recipe]:
    source = random.Random(f"recipe {seed}")
    method = source.choice(("sgd", "adamw", "adam", "rmsprop", "sam"))
    fields: dict[str, Any] = {
        "data": {"source": "digits"},
        "net": {"net": "own", "function": f"{__name__}:network_{seed}"},
        "optimizer": {"method": method, "learning_rate": source.choice((0.001, 0.01))},
        "steps": source.randint(3, 10),
        "batch_size": source.choice((7, 16, 32)),
        "dtype": "float64",
        "loss": source.choice(("cross_entropy", "mse", "hinge", "squentropy")),
        "clip": source.choice((None, 0.5)),
        "micro_batch": source.choice((None, 5)),
        "evaluate": {"every_steps": 4},
    }
    return [Recipe.model_validate({**fields, "seed": i}) for i in range(source.choice((1, 2, 5, 9)))]


def data(seed: int) -> Data:
    source = torch.Generator().manual_seed(seed)

    def split(samples: int) -> Split:
        inputs = torch.randn(samples, *shape_of(seed), generator=source, dtype=torch.float64)
        return Split(inputs, torch.randint(CLASSES, (samples,), generator=source))

    return Data({"train": split(50), "test": split(20)}, CLASSES, shape_of(seed))


@pytest.mark.parametrize("seed", NETWORKS)
def test_conv_trains_as_the_loop_does(seed: int) -> None:
    """In double precision, after up to ten steps."""
    ours, theirs = (run(recipes(seed), data(seed), backend) for backend in ("conv", "loop"))
    assert [ends(ours)[i].status for i in ends(theirs)] == [end.status for end in ends(theirs).values()]
    for i, state in finals(theirs).items():
        assert distance(finals(ours)[i], state) < 1e-8
        losses = (ends(events)[i].metrics["test_loss"] for events in (ours, theirs))
        assert next(losses) == pytest.approx(next(losses), rel=1e-8)
