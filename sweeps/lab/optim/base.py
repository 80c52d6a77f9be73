"""What all stacked optimizers share: one spec per method, coefficients per model, weights of all models in one array.

The weights of K models lie as rows of one array [K, P]; so do gradients and the method's own slots. Coefficients are
columns [K, 1], so each model has its own. All arithmetic is element by element: a row depends on no other row.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

from pydantic import Field
from torch import Tensor

from orchestrator.spec import Model

__all__ = ["Coefficients", "Method", "Slots"]

Coefficients: TypeAlias = Mapping[str, Tensor]
Slots: TypeAlias = Mapping[str, Tensor]


class Method(Model):
    """The settings of one optimizer and its rule. A subclass per file, told apart by the field `method`.

    Attributes:
        rides: fields that may differ between the models of a pack; all others are part of the pack key.
        slots: names of the arrays [K, P] that the rule keeps from step to step; they start at 0.
        columns: names of arrays [K, 1] that it keeps, and what they start at.
    """

    rides: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    slots: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[Mapping[str, float]] = {}

    method: str
    learning_rate: float = Field(gt=0, description="the highest of the schedule")
    weight_decay: float = Field(0.0, ge=0)

    def coefficients(self) -> dict[str, float]:
        """What this model contributes to the columns [K, 1]."""
        return {name: float(getattr(self, name)) for name in self.rides}

    def key(self) -> dict[str, object]:
        """What models of one pack must share."""
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in self.rides}

    @abstractmethod
    def update(self, weights: Tensor, grads: Tensor, slots: Slots, c: Coefficients, t: Tensor) -> None:
        """One step, in place.

        Args:
            weights: [K, P].
            grads: [K, P]; may be overwritten.
            slots: those of the class, [K, P], and its columns, [K, 1].
            c: name to [K, 1] in the type of the weights; `learning_rate` is that of this step.
            t: [K, 1] of float64: number of this step, from 1, for each model.
        """
