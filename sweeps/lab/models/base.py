"""What all networks share: layers by name, and an initialisation that a seed determines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import nn

from orchestrator.spec import Model
from sweeps.lab.streams import generator

__all__ = ["Net", "activation", "initialise", "norm", "parameter_count"]

Activation: TypeAlias = Literal["relu", "gelu", "tanh", "silu"]
Norm: TypeAlias = Literal["none", "batch", "layer"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}


class Net(Model):
    """A network: what it is made of, not how it is trained."""

    def build(
        self, shape: tuple[int, ...], classes: int, seed: int | torch.Generator, folder: Path = Path()
    ) -> nn.Module:
        """The module with initial weights, on the CPU; the global random state stays as it was.

        Args:
            shape: of one input.
            classes: how many outputs.
            seed: of a recipe, whose stream `init` is drawn from; or a generator, which is drawn from as it stands.
            folder: that relative paths start from.
        """
        source = seed if isinstance(seed, torch.Generator) else generator(seed, "init")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(source.initial_seed())
            module = self._module(shape, classes, folder)
        self._initialise(module, source)
        return module

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        raise NotImplementedError

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        initialise(module, source)


def activation(name: Activation) -> nn.Module:
    """The activation of this name."""
    return _ACTIVATIONS[name]()


def norm(name: Norm, channels: int, *, flat: bool = False) -> nn.Module:
    """The normalisation of this name; `layer` is over all channels and pixels of one sample.

    Args:
        name: none, batch or layer.
        channels: how many channels or features.
        flat: whether inputs are [n, channels] rather than [n, channels, h, w].
    """
    if name == "none":
        return nn.Identity()
    if name == "batch":
        return nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)
    return nn.LayerNorm(channels) if flat else nn.GroupNorm(1, channels)


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He's normal initialisation (arXiv 1502.01852) from a generator; biases 0, normalisation 1 and 0.

    Weights [out, in, ...] get deviation sqrt(2 / fan_in). Layers are visited in the order of `named_modules`.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            deviation = math.sqrt(2 / layer.weight[0].numel())
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * deviation)
            if layer.bias is not None:
                layer.bias.zero_()


def parameter_count(module: nn.Module) -> int:
    """How many numbers a module's parameters hold; shared ones count once."""
    return sum(p.numel() for p in module.parameters())
