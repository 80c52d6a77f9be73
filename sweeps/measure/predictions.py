"""What stored models answer on samples: outputs, losses and probabilities of classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.measure.subject import Samples

__all__ = ["class_predictions", "need_classes", "outputs_of", "sample_losses"]


@torch.no_grad()
def outputs_of(module: nn.Module, samples: Samples) -> Tensor:
    """Outputs [n, ...] of a network on all samples."""
    return torch.cat([module(inputs) for inputs, _ in samples.batches()])


@torch.no_grad()
def sample_losses(module: nn.Module, samples: Samples) -> Tensor:
    """Loss of each sample, [n], in float64."""
    return torch.cat([samples.loss(module(inputs), targets).double() for inputs, targets in samples.batches()])


def class_predictions(module: nn.Module, samples: Samples, measure: str) -> tuple[Tensor, Tensor]:
    """Logarithms of the predicted probabilities [m, classes], in float64, and the true classes [m].

    Of sequences each position is one prediction.

    Raises:
        SpecError: the targets are no classes.
    """
    need_classes(samples, measure)
    outputs = outputs_of(module, samples)
    return torch.log_softmax(outputs.flatten(0, -2).double(), -1), samples.targets.flatten()


def need_classes(samples: Samples, measure: str) -> None:
    """Refuse samples whose targets are no classes.

    Raises:
        SpecError: names the measure and the evaluator.
    """
    if samples.targets.is_floating_point():
        raise SpecError(
            f"{measure} compares probabilities of classes, but the targets of the evaluator {samples.name!r} are "
            "numbers, not classes; leave the measure out, or give it data with classes"
        )
