"""Any optimizer class of torch.optim, pytorch_optimizer or one's own, by name: in the `loop` back-end only."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.optim.base import Method, Step
from landsweep.sweeps.lab.settings import settings_kept

__all__ = ["NamedClass"]


class NamedClass(Method):
    """What `name` names, called as `Class(parameters, lr=learning_rate, weight_decay=weight_decay, **args)`."""

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "args")
    unruled: ClassVar[str] = "a class says nothing of how its step depends on the gradient"

    method: Literal["class"]
    name: str = Field(description="package:Class, such as torch.optim:Adagrad or pytorch_optimizer:Lamb")
    args: dict[str, Any] = Field({}, description="further keyword arguments of the class")

    def coefficients(self) -> dict[str, float]:
        return {"learning_rate": self.learning_rate}

    def make(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """The optimizer of one model.

        Raises:
            SpecError: no such class, or it does not take these arguments.
        """
        with settings_kept():
            optimizer = import_callable(self.name)
        if not isinstance(optimizer, type) or not issubclass(optimizer, torch.optim.Optimizer):
            raise SpecError(f"optimizer.name: {self.name} is not a torch Optimizer; give its class")
        accepted = inspect.signature(optimizer).parameters
        args = {"lr": self.learning_rate, **self.args}
        if "weight_decay" in accepted or self.weight_decay:
            args.setdefault("weight_decay", self.weight_decay)
        try:
            return optimizer(parameters, **args)
        except (TypeError, ValueError) as e:
            takes = ", ".join(n for n in accepted if n not in ("params", "kwargs"))
            raise SpecError(f"optimizer.args: {self.name} can't be made with {args}: {e}; it takes {takes}") from e

    def update(self, step: Step) -> None:
        raise SpecError(f"optimizer: {self.name} has no stacked rule; use the back-end loop")
