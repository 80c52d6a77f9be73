"""Draws of one model: each a pure function of the recipe's seed, the stream's name and a counter, of nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from landsweep.sweeps.lab.streams import counted, generator, stream

__all__ = ["counted", "noisy_labels", "order", "shuffled", "subset"]


def order(seed: int, epoch: int, n: int) -> Tensor:
    """The permutation [n] in which a model sees its samples in an epoch, the first being 0."""
    return shuffled(stream(seed, "order"), epoch, n)


def shuffled(root: int, epoch: int, n: int) -> Tensor:
    """The same permutation, for callers that ask every epoch and derive the root, `stream(seed, "order")`, once.

    Args:
        root: seed of the model's stream `order`.
        epoch: from 0.
        n: number of samples.
    """
    return torch.randperm(n, generator=torch.Generator().manual_seed(counted(root, epoch)))


def subset(seed: int, fraction: float, n: int) -> Tensor | None:
    """Positions [round(fraction n)] of a model's samples among n, at least one; None for all. Smaller shares nest."""
    if fraction == 1:
        return None
    return torch.randperm(n, generator=generator(seed, "subset"))[: max(1, round(fraction * n))]


def noisy_labels(seed: int, share: float, labels: Tensor, classes: int) -> Tensor:
    """Labels of which a share is replaced by another class, each with equal probability. Smaller shares nest.

    Args:
        seed: of the recipe.
        share: round(share n) labels are replaced.
        labels: [n, ...] whole numbers below `classes`; each entry is one label.
        classes: at least 2.
    """
    source = generator(seed, "noise")
    flat = labels.flatten().cpu()
    # Drawn for all labels, whatever the share, so that a larger share replaces the same labels by the same classes.
    chosen = torch.randperm(len(flat), generator=source)
    shift = torch.randint(1, classes, flat.shape, generator=source)
    chosen = chosen[: round(share * len(flat))]
    noisy = flat.clone()
    noisy[chosen] = (flat[chosen] + shift[chosen]) % classes
    return noisy.view(labels.shape).to(labels.device)
