"""Layers by name: activations, and normalisations whose state dict has the same keys whichever is chosen.

A zoo that sweeps over normalisations must not get other names for its weights (that broke published zoos). So every
normalisation here holds what batch normalisation holds: `weight`, `bias`, `running_mean`, `running_var` and
`num_batches_tracked`. What a choice does not train is a constant buffer, no parameter: parameter counts are as
published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

__all__ = [
    "Activation",
    "GhostNorm1d",
    "GhostNorm2d",
    "NoNorm",
    "Norm",
    "Shift",
    "TokenNorm",
    "activation",
    "norm",
    "token_norm",
]

Activation: TypeAlias = Literal["relu", "gelu", "tanh", "silu", "sigmoid", "leaky_relu", "elu", "selu", "identity"]
Norm: TypeAlias = Literal["none", "batch", "layer"]
TokenNorm: TypeAlias = Literal["none", "layer", "rms"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "identity": nn.Identity,
}


def activation(name: Activation) -> nn.Module:
    """The activation of this name."""
    return _ACTIVATIONS[name]()


def norm(name: Norm, channels: int, *, flat: bool = False, shift: bool = False, ghost: int | None = None) -> nn.Module:
    """The normalisation of this name; `layer` is over all channels and pixels of one sample.

    Args:
        name: none, batch or layer.
        channels: how many channels or features.
        flat: whether inputs are [n, channels] rather than [n, channels, h, w].
        shift: whether `none` adds a trained bias: for layers before it that have none of their own.
        ghost: of `batch`, samples that are normalised together in training; None: the whole batch.
    """
    if name == "none":
        return Shift(channels) if shift else NoNorm(channels)
    if name == "batch" and ghost is not None:
        return GhostNorm1d(channels, ghost) if flat else GhostNorm2d(channels, ghost)
    if name == "batch":
        return nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)
    module = nn.LayerNorm(channels) if flat else nn.GroupNorm(1, channels)
    _hold_statistics(module, channels)
    return module


def token_norm(name: TokenNorm, width: int) -> nn.Module:
    """The normalisation of this name over the last axis [..., width]: LayerNorm, RMSNorm (arXiv 1910.07467) or none."""
    return nn.LayerNorm(width) if name == "layer" else _ScaleOnly(width, normalise=name == "rms")


def _hold_statistics(module: nn.Module, channels: int) -> None:
    module.register_buffer("running_mean", torch.zeros(channels))
    module.register_buffer("running_var", torch.ones(channels))
    module.register_buffer("num_batches_tracked", torch.tensor(0))


class NoNorm(nn.Identity):
    """The identity, with the keys of a normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        _hold_statistics(self, channels)


class Shift(nn.Module):
    """A trained bias for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        _hold_statistics(self, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(-1, *([1] * (x.ndim - 2)))

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        # Parameters come before buffers, but here `bias` must come after `weight`, as everywhere.
        for name in ("bias", "running_mean", "running_var", "num_batches_tracked"):
            destination[prefix + name] = destination.pop(prefix + name)


class _ScaleOnly(nn.Module):
    """RMS normalisation with a trained scale, or the identity; holds the keys of LayerNorm."""

    weight: Tensor

    def __init__(self, width: int, *, normalise: bool) -> None:
        super().__init__()
        if normalise:
            self.weight = nn.Parameter(torch.ones(width))
        else:
            self.register_buffer("weight", torch.ones(width))
        self.register_buffer("bias", torch.zeros(width))
        self._normalise = normalise

    def forward(self, x: Tensor) -> Tensor:
        if not self._normalise:
            return x
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * self.weight


def _by_ghosts(norm: Callable[[Tensor], Tensor], x: Tensor, ghost: int) -> Tensor:
    """Outputs of a normalisation for each ghost of a batch [n, ...], one after the other; it keeps its statistics.

    The batch is cut into n / ghost parts, rounded down but at least one, of sizes that differ by one at most.
    """
    return torch.cat([norm(part) for part in x.tensor_split(max(1, len(x) // ghost))])


class GhostNorm1d(nn.BatchNorm1d):
    """Ghost batch normalisation (arXiv 1705.08741, algorithm 1) of [n, channels].

    In training each ghost, a part of the batch, is normalised by its own mean and variance, and the running statistics
    take in one ghost after the other. In evaluation it is batch normalisation.

    Args:
        channels: how many.
        ghost: samples of a ghost.
    """

    def __init__(self, channels: int, ghost: int) -> None:
        super().__init__(channels)
        self.ghost = ghost

    def forward(self, x: Tensor) -> Tensor:
        return _by_ghosts(super().forward, x, self.ghost if self.training else len(x))


class GhostNorm2d(nn.BatchNorm2d):
    """The same of [n, channels, height, width]."""

    def __init__(self, channels: int, ghost: int) -> None:
        super().__init__(channels)
        self.ghost = ghost

    def forward(self, x: Tensor) -> Tensor:
        return _by_ghosts(super().forward, x, self.ghost if self.training else len(x))
