"""What a training emits: for its models, one by one, and for the pack as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

__all__ = ["Beat", "Best", "BranchPoint", "Checkpoint", "Ended", "Evaluated", "ModelEvent", "TrainingEvent"]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Metrics of one model in the middle of training, and once more at its end, before `Ended`.

    Attributes:
        index: of the recipe in the list that was given.
        step: how many steps have been made.
        epoch: passes through the training data that this model has made.
        metrics: `SPLIT_loss` and, where targets are classes, `SPLIT_accuracy` for each split of the policy;
            `batch_loss`: mean over the steps since the last evaluation, each taken before its step;
            `learning_rate`: of the last step. Values may be non-finite.
    """

    index: int
    step: int
    epoch: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights of one model, as the checkpoint policy asks for.

    Attributes:
        index: of the recipe.
        step: after how many steps.
        epoch: after how many passes through the training data.
        label: `step-000120`, `best` or `last`; the last step is only ever labelled `last` if `last` is kept.
        state: a whole state dict, buffers too, on the CPU; nobody changes it.
    """

    index: int
    step: int
    epoch: float
    label: str
    state: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class BranchPoint:
    """All that training on from a step needs, so that other runs can branch off there; see `training_units.cooldown`.

    Attributes:
        index: of the recipe.
        step: after how many steps.
        state: weights, buffers, what the optimizer keeps and averages, by name; on the CPU, nobody changes them.
    """

    index: int
    step: int
    state: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Best:
    """The best value of a metric: of a loss the lowest, of an accuracy the highest.

    Attributes:
        value: always finite.
        step: after how many steps it was reached first.
    """

    value: float
    step: int


@dataclass(frozen=True, slots=True)
class Ended:
    """One model has ended; comes once for each recipe, after its other events.

    Attributes:
        index: of the recipe.
        status: `ok`; `diverged`: its loss became non-finite; `stopped`: `Trainer.stop` was called.
        step: after how many steps; of a diverged one, the number of steps made before the loss was non-finite.
        epoch: after how many passes through the training data.
        metrics: those of the last evaluation, and, with a `best` checkpoint, `best_step` and `best_VALUE`.
        error: of a diverged one, what was non-finite, and when.
        seconds: wall time of the pack divided among its models.
        best: for each loss and accuracy that was ever finite, the best value of all evaluations.
    """

    index: int
    status: Literal["ok", "diverged", "stopped"]
    step: int
    epoch: float
    metrics: Mapping[str, float]
    error: str | None = None
    seconds: float = 0.0
    best: Mapping[str, Best] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing happened but time: a chance to save the state, or to stop a model.

    Attributes:
        step: how many steps have been made.
        total: of how many.
    """

    step: int
    total: int


ModelEvent: TypeAlias = Evaluated | Checkpoint | BranchPoint | Ended
"""What happens to one model; a state holds all of these so far, and a training that is restored emits them again."""

TrainingEvent: TypeAlias = ModelEvent | Beat
