"""What happens to the running statistics of batch normalisation when weights move.

- `fixed`: they stay at the centre's. The surface is that of the trained function with those constants.
- `interpolate`: they move along the line between two models, as the weights do.
- `reestimate`: at each point they are computed anew from training batches. The network's own scale invariance then
  shows, and merged networks are judged fairly (arXiv 2211.08403).

These are different surfaces, each legitimate: every row says which one it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["BatchNormMode", "reestimate", "running_layers"]

BatchNormMode: TypeAlias = Literal["fixed", "interpolate", "reestimate"]


def running_layers(module: nn.Module) -> list[_BatchNorm]:
    """The layers that keep running statistics."""
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def reestimate(module: nn.Module, batches: Sequence[Tensor]) -> None:
    """Compute the running statistics anew: the plain mean over the batches, in order, of what each batch gives.

    Only the layers that keep statistics are put into training mode, so dropout stays off.
    """
    layers = running_layers(module)
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # torch then averages cumulatively
            layer.train()
        if layers:
            with torch.no_grad():
                for batch in batches:
                    module(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
