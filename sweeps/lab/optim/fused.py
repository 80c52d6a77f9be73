"""Adam's step as one kernel of torch: on large models the rule in plain operations reads its memory some ten times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["FUSED", "fused_step"]

FUSED: Mapping[str, Any] = {"adam": torch._fused_adam_, "adamw": torch._fused_adamw_}
"""By method: torch's kernels of the same formulas, which round otherwise."""


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
