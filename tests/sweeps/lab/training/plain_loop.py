"""Training as anyone would write it: one network, one loop, one of torch's own optimizers. And small recipes for it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landsweep.sweeps.lab.arithmetic import arithmetic
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Checkpoint, Ended, train_pack
from landsweep.sweeps.lab.training.assembly import module_of
from landsweep.sweeps.lab.training.draws import order

GPT = {"net": "gpt", "width": 16, "heads": 2, "depth": 2, "dropout": 0.1}
LOW, FAST = {"times": 1.02, "window": 4}, {"method": "sgd", "learning_rate": 0.6}
BF16 = {"precision": "bf16", "bf16_weights": True}
TEXT: dict[str, Any] = {"data": {"source": "markov", "states": 5, "context": 6, "train": 64, "test": 32}, "net": GPT}


def recipe(**fields: Any) -> Recipe:
    plain = {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [8]}, "steps": 8, "batch_size": 32}
    quiet = {"optimizer": {"method": "sgd", "learning_rate": 0.1}, "evaluate": {"first": 8}}
    return Recipe.model_validate({**plain, **quiet, **fields})


def text(**fields: Any) -> Recipe:
    return recipe(**{**TEXT, "batch_size": 16, **fields})


def data_of(one: Recipe) -> Data:
    return one.data.load(Path())


def final(one: Recipe, backend: str = "loop", data: Data | None = None) -> tuple[dict[str, Tensor], Ended]:
    events = list(train_pack([one], data or data_of(one), backend=backend))
    weights = [dict(e.state) for e in events if isinstance(e, Checkpoint) and e.label == "last"]
    return (weights or [{}])[-1], next(e for e in events if isinstance(e, Ended))


def apart(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Largest difference of two state dicts."""
    return max(float((a[n].double() - b[n].double()).abs().max()) for n in a)


class Plain:
    """What anyone would write: one network, one loop, torch's own optimizer."""

    def __init__(self, one: Recipe, data: Data) -> None:
        self.recipe, self.split = one, data.splits["train"].cast(torch.float32)
        self.module = module_of(one, data, Path())
        self.sgd = torch.optim.SGD(self.module.parameters(), one.optimizer.learning_rate)
        self.skipped = 0

    def loss(self, step: int) -> Tensor:
        n, b = len(self.split.targets), self.recipe.batch_size
        assert (step + 1) * b <= n, "of the first epoch"
        chosen = order(self.recipe.seed, 0, n)[step * b : (step + 1) * b]
        with arithmetic(self.recipe.precision, torch.device("cpu")):
            outputs = self.module(self.split.inputs[chosen])
        return TrainingLoss("cross_entropy")(outputs.float()[None], self.split.targets[chosen][None]).mean()

    def train(self) -> dict[str, Tensor]:
        scaler = torch.amp.GradScaler("cpu", enabled=self.recipe.precision == "fp16")
        for step in range(self.recipe.steps or 0):
            self.sgd.zero_grad()
            scaler.scale(self.loss(step)).backward()
            before = scaler.get_scale()
            scaler.step(self.sgd)
            scaler.update()
            self.skipped += scaler.get_scale() < before
        return dict(self.module.state_dict())
