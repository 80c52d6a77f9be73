"""The calendar of a training: how many steps there are, and after which of them something happens."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from orchestrator.errors import SpecError
from sweeps.lab.recipe import Recipe

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
        points: numbers of steps made, at which other runs can branch off.
        after: the step at which a branch begins, up to which nothing is told; None: it is no branch.
    """

    total: int
    per_epoch: int
    evaluations: frozenset[int]
    snapshots: frozenset[int]
    points: frozenset[int] = frozenset()
    after: int | None = None

    @classmethod
    def of(cls, recipe: Recipe, samples: int, points: Collection[int] = ()) -> Self:
        """The calendar of a recipe.

        Args:
            recipe: any of the pack.
            samples: how many it trains on.
            points: after which steps other runs can branch off; those behind the end are left out.

        Raises:
            SpecError: the batch is larger than the data, or a checkpoint lies behind the end.
        """
        per_epoch = _steps_per_epoch(recipe, samples)
        total = recipe.steps if recipe.steps is not None else per_epoch * (recipe.epochs or 0)
        seen, kept = recipe.evaluate, recipe.checkpoints
        evaluations = {0} if seen.start else set()
        snapshots = {*kept.at_steps, *(e * per_epoch for e in kept.at_epochs)}
        if recipe.branched_at is None and (behind := [s for s in snapshots if s > total]):
            raise SpecError(
                f"checkpoints: step {min(behind)} lies behind the end; the training has {total} steps "
                f"({per_epoch} in an epoch)"
            )
        for chosen, epochs, steps in (
            (evaluations, seen.every_epochs, seen.every_steps),
            (snapshots, kept.every_epochs, kept.every_steps),
        ):
            for every in ((epochs or 0) * per_epoch, steps or 0):
                chosen |= set(range(every, total + 1, every)) if every else set()
        if kept.log_spaced and total:
            exponents = [i / max(kept.log_spaced - 1, 1) for i in range(kept.log_spaced)]
            snapshots |= {round(math.exp(x * math.log(total))) for x in exponents}
        begin = -1 if recipe.branched_at is None else recipe.branched_at
        told, kept_at = ({s for s in steps if begin < s <= total} for steps in (evaluations | {total}, snapshots))
        marked = frozenset(s for s in points if s <= total)
        return cls(total, per_epoch, frozenset(told), frozenset(kept_at), marked, recipe.branched_at)

    def next_stop(self, step: int) -> int:
        """The first step after `step` at which something happens."""
        stops = self.evaluations | self.snapshots | self.points | ({self.after} if self.after is not None else set())
        return min((s for s in stops if s > step), default=self.total)


def _steps_per_epoch(recipe: Recipe, samples: int) -> int:
    """Steps that one pass through so many samples takes."""
    if recipe.batch_size > samples:
        raise SpecError(
            f"batch_size: {recipe.batch_size} is larger than the training data, which has {samples} samples "
            f"(split {recipe.split!r}, train_fraction {recipe.train_fraction}); give at most {samples}"
        )
    return samples // recipe.batch_size if recipe.drop_last else math.ceil(samples / recipe.batch_size)


def samples_seen(recipe: Recipe, samples: int, steps: int) -> int:
    """On how many samples so many steps train, each as often as it is seen; the last batch of an epoch may be smaller.

    Args:
        recipe: of the training.
        samples: how many it trains on.
        steps: how many are made.
    """
    epochs, within = divmod(steps, _steps_per_epoch(recipe, samples))
    whole = samples // recipe.batch_size * recipe.batch_size if recipe.drop_last else samples
    return epochs * whole + within * recipe.batch_size
