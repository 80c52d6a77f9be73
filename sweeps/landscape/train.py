"""Training: the small reference loop that every faster one is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.data.base import Split
from landsweep.sweeps.lab.losses import batch_loss
from landsweep.sweeps.lab.streams import generator, seeded, stream

__all__ = ["Epoch", "TrainSpec", "rate", "train"]


class TrainSpec(Section):
    """A recipe. The same recipe and seed give the same weights on the same kind of processor."""

    epochs: int = Field(ge=0, description="passes through the training data; 0 leaves the initial weights")
    batch_size: int = Field(64, ge=1, description="samples per step; the last batch of an epoch may be smaller")
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(0.1, gt=0, description="the highest of the schedule")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(False, description="of sgd")
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "cosine"] = Field("cosine", description="cosine falls to 0 at the end")
    warmup: float = Field(0.0, ge=0, description="epochs over which the rate rises linearly from 0")
    seed: int = Field(0, ge=0, description="of the streams `init`, `order` and `dropout`")
    split: str = Field("train", description="which split of the data to train on")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of the history.

    Attributes:
        epoch: from 1.
        loss: mean over the epoch's samples, each taken before its step.
        accuracy: share of right samples, each taken before its step; NaN where targets are no classes.
    """

    epoch: int
    loss: float
    accuracy: float


def rate(spec: TrainSpec, step: int, steps_per_epoch: int) -> float:
    """Learning rate of a step, the first being 0."""
    warm = spec.warmup * steps_per_epoch
    if step < warm:
        return spec.learning_rate * (step + 1) / (warm + 1)
    if spec.schedule == "constant":
        return spec.learning_rate
    total = spec.epochs * steps_per_epoch
    return spec.learning_rate * (1 + math.cos(math.pi * (step - warm) / max(total - warm, 1))) / 2


def train(module: nn.Module, data: Split, spec: TrainSpec) -> Iterator[Epoch]:
    """Train a module in place; gives a line of history after each epoch.

    Samples are drawn without replacement in an order that the stream `order` of the seed determines; what the module
    draws itself, such as dropout, comes from the stream `dropout` of each epoch. The loss is cross entropy for classes,
    of a sequence its mean over all positions, and mean squared error for other targets.
    """
    if not spec.epochs:
        return
    order = generator(spec.seed, "order")
    optimizer = _optimizer(module, spec)
    steps = math.ceil(len(data) / spec.batch_size)
    classes = not data.targets.is_floating_point()
    answers = data.targets.numel() if classes else len(data)
    module.train()
    for epoch in range(spec.epochs):
        shuffled = torch.randperm(len(data), generator=order).to(data.inputs.device)
        loss_sum, right = 0.0, 0
        with seeded(stream(spec.seed, f"dropout of epoch {epoch}"), data.inputs.device):
            for i, chosen in enumerate(torch.split(shuffled, spec.batch_size)):
                for group in optimizer.param_groups:
                    group["lr"] = rate(spec, epoch * steps + i, steps)
                targets = data.targets[chosen]
                outputs: Tensor = module(data.inputs[chosen])
                loss = batch_loss(outputs, targets)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                loss_sum += loss.item() * len(chosen)
                right += int((outputs.argmax(-1) == targets).sum()) if classes else 0
        yield Epoch(epoch + 1, loss_sum / len(data), right / answers if classes else math.nan)
    module.eval()


def _optimizer(module: nn.Module, spec: TrainSpec) -> torch.optim.Optimizer:
    if spec.optimizer == "adamw":
        return torch.optim.AdamW(module.parameters(), spec.learning_rate, weight_decay=spec.weight_decay)
    return torch.optim.SGD(
        module.parameters(),
        spec.learning_rate,
        momentum=spec.momentum,
        nesterov=spec.nesterov,
        weight_decay=spec.weight_decay,
    )
