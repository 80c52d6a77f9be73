"""What all stacked optimizers share: one spec per method, coefficients per model, weights of all models in one array.

The weights of K models lie as rows of one array [K, P]; so do gradients and the method's own slots. Coefficients are
columns [K, 1], so each model has its own. No arithmetic goes across rows: a model depends on no other model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.layout import Layout

__all__ = ["Coefficients", "Family", "Linearised", "Method", "Slots", "Step", "decay", "independent_decay", "shrinkage"]

Coefficients: TypeAlias = Mapping[str, Tensor]
Slots: TypeAlias = Mapping[str, Tensor]
Family: TypeAlias = Literal["sgd", "adam", "spectral"]


@dataclass(frozen=True, slots=True)
class Linearised:
    """A model near its weights, on a batch of b samples with c outputs each, those of all positions of a sequence.

    Attributes:
        jacobian: [b, c, P], of the outputs by the weights.
        slopes: [b, c], of each sample's loss by its outputs.
        bends: [b, c, c], second derivatives of each sample's loss by its outputs.
    """

    jacobian: Tensor
    slopes: Tensor
    bends: Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """What a rule sees of one step of K models, and changes in place.

    Attributes:
        weights: [K, P].
        grads: [K, P], clipped; may be overwritten.
        slots: what the rule keeps, [K, ...] each.
        c: name to [K, 1] in the type of the weights; `learning_rate` is that of this step. Those that `scaled` names
            are [K, P] where the method is not `elementwise` and a parametrization scales them.
        t: [K, 1] of float64: number of this step, from 1, for each model.
        layout: where in a row each parameter lies.
        losses: [K, 1], of the batch, at these weights.
        again: gives the gradients [K, P] of the same batch at what the weights are by then, clipped too; dropout drops
            the same places, and buffers stay as the first pass left them.
        made: how many steps came before, those that were left out too; known without asking the device.
        linearised: gives the model of a row on the same batch, at what the weights are by then, for a method that
            `linearises`.
        ready: what `Method.ready` gave for this step, [K, 1] each.
        shared: coefficients that all models share, as numbers: on the CPU alone, where operations with numbers round as
            those with columns.
    """

    weights: Tensor
    grads: Tensor
    slots: Slots
    c: Coefficients
    t: Tensor
    layout: Layout
    losses: Tensor
    again: Callable[[], Tensor]
    made: int
    linearised: Callable[[int], Linearised]
    ready: Coefficients
    shared: Mapping[str, float]


class Method(Section):
    """The settings of one optimizer and its rule. A subclass per file, told apart by the field `method`.

    Attributes:
        per_model: fields that may differ between the models of a pack; all others are part of the pack key.
        slots: names of the arrays [K, P] that the rule keeps from step to step; they start at 0.
        columns: names of arrays [K, 1] of float64 that it keeps, and what they start at.
        family: how the step of a tensor depends on its gradient: in proportion (`sgd`); not on its scale, with steps of
            one size for every element (`adam`: divided by its own size, or a sign); or not on any of its singular
            values, which all become one (`spectral`). A parametrization needs it, since it gives each tensor its own
            coefficients; None: it knows no rule for this method, for the reason that `unruled` gives.
        unruled: why there are no rules, where there is no family.
        elementwise: whether elements of one tensor do not depend on each other, so that stretches of the columns can
            be stepped one by one; else coefficients that differ between tensors come as [K, P].
        scaled: coefficients that a parametrization scales.
        decoupled: whether the weights shrink by learning rate times weight decay, beside the step; else the decay is
            part of the gradient.
        needs_every_step: whether the rule does something at certain steps (`Step.made`), so that no model may leave out
            a step.
        steps_alike: whether every step is the same operations on tensors; not so where the rule goes by `Step.made`, or
            asks the device.
        preconditioned: whether steps divide the gradient, element by element, by a vector that `divisor` gives.
        averages: whether models are evaluated and kept at an average that the rule itself makes, `evaluated`.
        linearises: whether it asks for `Step.linearised`.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    slots: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[Mapping[str, float]] = {}
    family: ClassVar[Family | None] = None
    unruled: ClassVar[str] = "its step is neither in proportion to the gradient nor independent of its scale"
    elementwise: ClassVar[bool] = True
    scaled: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "eps")
    decoupled: ClassVar[bool] = False
    needs_every_step: ClassVar[bool] = False
    steps_alike: ClassVar[bool] = True
    preconditioned: ClassVar[bool] = False
    averages: ClassVar[bool] = False
    linearises: ClassVar[bool] = False

    method: str
    learning_rate: float = Field(gt=0, description="the highest of the schedule")
    weight_decay: float = Field(0.0, ge=0)

    @property
    def gradients(self) -> int:
        """Of how many gradients a step is made."""
        return 1

    @property
    def needs_positive_loss(self) -> bool:
        """Whether the rule divides by the loss of the batch."""
        return False

    def coefficients(self) -> dict[str, float]:
        """What this model contributes to the columns [K, 1]."""
        return {name: float(getattr(self, name)) for name in self.per_model}

    def families(self, layout: Layout) -> Mapping[str, Family | None]:
        """The family of the step of each parameter, by name."""
        return dict.fromkeys(layout.shapes, self.family)

    def settings(self, family: Family | None) -> tuple[float, float]:
        """Learning rate and weight decay of the parameters whose steps are of a family."""
        del family
        return self.learning_rate, self.weight_decay

    def length(self, rows: float, columns: float) -> float:
        """Of a `spectral` step: the singular values that a matrix of this size is stepped by, in learning rates."""
        del rows, columns
        return 1.0

    def key(self) -> dict[str, object]:
        """What models of one pack must share."""
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in self.per_model}

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        """What the rule keeps of one model before its first step, where that is not the same for all of them.

        Args:
            weights: [P], the initial ones.
            layout: where in them each parameter lies.
            seed: of the model; for random streams.

        Returns:
            Arrays [...] by name, beside those of `slots` and `columns`.
        """
        del weights, layout, seed
        return {}

    def ready(self, c: Coefficients, t: Tensor) -> dict[str, Tensor]:
        """What steps need that follows from coefficients and numbers of steps alone: for n steps at once.

        Of an `elementwise` method. On small networks such columns would take as long as the steps.

        Args:
            c: as in `Step`, [K, 1] each; those that change from step to step, as the learning rate, [n, K, 1].
            t: [n, K, 1] of float64: numbers of the steps, as in `Step`.

        Returns:
            [n, K, 1] or, of what is the same in each step, [K, 1], by name.
        """
        del c, t
        return {}

    @abstractmethod
    def update(self, step: Step) -> None:
        """One step of all models, in place."""

    def divisor(self, slots: Slots, c: Coefficients, t: Tensor) -> Tensor:
        """What the last step divided its average of gradients by, [K, P]: the diagonal of the preconditioner.

        Args:
            slots: as in `Step`.
            c: as in `Step`; without the learning rate.
            t: [K, 1] of float64: number of the last step. Where it is 0 the divisor means nothing.
        """
        raise NotImplementedError

    def evaluated(self, weights: Tensor, slots: Slots, c: Coefficients) -> Tensor:
        """Of a method that `averages`: the weights [K, P] that models are evaluated and kept at.

        Args:
            weights: [K, P], which gradients are taken at.
            slots: as in `Step`.
            c: as in `Step`; without the learning rate.
        """
        raise NotImplementedError

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        """`slots` and `columns` of K models before their first step; the weights are [K, P]."""
        arrays = {name: torch.zeros_like(weights) for name in self.slots}
        for name, value in self.columns.items():
            arrays[name] = torch.full((len(weights), 1), value, dtype=torch.float64, device=weights.device)
        return arrays


def decay(step: Step) -> None:
    """Decoupled weight decay (arXiv 1711.05101) as torch's AdamW: w <- (1 - lr wd) w, so it follows the schedule."""
    shrink = step.ready.get("shrink")
    step.weights.mul_(shrinkage(step.c) if shrink is None else shrink)


def shrinkage(c: Coefficients) -> Tensor:
    """What `decay` multiplies weights by, 1 - lr wd; of a method whose `ready` has it as `shrink`."""
    return 1 - c["learning_rate"] * c["weight_decay"]


def independent_decay(step: Step) -> None:
    """Weight decay as in the text of arXiv 1711.05101: w <- (1 - s wd) w, s being the multiplier of the schedule.

    The rule's coefficients name the highest learning rate `peak`.
    """
    step.weights.mul_(1 - step.c["learning_rate"] / step.c["peak"] * step.c["weight_decay"])
