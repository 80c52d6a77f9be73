"""The user's own data: any function that gives arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import AliasChoices, Field
from torch import Tensor

from landsweep.orchestrator.callables import import_callable, refused
from landsweep.orchestrator.calling import about_to_call
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data, Source, Split
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.streams import seeded, stream

__all__ = ["OwnData"]

_WANTED = "return {'train': (inputs, targets), 'test': (inputs, targets)}, each an array or tensor [n, ...]"


class OwnData(Source):
    """What a function of the user gives: a mapping from split to (inputs, targets), arrays or tensors.

    The global random states of torch, NumPy and Python are seeded while it runs, so that all workers get the same data.
    The function's code is not part of the sweep's identity: put a version into `args` when what it gives changes.
    """

    source: Literal["callable"]
    path: str = Field(
        validation_alias=AliasChoices("path", "function"),
        description="package.module:function; it is called with `args`; also written `function`",
    )
    args: dict[str, Any] = Field({}, description="keyword arguments of the function")

    def load(self, base: Path) -> Data:
        """The splits on the CPU.

        Raises:
            SpecError: there is no such function, it raises, or it gives something else.
        """
        with settings_kept():
            function = import_callable(self.path, base)
        about_to_call(f"the data {self.path}", "data.args", self.args)
        with settings_kept(), refused("data", self.path), seeded(stream(0, "data")):
            result = function(**self.args)
        if not isinstance(result, Mapping) or not result:
            raise SpecError(f"data: {self.path} must {_WANTED}; it gave {_kind(result)}")
        splits = {str(name): self._split(str(name), pair) for name, pair in result.items()}
        self._check_alike(splits)
        return Data.of(splits)

    def _split(self, name: str, pair: object) -> Split:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise SpecError(f"data: split {name!r} of {self.path} must be a pair: {_WANTED}; it is {_kind(pair)}")
        inputs, targets = (self._tensor(name, what, x) for what, x in zip(("inputs", "targets"), pair, strict=True))
        if len(inputs) != len(targets) or not len(inputs):
            raise SpecError(
                f"data: split {name!r} of {self.path} has {len(inputs)} inputs and {len(targets)} targets; "
                "there must be as many of one as of the other, and at least one"
            )
        return Split(inputs, targets if targets.is_floating_point() else targets.long())

    def _tensor(self, name: str, what: str, value: object) -> Tensor:
        try:
            # A copy of what is no tensor: torch warns when it is given a read-only array.
            tensor = value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        except (TypeError, ValueError) as e:
            message = f"data: {what} of split {name!r} of {self.path} can't be read as numbers: {_kind(value)}: {e}"
            raise SpecError(f"{message}; {_WANTED}") from e
        if not tensor.ndim or tensor.is_complex() or tensor.layout is not torch.strided:
            shape = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
            raise SpecError(
                f"data: {what} of split {name!r} of {self.path} must be dense real numbers [n, ...], got {shape}"
            )
        return tensor

    def _check_alike(self, splits: Mapping[str, Split]) -> None:
        """All splits must have inputs of one shape and targets of one kind."""
        (first, one), *others = splits.items()
        for name, other in others:
            for what, a, b in (("inputs", one.inputs, other.inputs), ("targets", one.targets, other.targets)):
                if a.shape[1:] != b.shape[1:] or a.is_floating_point() != b.is_floating_point():
                    raise SpecError(
                        f"data: {what} of {self.path} differ: split {first!r} has {_shape(a)}, {name!r} {_shape(b)}; "
                        "all splits need the same shape, and whole or floating-point numbers alike"
                    )


def _kind(value: object) -> str:
    length = f" of length {len(value)}" if hasattr(value, "__len__") and getattr(value, "shape", 1) != () else ""
    return f"{type(value).__name__}{length}"


def _shape(t: Tensor) -> str:
    return f"{str(t.dtype).removeprefix('torch.')} {['n', *t.shape[1:]]}".replace("'n'", "n")
