"""What all networks share: how one is built, from which seed, and on which data it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias

import torch
from pydantic import Field
from torch import nn

from orchestrator.spec import Model
from sweeps.lab.data.base import Data, InputKind
from sweeps.lab.models.initialisation import Init, initialise
from sweeps.lab.streams import generator

__all__ = ["Dropout", "Net", "Widths", "number_type", "parameter_count"]

Dropout: TypeAlias = Annotated[float, Field(ge=0, lt=1, description="share of activations put to 0 in training")]
Widths: TypeAlias = tuple[Annotated[int, Field(ge=1)], ...]


class Net(Model):
    """A network: what it is made of, not how it is trained.

    The keys of its state dict depend on the sizes alone: never on activation, normalisation, dropout, initialisation
    or shortcuts. Every module works under `torch.func.functional_call` and `vmap` with stacked parameters and buffers.
    Dropout is always `nn.Dropout`, one module for each place, also where its share is 0.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("vectors", "images", "tokens")
    init: Init = Init()

    def build(
        self, shape: tuple[int, ...], classes: int, seed: int | torch.Generator, folder: Path = Path()
    ) -> nn.Module:
        """The module with initial weights, on the CPU, in training mode; the global random state stays as it was.

        Args:
            shape: of one input: [features], [channels, height, width], or [context] for tokens.
            classes: how many outputs: `Data.outputs`; for tokens also the size of the vocabulary.
            seed: of a recipe, whose stream `init` is drawn from; or a generator, which is drawn from as it stands.
            folder: that relative paths start from.
        """
        source = seed if isinstance(seed, torch.Generator) else generator(seed, "init")
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which also seeds GPUs, whose state nobody gives back, and is ten times slower.
            torch.default_generator.manual_seed(source.initial_seed())
            module = self._module(shape, classes, folder)
        self._initialise(module, source)
        return module

    def skeleton(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module without memory for its weights (on the device `meta`): for names, shapes and kinds of layers."""
        with torch.device("meta"):
            return self._module(shape, classes, Path())

    def structure(self) -> dict[str, Any]:
        """What models must have in common to be one stacked program: all but initialisation and dropout's share."""
        dumped = self.model_dump(mode="json", exclude={"init"})
        return {**dumped, "dropout": bool(dumped["dropout"])} if "dropout" in dumped else dumped

    def misfit(self, data: Data) -> str | None:
        """Why this network can't be trained on such data; None where it can. Sizes only: nothing is built."""
        if data.kind not in self.takes:
            return f"takes {' or '.join(self.takes)}, but the data gives {data.kind} {list(data.shape)}"
        return None

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        raise NotImplementedError

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        initialise(module, self.init, source)


def parameter_count(module: nn.Module) -> int:
    """How many numbers a module's parameters hold; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


def number_type(module: nn.Module) -> torch.dtype:
    """Type of a module's weights, which its inputs must have too; float32 where it has none."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
