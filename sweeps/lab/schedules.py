"""Schedules of the learning rate: pure functions of step and total that give a multiplier of the learning rate.

`multiplier(step, total)` is that of the step number `step`, the first being 0, of a run of `total` steps. All shapes
take a warm-up: over its w steps the multiplier rises linearly, (step + 1) / (w + 1), and the shape itself then runs
over the steps that are left, as if the run began there. Lengths are shares of the run: one spec serves every length.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from landsweep.orchestrator.spec import Section

__all__ = [
    "Constant",
    "Cosine",
    "Cycles",
    "Linear",
    "OneCycle",
    "Schedule",
    "ScheduleSpec",
    "StepDecay",
    "WarmupStableDecay",
]

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Decay: TypeAlias = Literal["linear", "cosine", "1-sqrt", "1-square"]


class Schedule(Section):
    """What all shapes share: the warm-up."""

    shape: str
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps over which the rate rises from 0")
    warmup_steps: int = Field(0, ge=0, description="the same in steps; give one of the two")

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup and self.warmup_steps:
            raise ValueError("give the length of the warm-up as `warmup` (a share) or as `warmup_steps`, not as both")
        return self

    def multiplier(self, step: int, total: int) -> float:
        """What the learning rate is multiplied by.

        Args:
            step: 0 <= step < total.
            total: steps of the whole run.
        """
        warm = self.warm(total)
        if step < warm:
            return (step + 1) / (warm + 1)
        return self._after(step - warm, total - warm)

    def warm(self, total: int) -> int:
        """Steps of the warm-up of a run of `total` steps."""
        return min(self.warmup_steps or round(self.warmup * total), total)

    def momentum(self, step: int, total: int) -> float | None:
        """The momentum, or first beta, where the schedule sets it."""
        del step, total
        return None

    def _after(self, step: int, total: int) -> float:
        raise NotImplementedError


class Constant(Schedule):
    """1 throughout."""

    shape: Literal["constant"]

    def _after(self, step: int, total: int) -> float:
        del step, total
        return 1.0


class StepDecay(Schedule):
    """Times `factor` at each milestone: torch's MultiStepLR with milestones as shares of the run."""

    shape: Literal["step"]
    at: tuple[Share, ...] = Field(
        (0.5, 0.75), description="milestones as shares of the run; step s counts from s / total"
    )
    factor: float = Field(0.1, ge=0)

    def _after(self, step: int, total: int) -> float:
        return float(self.factor ** sum(step >= round(a * total) for a in self.at))


class Cosine(Schedule):
    """Half a cosine from 1 to `final` (arXiv 1608.03983): final + (1 - final) (1 + cos(pi step / total)) / 2."""

    shape: Literal["cosine"]
    final: Share = 0.0

    def _after(self, step: int, total: int) -> float:
        return _half_cosine(step, total, self.final)


class Linear(Schedule):
    """A line from 1 to `final`: 1 - (1 - final) step / total."""

    shape: Literal["linear"]
    final: Share = 0.0

    def _after(self, step: int, total: int) -> float:
        return 1 - (1 - self.final) * step / total


class OneCycle(Schedule):
    """Up from 1 / `start_divisor` to 1 and down to 1 / (`start_divisor` `final_divisor`) (arXiv 1708.07120).

    As torch's OneCycleLR: half cosines or lines; `momenta` = (lowest, highest) makes the momentum run the other way,
    which torch does by default with (0.85, 0.95).
    """

    shape: Literal["one_cycle"]
    peak: float = Field(0.3, gt=0, lt=1, description="share of the run until the highest rate")
    start_divisor: float = Field(25.0, ge=1)
    final_divisor: float = Field(1e4, ge=1)
    anneal: Literal["cosine", "linear"] = "cosine"
    momenta: tuple[float, float] | None = Field(None, description="lowest and highest momentum; none: it stays")

    def _after(self, step: int, total: int) -> float:
        low = 1 / self.start_divisor
        return self._between(step, total, low, 1.0, low / self.final_divisor)

    def momentum(self, step: int, total: int) -> float | None:
        if self.momenta is None:
            return None
        low, high = self.momenta
        return self._between(step, total, high, low, high)

    def _between(self, step: int, total: int, start: float, middle: float, end: float) -> float:
        top, last = self.peak * total - 1, total - 1
        if step <= top:
            return self._anneal(start, middle, step / top) if top > 0 else middle
        return self._anneal(middle, end, (step - top) / (last - top)) if last > top else end

    def _anneal(self, a: float, b: float, t: float) -> float:
        return b + (a - b) * ((1 + math.cos(math.pi * t)) / 2 if self.anneal == "cosine" else 1 - t)


class WarmupStableDecay(Schedule):
    """1, and over the last `cooldown` of the run down to `final` (arXiv 2405.18392).

    With t running from 0 to 1 over the cool-down the multiplier falls as 1 - t (linear), (1 + cos(pi t)) / 2 (cosine),
    1 - sqrt(t) (1-sqrt, the paper's best) or 1 - t^2 (1-square).
    """

    shape: Literal["wsd"]
    cooldown: Share = Field(0.2, description="share of the steps after the warm-up")
    cooldown_steps: Annotated[int, Field(ge=1)] | None = Field(
        None, exclude_if=lambda v: v is None, description="the same in steps; takes precedence over the share"
    )
    decay: Decay = "1-sqrt"
    final: Share = 0.0

    def falls(self, total: int) -> int:
        """Steps of the cool-down of a run of `total` steps."""
        return self._length(total - self.warm(total))

    def _length(self, total: int) -> int:
        return round(self.cooldown * total) if self.cooldown_steps is None else min(self.cooldown_steps, total)

    def _after(self, step: int, total: int) -> float:
        return _cooled(step, total, self._length(total), self.decay, self.final)


class Cycles(Schedule):
    """One cycle after the other, each with its own way down, on one line: WSD-S and cyclic cosine (arXiv 2410.05192).

    After an end the rate is back at 1 at once, and training goes on from the weights that the way down has led to.
    A cycle is as `wsd` or `cosine` over its own steps.
    """

    shape: Literal["cycles"]
    ends: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        min_length=1, description="where cycles end, as rising shares of the steps after the warm-up; the last is 1"
    )
    within: Literal["wsd", "cosine"] = Field("wsd", description="wsd: 1, and then a cool-down; cosine: half a cosine")
    cooldown: Share = Field(0.1, description="of wsd: share of a cycle's steps")
    decay: Decay = Field("1-sqrt", description="of wsd, as there")
    final: Share = 0.0

    @model_validator(mode="after")
    def _ends_rise(self) -> Self:
        if self.ends[-1] != 1 or any(a >= b for a, b in itertools.pairwise(self.ends)):
            raise ValueError(f"ends: shares must rise up to 1, the end of the run; got {list(self.ends)}")
        return self

    def _after(self, step: int, total: int) -> float:
        bounds = [0, *(round(end * total) for end in self.ends)]
        start, end = next((a, b) for a, b in itertools.pairwise(bounds) if step < b)
        if self.within == "cosine":
            return _half_cosine(step - start, end - start, self.final)
        return _cooled(step - start, end - start, round(self.cooldown * (end - start)), self.decay, self.final)


def _half_cosine(step: int, total: int, final: float) -> float:
    return final + (1 - final) * (1 + math.cos(math.pi * step / total)) / 2


def _cooled(step: int, total: int, length: int, decay: Decay, final: float) -> float:
    """1, and over the last `length` of `total` steps down to `final`."""
    t = (step - (total - length)) / length if length else 0.0
    if t <= 0:
        return 1.0
    fall = {
        "linear": 1 - t,
        "cosine": (1 + math.cos(math.pi * t)) / 2,
        "1-sqrt": 1 - math.sqrt(t),
        "1-square": 1 - t * t,
    }[decay]
    return final + (1 - final) * fall


ScheduleSpec = Annotated[
    Constant | StepDecay | Cosine | Linear | OneCycle | WarmupStableDecay | Cycles, Field(discriminator="shape")
]
"""A schedule; told apart by the field `shape`: constant, step, cosine, linear, one_cycle, wsd or cycles."""
