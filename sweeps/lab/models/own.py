"""The user's own network: a function that builds the module."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from torch import nn

from orchestrator.errors import SpecError
from orchestrator.kind import import_callable
from sweeps.lab.models.base import ModelBase

__all__ = ["OwnModel"]


class OwnModel(ModelBase):
    """What `build(**args)` gives. Without `checkpoint` and `train` its weights stay as the function made them.

    The function's code is not part of the sweep's identity: put a version into `args` when what it gives changes.
    """

    net: Literal["own"]
    build: str = Field(description="package.module:function that gives a torch.nn.Module")
    args: dict[str, Any] = Field({}, description="keyword arguments of the function")

    def _own_weights(self) -> bool:
        return self.train is None and self.checkpoint is None

    def _module(self, shape: tuple[int, ...], classes: int, base: Path) -> nn.Module:
        del shape, classes
        module = import_callable(self.build, base)(**self.args)
        if not isinstance(module, nn.Module):
            raise SpecError(f"{self.build} must give a torch.nn.Module, gave {type(module).__name__}")
        return module

    def _initialise(self, module: nn.Module) -> None:
        """The function initialises its module itself, from torch's global state, which is seeded for it."""
