"""The user's own data: any function that gives arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from orchestrator.errors import SpecError
from orchestrator.kind import import_callable
from orchestrator.spec import Model
from sweeps.lab.data.base import Data, Split

__all__ = ["OwnData"]


class OwnData(Model):
    """What a function of the user gives: a mapping from split to (inputs, targets), arrays or tensors.

    The function's code is not part of the sweep's identity: put a version into `args` when what it gives changes.
    """

    source: Literal["callable"]
    path: str = Field(description="package.module:function; it is called with `args`")
    args: dict[str, Any] = Field({}, description="keyword arguments of the function")

    def load(self, base: Path) -> Data:
        """The splits on the CPU.

        Raises:
            SpecError: no such function, or it gives something else.
        """
        given = import_callable(self.path, base)(**self.args)
        if not isinstance(given, Mapping) or not given:
            raise SpecError(f"data: {self.path} must give a mapping split -> (inputs, targets), gave {_kind(given)}")
        return Data.of({str(name): self._split(str(name), pair) for name, pair in given.items()})

    def _split(self, name: str, pair: object) -> Split:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise SpecError(f"data: split {name!r} of {self.path} must be a pair (inputs, targets), is {_kind(pair)}")
        inputs, targets = (_tensor(x) for x in pair)
        if len(inputs) != len(targets) or not len(inputs):
            raise SpecError(
                f"data: split {name!r} of {self.path} has {len(inputs)} inputs and {len(targets)} targets; "
                "there must be as many of one as of the other, and at least one"
            )
        return Split(inputs, targets if targets.is_floating_point() else targets.long())


def _kind(value: object) -> str:
    return f"{type(value).__name__} of length {len(value)}" if hasattr(value, "__len__") else type(value).__name__


def _tensor(value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    return torch.from_numpy(np.array(value))  # a copy: torch warns when it is given a read-only array
