"""Networks with traps: modules that compute something else than a reader of their types would think.

A network is a list of parts by name, all of one width, so that any order of them is a network:

    {"net": "own", "build": "tests.support.traps:build", "args": {"parts": ["linear", "hooked", "tied"]}}
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

__all__ = ["LOOP_ONLY", "PARTS", "TRAPS", "build"]


class Scaled(nn.Linear):
    """A subclass that looks like a linear layer."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Shortcut(nn.Sequential):
    """A subclass that looks like a chain."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + super().forward(x)
        return y


class Chain(nn.Sequential):
    """A subclass that changes nothing."""


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.tanh(self.first(x)))
        return y


class Counting(nn.Module):
    """Subtracts a running mean, whose buffer it writes to, or replaces."""

    def __init__(self, width: int, *, replaces: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.replaces = replaces

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.replaces:
            self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
        elif self.training:
            self.mean.mul_(0.5).add_(x.detach().mean(0), alpha=0.5)
        return x - self.mean


class InPlace(nn.Module):
    """Writes into what it has computed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        y += x
        return y.tanh_()


class Doubled(nn.Module):
    """A parametrization: the weight is twice the tensor that trains."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _hooked(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    layer.register_forward_hook(lambda module, given, out: 3 * out)
    return layer


def _prehooked(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    layer.register_forward_pre_hook(lambda module, given: (0.5 * given[0],))
    return layer


def _backhooked(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    layer.register_full_backward_hook(lambda module, below, above: tuple(None if g is None else 2 * g for g in below))
    return layer


def _pulled(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    layer.weight.register_hook(lambda grad: 3 * grad)
    return layer


def _parametrized(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


def _old_weight_norm(width: int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        return nn.utils.weight_norm(nn.Linear(width, width))


def _frozen(width: int, *names: str) -> nn.Module:
    layer = nn.Linear(width, width)
    for name in names:
        layer.get_parameter(name).requires_grad_(False)
    return layer


def _idle(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    layer.extra = nn.Parameter(torch.ones(width))
    return layer


def _instance(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    plain = layer.forward
    layer.forward = lambda x: 2 * plain(x)  # type: ignore[method-assign]
    return layer


def _twice(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    return nn.Sequential(layer, nn.Tanh(), layer)


Part = Callable[[int], nn.Module]
PARTS: dict[str, Part] = {
    "linear": lambda n: nn.Linear(n, n),
    "tanh": lambda n: nn.Tanh(),
    "gelu": lambda n: nn.GELU(),
    "layer_norm": nn.LayerNorm,
    "batch_norm": nn.BatchNorm1d,
}
TRAPS: dict[str, Part] = {
    "scaled": lambda n: Scaled(n, n),
    "shortcut": lambda n: Shortcut(nn.Linear(n, n), nn.Tanh()),
    "chain": lambda n: Chain(nn.Linear(n, n), nn.Tanh()),
    "hooked": _hooked,
    "prehooked": _prehooked,
    "backhooked": _backhooked,
    "pulled": _pulled,
    "parametrized": _parametrized,
    "weight_norm": lambda n: parametrizations.weight_norm(nn.Linear(n, n)),
    "old_weight_norm": _old_weight_norm,
    "spectral_norm": lambda n: parametrizations.spectral_norm(nn.Linear(n, n)),
    "tied": Tied,
    "frozen_weight": lambda n: _frozen(n, "weight"),
    "frozen": lambda n: _frozen(n, "weight", "bias"),
    "idle": _idle,
    "counting": lambda n: Counting(n, replaces=False),
    "replacing": lambda n: Counting(n, replaces=True),
    "in_place": InPlace,
    "in_place_relu": lambda n: nn.Sequential(nn.Linear(n, n), nn.ReLU(inplace=True)),
    "twice": _twice,
    "instance": _instance,
}
LOOP_ONLY = frozenset({"backhooked", "pulled", "spectral_norm", "replacing"})
"""Traps that torch's vmap does not see or can't compute."""


def build(parts: Sequence[str], features: int = 4, width: int = 5, outputs: int = 1) -> nn.Module:
    """Flatten, a linear layer, the parts in order, a linear layer."""
    middle = [(PARTS | TRAPS)[name](width) for name in parts]
    return nn.Sequential(nn.Flatten(), nn.Linear(features, width), *middle, nn.Linear(width, outputs))
