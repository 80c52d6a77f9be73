"""Losses and accuracy, sample by sample."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

__all__ = ["LossName", "hits", "sample_losses"]

LossName: TypeAlias = Literal["cross_entropy", "mse"]


def sample_losses(loss: LossName, outputs: Tensor, targets: Tensor) -> Tensor:
    """Loss of each sample, [n]; of a sequence, the mean over its positions.

    Args:
        loss: cross_entropy (in nats) or mse (mean over the outputs of a sample; of classes, to their one-hot code).
        outputs: [n, classes], [n, positions, classes], or of the shape of the targets.
        targets: [n] or [n, positions] classes, or floating point of the shape of the outputs.
    """
    n = len(outputs)
    if loss == "cross_entropy":
        # Over the first of two axes the logarithm of softmax is computed 20 times as fast as over a short last one.
        logs = torch.log_softmax(outputs.flatten(0, -2).t().contiguous(), 0)
        each = -logs.gather(0, targets.reshape(1, -1))[0]
    else:
        if not targets.is_floating_point():
            targets = F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
        each = (outputs - targets.view(outputs.shape)).square()
    return each.view(n, -1).mean(1) if each.shape != (n,) else each


def hits(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers of each sample, [n]: 0 or 1, of a sequence the mean over its positions."""
    guesses = outputs.flatten(0, -2).t().contiguous().argmax(0).view(targets.shape)
    right = (guesses == targets).to(outputs.dtype)
    return right.view(len(outputs), -1).mean(1) if right.ndim > 1 else right
