"""What all models share: where weights come from, layers by name, and an initialisation that a seed determines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, Self, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import nn

from orchestrator.spec import Model
from orchestrator.unit import Unit, stream_seed
from sweeps.lab.checkpoint import Checkpoint
from sweeps.lab.train import TrainSpec

__all__ = ["ModelBase", "activation", "initialise", "norm", "parameter_count", "stream"]

Activation: TypeAlias = Literal["relu", "gelu", "tanh", "silu"]
Norm: TypeAlias = Literal["none", "batch", "layer"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}


class ModelBase(Model):
    """A network and the source of its weights: a training recipe or a checkpoint."""

    train: TrainSpec | None = Field(None, description="recipe that trains it inside the sweep; epochs: 0 for untrained")
    checkpoint: Checkpoint | None = Field(None, description="file with a state dict, instead of training")

    @model_validator(mode="after")
    def _one_source_of_weights(self) -> Self:
        if (self.train is None) == (self.checkpoint is None) and not self._own_weights():
            given = "both" if self.train is not None else "neither"
            raise ValueError(f"a model needs either `train` or `checkpoint`, got {given}")
        return self

    def _own_weights(self) -> bool:
        return False

    @property
    def seed(self) -> int:
        """Of the streams that the model draws from."""
        return 0 if self.train is None else self.train.seed

    def make(self, shape: tuple[int, ...], classes: int, base: Path) -> nn.Module:
        """The module with initial weights; the global random state stays as it was.

        Args:
            shape: of one input.
            classes: how many outputs.
            base: folder that relative paths start from.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(self.seed, "init"))
            module = self._module(shape, classes, base)
        self._initialise(module)
        return module

    def _module(self, shape: tuple[int, ...], classes: int, base: Path) -> nn.Module:
        raise NotImplementedError

    def _initialise(self, module: nn.Module) -> None:
        initialise(module, torch.Generator().manual_seed(stream(self.seed, "init")))


def stream(seed: int, name: str) -> int:
    """Seed of a named random stream of a recipe."""
    return stream_seed(Unit("", {"seed": seed}), name)


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
