"""Full-batch gradient descent at the edge of stability: sharpness rises to 2 / learning rate and stays (2103.00065)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Evaluated, train_pack


def chebyshev() -> dict[str, tuple[Tensor, Tensor]]:
    """The Chebyshev polynomial T4 at 20 points."""
    x = torch.linspace(-1, 1, 20, dtype=torch.float64)[:, None]
    return {"train": (x, torch.cos(4 * torch.arccos(x))), "test": (x, torch.cos(4 * torch.arccos(x)))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "edge"),
    [
        ({"learning_rate": 0.05}, 2.0),
        ({"learning_rate": 0.1, "momentum": 0.5}, 2 + 2 * 0.5),
        ({"learning_rate": 0.05, "momentum": 0.5, "nesterov": True}, (2 + 2 * 0.5) / (1 + 2 * 0.5)),
    ],
    ids=["gradient descent", "heavy ball", "nesterov"],
)
def test_sharpness_rises_to_the_edge_and_stays(optimizer: dict[str, float], edge: float) -> None:
    recipe = Recipe.model_validate(
        {
            "data": {"source": "callable", "function": f"{__name__}:chebyshev"},
            "net": {"net": "mlp", "hidden": [24, 24], "activation": "tanh"},
            "optimizer": {"method": "sgd", **optimizer},
            "dtype": "float64",
            "batch_size": 20,
            "steps": 3000,
            "evaluate": {"every_steps": 100, "probes": [{"probe": "sharpness", "products": 60}]},
        }
    )
    values = []
    for event in train_pack([recipe], recipe.data.load(Path()), backend="vmap"):
        if isinstance(event, Evaluated):
            values.append(event.metrics["sharpness"] * optimizer["learning_rate"] / edge)
    late = values[-len(values) // 4 :]
    assert math.isfinite(sum(late)) and 0.9 <= sum(late) / len(late) <= 1.1
