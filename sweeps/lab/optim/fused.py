"""Adam's step as one kernel of torch: on large models the rule in plain operations reads its memory some ten times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["FUSED", "LARGE", "fused_step", "fused_steps"]

FUSED: Mapping[str, Any] = {"adam": torch._fused_adam_, "adamw": torch._fused_adamw_}
"""By method: torch's kernels of the same formulas, which round otherwise."""

LARGE = 2**20
"""Weights of a model: on larger ones the kernel is as fast alone, and needs no further array."""


@torch.no_grad()
def fused_step(
    method: str, weights: Tensor, grads: Tensor, slots: Mapping[str, Tensor], c: Mapping[str, float], t: Tensor
) -> None:
    """One step of one model, in place.

    Args:
        method: of `FUSED`.
        weights: [P].
        grads: [P].
        slots: `mean` and `square`, [P] each.
        c: the method's coefficients.
        t: number of this step, from 1, in float32, on the device of the weights.
    """
    FUSED[method](
        [weights],
        [grads],
        [slots["mean"]],
        [slots["square"]],
        [],
        [t],
        lr=c["learning_rate"],
        beta1=c["beta1"],
        beta2=c["beta2"],
        weight_decay=c["weight_decay"],
        eps=c["eps"],
        amsgrad=False,
        maximize=False,
    )


@torch.no_grad()
def fused_steps(
    method: str,
    weights: Tensor,
    grads: Tensor,
    slots: Mapping[str, Tensor],
    c: Mapping[str, float],
    t: Tensor,
    rate: Tensor,
    decay: Tensor,
) -> None:
    """One step of K models that differ in nothing but learning rate and weight decay; in place, the gradients too.

    The kernel takes one rate for all. So its step begins at zero, with a rate of 1, and is then scaled for each model.

    Args:
        method: of `FUSED`.
        weights: [K, P].
        grads: [K, P].
        slots: `mean` and `square`, [K, P] each.
        c: coefficients that the models share.
        t: number of this step, from 1, on the device of the weights.
        rate: [K, 1] in float64.
        decay: [K, 1] in float64.
    """
    if method == "adamw":
        weights.mul_((1 - rate * decay).to(weights.dtype))
    else:
        grads.addcmul_(weights, decay.to(weights.dtype))
    along = torch.zeros_like(weights)
    fused_step(method, along, grads, slots, {**c, "learning_rate": 1.0, "weight_decay": 0.0}, t.float())
    weights.addcmul_(along, rate.to(weights.dtype))
