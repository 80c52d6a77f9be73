"""Branches: cool-downs that leave one main run at different steps (WSD-S, arXiv 2410.05192; arXiv 2405.18392).

A main run holds its learning rate. A branch goes on from the main run's point after some step, weights, optimizer and
place in the data alike, and cools down. It is, bit for bit, the run with the schedule `wsd` of its own length: what the
point saves is the stable part. So a branch is a recipe like any other, whose key does not depend on a main run, and it
can be trained without one; with one it takes as many steps as its cool-down has.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import Section, parse
from landsweep.sweeps.lab.optim import NamedClass
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.schedules import Constant, WarmupStableDecay

__all__ = ["Cooldown", "branch"]


class Cooldown(Section):
    """Where a branch leaves its main run, and how it cools down."""

    at: Annotated[int, Field(ge=1)] = Field(description="the step of the main run after which it leaves")
    steps: Annotated[int, Field(ge=1)] = Field(description="of the cool-down")
    decay: Literal["linear", "cosine", "1-sqrt", "1-square"] = Field("1-sqrt", description="shape, as of wsd")
    final: float = Field(0.0, ge=0, le=1, description="where it ends, in learning rates")


def branch(main: Recipe, cooldown: Cooldown) -> Recipe:
    """The recipe of a branch; evaluations and checkpoints are those of the main run that lie within its cool-down.

    Args:
        main: of the main run, with a length in steps and a rate that it holds: `constant`, or `wsd` before its own
            cool-down.
        cooldown: where it leaves, and how.

    Raises:
        SpecError: the main run has no length in steps, does not hold its rate there, or ends earlier.
    """
    if main.steps is None:
        raise SpecError("branches: the main run's length must be given as `steps`")
    if isinstance(main.optimizer, NamedClass):
        raise SpecError("optimizer.method: runs with `class` can't branch; take one of the stacked methods")
    schedule = main.schedule
    if not isinstance(schedule, Constant | WarmupStableDecay):
        raise SpecError(
            f"branches: the main run's schedule is {schedule.shape}, which holds no rate; take constant or wsd"
        )
    warm = schedule.warm(main.steps)
    stable = [schedule.multiplier(step, main.steps) for step in range(warm, min(cooldown.at, main.steps))]
    if cooldown.at > main.steps or cooldown.at < warm or any(m != 1 for m in stable):
        raise SpecError(
            f"branches: at: {cooldown.at} must lie after the warm-up, of {warm} steps, and where the main run, of "
            f"{main.steps}, still holds its rate"
        )
    fall: dict[str, Any] = {"shape": "wsd", "cooldown_steps": cooldown.steps, "decay": cooldown.decay}
    fall |= {"final": cooldown.final, "warmup_steps": warm}
    changes = {"steps": cooldown.at + cooldown.steps, "schedule": fall, "branched_at": cooldown.at}
    return parse(Recipe, {**main.model_dump(mode="json"), **changes}, "branch")
