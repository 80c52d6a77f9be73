"""The user's own network: a function that builds the module."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import AliasChoices, Field
from torch import nn
from torch.nn.parameter import is_lazy

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.calling import about_to_call
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.streams import seeded

__all__ = ["OwnNet"]


class OwnNet(Net):
    """What `build(**args)` gives, with the weights that the function gives it.

    An argument `folder` that has no default gets the folder of the spec, from which relative paths start.

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
        with settings_kept():  # apart: what the module sets is set once, and no model shall be built otherwise
            function = import_callable(self.function, folder)
        with settings_kept(), seeded(torch.initial_seed()):  # NumPy and Python too; torch's state was at its start
            about_to_call(f"the network {self.function}", "net.args", self.args)
            module = function(**self.args, **({"folder": folder} if self._wants_folder(function) else {}))
        if not isinstance(module, nn.Module):
            raise SpecError(f"{self.function} must give a torch.nn.Module, gave {type(module).__name__}")
        tensors = itertools.chain(module.named_parameters(), module.named_buffers())
        if lazy := [name for name, t in tensors if is_lazy(t)]:
            raise SpecError(
                f"{self.function} gives a network whose {lazy[0]} has no shape yet; give its layers their sizes "
                "instead of lazy ones, or call the module once on a sample before it is returned"
            )
        return module

    def _wants_folder(self, function: Callable[..., Any]) -> bool:
        """Whether it has an argument `folder` that must be given, and is not."""
        try:
            parameter = inspect.signature(function).parameters.get("folder")
        except ValueError:  # some built-in ones tell nothing
            return False
        return parameter is not None and parameter.default is parameter.empty and "folder" not in self.args

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        """The function initialises its module itself, from torch's global state, which is seeded for it."""
