"""Branches in a study: of each size the longest horizon is trained, and shorter ones are cool-downs that leave it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.schedules import WarmupStableDecay

__all__ = ["Horizons", "wsd_of"]


def wsd_of(recipe: Recipe | None, follows_horizon: bool) -> WarmupStableDecay:
    """The schedule that main runs and branches share.

    Args:
        recipe: of the study; None: it is one of features.
        follows_horizon: whether the learning rate depends on the horizon.

    Raises:
        SpecError: what the spec asks for can't branch; the message says what to change.
    """
    if recipe is None:
        raise SpecError("horizons: branches are cool-downs of a recipe's runs; the random-feature model has none")
    schedule = recipe.schedule
    if not isinstance(schedule, WarmupStableDecay):
        raise SpecError(
            f"horizons: branches leave a run that holds its rate; recipe.schedule is {schedule.shape}, take "
            "{shape: wsd, warmup_steps: ..., cooldown: 0.2}"
        )
    if schedule.warmup:
        raise SpecError(
            f"horizons: branches share the warm-up of their main run, but recipe.schedule.warmup is a share of each "
            f"horizon, {schedule.warmup:g}; give warmup_steps"
        )
    if follows_horizon:
        raise SpecError(
            "horizons: branches have the learning rate of their main run, so rate.horizon must be 0; rate.size may stay"
        )
    return schedule


@dataclass(frozen=True)
class Horizons:
    """The horizons of each size, in steps, and where the shorter ones leave the longest.

    Attributes:
        schedule: that all of them have; None: every horizon is trained from its start.
        of: width to its horizons.
    """

    schedule: WarmupStableDecay | None
    of: Mapping[int, frozenset[int]]

    @classmethod
    def among(cls, schedule: WarmupStableDecay | None, planned: Iterable[tuple[int, int]]) -> Horizons:
        """The horizons of planned pairs of width and steps.

        Raises:
            SpecError: one is too short for warm-up and cool-down.
        """
        by_width: dict[int, set[int]] = {}
        for width, steps in planned:
            by_width.setdefault(width, set()).add(steps)
        horizons = cls(schedule, {width: frozenset(steps) for width, steps in by_width.items()})
        if schedule is None:
            return horizons
        for width, several in horizons.of.items():
            for steps in several:
                at = horizons.leaves({"width": width, "steps": steps})
                if at is not None and not max(1, schedule.warmup_steps) <= at < steps:
                    raise SpecError(
                        f"horizons: a branch of width {width} that ends after {steps} steps has no room for a warm-up "
                        f"of {schedule.warmup_steps} and a cool-down; raise limits.least_steps, or shorten the warm-up"
                    )
        return horizons

    def main(self, params: Mapping[str, Value]) -> int:
        """The longest horizon of a unit's size."""
        return max(self._of(params))

    def leaves(self, params: Mapping[str, Value]) -> int | None:
        """The step after which a unit's run leaves the longest of its size; None: it is trained from its start.

        That is also None for runs that test the fit: even where their length equals a fitted horizon, they stand alone.
        """
        steps, horizons = int(params["steps"] or 0), self._of(params)
        tests_the_fit = params.get("role") == "validate"
        if self.schedule is None or tests_the_fit or steps not in horizons or steps == max(horizons):
            return None
        return steps - self.schedule.falls(steps)

    def departures(self, params: Mapping[str, Value]) -> set[int]:
        """The steps after which shorter horizons leave the main run of a unit's size; none for what tests the fit."""
        if params.get("role") == "validate":
            return set()
        branches = (self.leaves({**params, "steps": steps}) for steps in self._of(params))
        return {at for at in branches if at is not None}

    def _of(self, params: Mapping[str, Value]) -> frozenset[int]:
        return self.of.get(int(params["width"] or 0), frozenset())
