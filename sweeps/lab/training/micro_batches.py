"""Gradients of a batch, one micro-batch after the other: only the activations of one are in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError

__all__ = ["cannot_split", "has_batch_norm", "in_parts"]

_Gradients: TypeAlias = Callable[[Tensor, Tensor, Mapping[str, Tensor], Tensor], Tensor]

_NORMS = (nn.modules.batchnorm._BatchNorm,)


def cannot_split(module: nn.Module) -> str | None:
    """Why a batch of this network can't be computed in parts; None where it can, as far as its layers tell."""
    odd = has_batch_norm(module)
    return None if odd is None else f"{odd} normalises over the whole batch, so parts of it give other gradients"


def has_batch_norm(module: nn.Module) -> str | None:
    """Name of the first layer that normalises over batches; None if there is none."""
    return next((name for name, m in module.named_modules() if isinstance(m, _NORMS)), None)


def in_parts(
    gradients: _Gradients, size: int | None, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor
) -> Tensor:
    """Losses [K] of a batch and its gradients [K, P], as `Backend.gradients` gives them, but for rounding.

    Args:
        gradients: `Backend.gradients` of the back-end that computes the parts.
        size: samples of a part; the last one may have fewer. None: the batch is one part.
        inputs: [K, B, ...].
        targets: [K, B, ...].
        masks: of dropout, [K, B, ...] by name of the buffer.
        out: [K, P], overwritten.
    """
    batch = inputs.shape[1]
    if size is None or size >= batch:
        return gradients(inputs, targets, masks, out)
    if odd := [name for name, mask in masks.items() if mask.shape[1] != batch]:
        raise SpecError(
            f"micro_batch: the dropout layer {odd[0].removesuffix('.dropout_mask')} does not have samples along its "
            "first axis, so a batch can't be computed in parts; leave micro_batch out"
        )
    part = torch.empty_like(out)
    losses: Tensor | None = None
    for start in range(0, batch, size):
        here = slice(start, min(start + size, batch))
        share = (here.stop - here.start) / batch
        chosen = {name: mask[:, here] for name, mask in masks.items()}
        mean = gradients(inputs[:, here], targets[:, here], chosen, part) * share
        if losses is None:
            losses = mean
            torch.mul(part, share, out=out)
        else:
            losses = losses + mean
            out.add_(part, alpha=share)
    assert losses is not None, "a batch has at least one sample"
    return losses
