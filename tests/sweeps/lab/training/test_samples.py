"""Which samples a step takes, against the order of each epoch drawn anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import samples as module
from landsweep.sweeps.lab.training.draws import order, subset
from landsweep.sweeps.lab.training.samples import Samples


def recipes(count: int, drop_last: bool, fraction: float) -> list[Recipe]:
    fields = {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [4]},
        "optimizer": {"method": "sgd", "learning_rate": 0.1},
        "epochs": 3,
        "batch_size": 400,
        "drop_last": drop_last,
        "train_fraction": fraction,
    }
    return [Recipe.model_validate({**fields, "seed": seed}) for seed in range(count)]


def wanted(recipe: Recipe, data: Data, step: int) -> torch.Tensor:
    """Inputs of a step, the slow way."""
    split = data.splits["train"]
    own = subset(recipe.seed, recipe.train_fraction, len(split))
    own = torch.arange(len(split)) if own is None else own
    per_epoch = len(own) // 400 + (0 if recipe.drop_last or len(own) % 400 == 0 else 1)
    epoch, within = divmod(step, per_epoch)
    return split.inputs[own[order(recipe.seed, epoch, len(own))][within * 400 : (within + 1) * 400]]


@pytest.mark.parametrize("kept", [8_000_000, 0])
@pytest.mark.parametrize("fraction", [1.0, 0.7])
@pytest.mark.parametrize("drop_last", [True, False])
def test_each_step_takes_its_share_of_the_epochs_order(
    drop_last: bool, fraction: float, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT", kept)
    monkeypatch.setattr(module, "_BLOCK", 2)  # so that an epoch has several
    pack = recipes(3, drop_last, fraction)
    data = pack[0].data.load(Path())
    samples = Samples(pack, data)
    for step in (*range(7), 2, 0):  # back too, as a state that is restored goes
        inputs, _ = samples.batch(step)
        assert all(torch.equal(inputs[k], wanted(r, data, step)) for k, r in enumerate(pack))
    samples.batch(1)
    samples.take(torch.tensor([2, 0]))
    for step in range(1, 9):
        inputs, _ = samples.batch(step)
        assert all(torch.equal(inputs[k], wanted(pack[r], data, step)) for k, r in enumerate((2, 0)))
