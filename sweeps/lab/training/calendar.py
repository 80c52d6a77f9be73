"""The calendar of a training: how many steps there are, and after which of them something happens."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["Calendar", "samples_seen"]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Steps of one pack.

    Attributes:
        total: steps of the whole training.
        per_epoch: steps of one pass through the training data; of a pack whose models have different amounts of data,
            the first one's, and nothing then depends on it.
        evaluations: numbers of steps made, at which models are evaluated.
        snapshots: numbers of steps made, at which weights are kept; the last step only if it is asked for by number.
        branch_steps: numbers of steps made, at which other runs can branch off.
        branched_at: the step at which a branch begins; nothing happens up to there. None: it is no branch.
    """

    total: int
    per_epoch: int
    evaluations: frozenset[int]
    snapshots: frozenset[int]
    branch_steps: frozenset[int] = frozenset()
    branched_at: int | None = None

    @classmethod
    def of(cls, recipe: Recipe, samples: int, branch_steps: Collection[int] = ()) -> Self:
        """The calendar of a recipe.

        Args:
            recipe: any of the pack.
            samples: how many it trains on.
            branch_steps: after which steps other runs can branch off; those after the end are left out.

        Raises:
            SpecError: the batch is larger than the data, or a checkpoint lies after the end.
        """
        per_epoch = _steps_per_epoch(recipe, samples)
        total = recipe.steps if recipe.steps is not None else per_epoch * (recipe.epochs or 0)
        evaluate, keep = recipe.evaluate, recipe.checkpoints
        evaluations = {0} if evaluate.start else set()
        snapshots = {*keep.at_steps, *(e * per_epoch for e in keep.at_epochs)}
        if recipe.branched_at is None and (late := [s for s in snapshots if s > total]):
            raise SpecError(
                f"checkpoints: step {min(late)} lies after the end; the training has {total} steps "
                f"({per_epoch} in an epoch)"
            )
        for chosen, epochs, steps in (
            (evaluations, evaluate.every_epochs, evaluate.every_steps),
            (snapshots, keep.every_epochs, keep.every_steps),
        ):
            for every in ((epochs or 0) * per_epoch, steps or 0):
                chosen |= set(range(every, total + 1, every)) if every else set()
        if keep.log_spaced and total:
            exponents = [i / max(keep.log_spaced - 1, 1) for i in range(keep.log_spaced)]
            snapshots |= {round(math.exp(x * math.log(total))) for x in exponents}
        start = -1 if recipe.branched_at is None else recipe.branched_at  # a run of its own has a step 0, before all
        return cls(
            total,
            per_epoch,
            frozenset(s for s in evaluations | {total} if start < s <= total),
            frozenset(s for s in snapshots if start < s <= total),
            frozenset(s for s in branch_steps if s <= total),
            recipe.branched_at,
        )

    def next_stop(self, step: int) -> int:
        """The first step after `step` at which something happens."""
        stops = self.evaluations | self.snapshots | self.branch_steps
        if self.branched_at is not None:
            stops |= {self.branched_at}
        return min((s for s in stops if s > step), default=self.total)


def _steps_per_epoch(recipe: Recipe, samples: int) -> int:
    """How many steps one pass through `samples` samples takes."""
    if recipe.batch_size > samples:
        raise SpecError(
            f"batch_size: {recipe.batch_size} is larger than the training data, which has {samples} samples "
            f"(split {recipe.split!r}, train_fraction {recipe.train_fraction}); give at most {samples}"
        )
    return samples // recipe.batch_size if recipe.drop_last else math.ceil(samples / recipe.batch_size)


def samples_seen(recipe: Recipe, samples: int, steps: int) -> int:
    """How many samples `steps` steps see, repeats included; the last batch of an epoch may be smaller.

    Args:
        recipe: of the training.
        samples: how many it trains on.
        steps: how many are made.
    """
    epochs, within = divmod(steps, _steps_per_epoch(recipe, samples))
    whole = samples // recipe.batch_size * recipe.batch_size if recipe.drop_last else samples
    return epochs * whole + within * recipe.batch_size
