"""A forward pass of a chain of plain layers, without what `nn.Module` does around each call.

The same operations on the same tensors, so the same bits. For a perceptron of two hidden layers of 64 units and 256
samples it takes three quarters of the module's own time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.models.layers import NoNorm
from landsweep.sweeps.lab.models.plain import misread

__all__ = ["plain_pass"]

Forward: TypeAlias = Callable[[Tensor], Tensor]

_NOTHING = (nn.Identity, NoNorm, nn.Dropout)  # in evaluation mode
_FRESH = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)  # whose outputs are nobody else's memory
_OTHERS = (nn.GELU, nn.Tanh, nn.SiLU, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.SELU, nn.MaxPool2d, nn.AvgPool2d)
_KNOWN = (nn.Flatten, nn.ReLU, *_NOTHING, *_FRESH, *_OTHERS)


def plain_pass(module: nn.Module) -> Forward | None:
    """What computes the module's outputs in inference mode; None where it is no chain of plain layers.

    Args:
        module: in evaluation mode, on a processor; its tensors may be written to in place afterwards, not replaced.
    """
    if misread(module, _KNOWN) or any(m.training for m in module.modules()):
        return None
    steps: list[Forward] = []
    flat = fresh = False
    for layer in _layers(module):
        if isinstance(layer, nn.Flatten):
            flat = (layer.start_dim, layer.end_dim) == (1, -1)
        steps.append(_step(layer, flat=flat, fresh=fresh))
        fresh = isinstance(layer, _FRESH)

    def forward(batch: Tensor) -> Tensor:
        for step in steps:
            batch = step(batch)
        return batch

    return forward


def _step(layer: nn.Module, *, flat: bool, fresh: bool) -> Forward:
    """What a layer computes.

    Args:
        layer: one of `_KNOWN`.
        flat: whether its inputs are [n, width].
        fresh: whether it may write over its inputs.
    """
    if isinstance(layer, nn.Linear) and flat and layer.bias is not None:
        weight, bias = layer.weight.detach().t(), layer.bias.detach()
        return lambda x: torch.addmm(bias, x, weight)
    if isinstance(layer, nn.ReLU) and fresh:
        return torch.relu_
    forward: Forward = layer.forward
    return forward


def _layers(module: nn.Module) -> list[nn.Module]:
    """The layers that compute something, in order."""
    if type(module) is nn.Sequential:
        return [layer for child in module.children() for layer in _layers(child)]
    return [] if isinstance(module, _NOTHING) else [module]
