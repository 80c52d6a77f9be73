"""The user's own network: a function that builds the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import AliasChoices, Field
from torch import nn

from orchestrator.errors import SpecError
from orchestrator.kind import import_callable
from sweeps.lab.models.base import Net

__all__ = ["OwnNet"]


class OwnNet(Net):
    """What `build(**args)` gives, with the weights that the function gives it.

    The function's code is not part of the sweep's identity: put a version into `args` when what it gives changes.
    """

    net: Literal["own"]
    function: str = Field(
        # `build` is what it is called in a spec; as an attribute, that is the method of all networks.
        validation_alias=AliasChoices("build", "function"),
        description="package.module:function that gives a torch.nn.Module",
    )
    args: dict[str, Any] = Field({}, description="keyword arguments of the function")

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del shape, classes
        module = import_callable(self.function, folder)(**self.args)
        if not isinstance(module, nn.Module):
            raise SpecError(f"{self.function} must give a torch.nn.Module, gave {type(module).__name__}")
        return module

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        """The function initialises its module itself, from torch's global state, which is seeded for it."""
