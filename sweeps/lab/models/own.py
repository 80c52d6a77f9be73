"""The user's own network: a function that builds the module."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import AliasChoices, Field
from torch import nn
from torch.nn.parameter import is_lazy

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.streams import seeded

__all__ = ["OwnNet"]


class OwnNet(Net):
    """What `build(**args)` gives, with the weights that the function gives it.

    The function's code is not part of the sweep's identity: put a version into `args` when what it gives changes.
    """

    own_code: ClassVar[bool] = True
    net: Literal["own"]
    function: str = Field(
        # `build` is what it is called in a spec; as an attribute, that is the method of all networks.
        validation_alias=AliasChoices("build", "function"),
        description="package.module:function that gives a torch.nn.Module",
    )
    args: dict[str, Any] = Field({}, description="keyword arguments of the function")

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del shape, classes
        with seeded(torch.initial_seed()):  # NumPy and Python too; torch's state was at its start already
            module = import_callable(self.function, folder)(**self.args)
        if not isinstance(module, nn.Module):
            raise SpecError(f"{self.function} must give a torch.nn.Module, gave {type(module).__name__}")
        tensors = itertools.chain(module.named_parameters(), module.named_buffers())
        if lazy := [name for name, t in tensors if is_lazy(t)]:
            raise SpecError(
                f"{self.function} gives a network whose {lazy[0]} has no shape yet; give its layers their sizes "
                "instead of lazy ones, or call the module once on a sample before it is returned"
            )
        return module

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        """The function initialises its module itself, from torch's global state, which is seeded for it."""
