"""What a measure is given: stored models, and samples with a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.losses import LossFunction

__all__ = ["Samples", "StoredModel", "Subject"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples that a measure looks at, and the loss that judges them: one evaluator of the spec.

    Attributes:
        name: of the evaluator.
        inputs: [n, ...], on the worker's device, of the type of the models' weights.
        targets: [n], [n, positions] classes, or floating point of the shape of the outputs.
        loss: outputs [m, ...] and targets [m, ...] to the loss of each sample [m].
        batch_size: samples per forward pass; fixed, since floating-point sums depend on it.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    loss: LossFunction
    batch_size: int

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, `batch_size` at a time, in order."""
        n = self.batch_size
        yield from zip(torch.split(self.inputs, n), torch.split(self.targets, n), strict=True)

    def mean_loss(self, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """Mean loss over all samples, a scalar; gradients flow through it where they are enabled."""
        sums = [self.loss(forward(inputs), targets).sum() for inputs, targets in self.batches()]
        total: Tensor = torch.stack(sums).sum() / len(self)
        return total


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One stored model at one checkpoint.

    Attributes:
        key: of the model in its sweep.
        label: of the checkpoint, such as `last` or `step-000100`.
        step: optimizer steps of the checkpoint; None where that is not known.
        row: the model's params and metrics in its own sweep.
        state: its state dict, on the CPU, of the type that it was trained in.
        build: gives a new module with these weights, in evaluation mode, on the worker's device.
    """

    key: str
    label: str
    step: int | None
    row: Mapping[str, Any]
    state: Mapping[str, Tensor]
    build: Callable[[], nn.Module]


@dataclass(frozen=True, slots=True)
class Subject:
    """What one unit measures.

    Attributes:
        models: one model, a pair, or a group in a stated order (along training: the order of the checkpoints).
        samples: by name of the evaluator.
        batches: training inputs from which the statistics of batch normalisation are estimated anew.
        seed: for random draws, with `lab.streams`: the same for the same unit, whatever worker computes it.
    """

    models: tuple[StoredModel, ...]
    samples: Mapping[str, Samples]
    batches: tuple[Tensor, ...]
    seed: int
