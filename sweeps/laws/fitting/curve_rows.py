"""Schedules as logged curves bring them: a row at some steps, with the learning rate there.

Between two rows the rate moves linearly. Where it falls once, between rows at which it stays, it is taken to fall at
the step of the later row. A schedule that is otherwise needs more rows; they may lack the loss.

All curves of a table are worked on at once: their rows stand one curve after the other, and much of what is said of a
row is about the stretch between it and the row before, which the first row of a curve lacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Points, Quantity

__all__ = ["SUM_BEFORE", "Curves", "notes"]

SUM_BEFORE = Quantity(
    "sum_before",
    "steps x rate",
    "sum of the rates of all steps before a curve's first row; without it, its first rate times those steps",
    positive=False,
    optional=True,
)
_FLAT = 0.1  # of the slope of a fall: with less on either side, it is one drop


@dataclass(frozen=True, slots=True)
class Curves:
    """The rows of m curves [n], curve by curve and by step.

    Attributes:
        order: which row of the table stands at each place.
        first: whether it is the first of its curve.
        number: of its curve, from 0.
        begins: places of the first rows [m].
        step: training step.
        rate: learning rate.
    """

    order: NDArray[np.int64]
    first: NDArray[np.bool_]
    number: NDArray[np.int64]
    begins: NDArray[np.int64]
    step: Floats
    rate: Floats

    @classmethod
    def of(cls, x: Points) -> Curves:
        """The curves of a table's inputs [n].

        Raises:
            UsageError: a curve has two rates at one step.
        """
        order = np.lexsort((x["step"], x["curve"]))
        label, step, rate = x["curve"][order], x["step"][order], x["rate"][order]
        first = np.concatenate([[True], label[1:] != label[:-1]])[: len(order)]
        curves = cls(order, first, np.cumsum(first) - 1, np.flatnonzero(first), step, rate)
        twice = np.flatnonzero(~first & (curves.since(step) == 0) & (curves.since(rate) != 0))
        if len(twice):
            i = twice[0]
            raise UsageError(
                f"curve: the step {step[i]:g} of one curve has the rates {rate[i - 1]:g} and "
                f"{rate[i]:g}; runs of different schedules need names of their own in the column of `curve`"
            )
        return curves

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Rows of each curve [m]."""
        return np.diff(self.begins, append=len(self.order))

    def before(self, values: Floats) -> Floats:
        """What the row before has [n]; of a first row, what it has itself."""
        return np.where(self.first, values, np.roll(values, 1))

    def since(self, values: Floats) -> Floats:
        """By how much values have changed since the row before [n]; 0 at a first row."""
        return values - self.before(values)

    def running(self, terms: Floats, kept: Floats | float = 1.0) -> Floats:
        """The recurrence y = kept * (y of the row before) + terms [n]; each curve begins with its first term."""
        factor, y = np.where(self.first, 0.0, kept), terms.astype(np.float64)
        reach = 1
        while reach < self.lengths.max(initial=0):  # each round doubles how many rows back are counted
            y[reach:] += factor[reach:] * y[:-reach].copy()
            factor[reach:] = factor[reach:] * factor[:-reach]
            reach *= 2
        return y

    def abrupt(self) -> NDArray[np.bool_]:
        """Where the rate has fallen at once since the row before [n]: it fell, and hardly moves on either side."""
        change = self.since(self.rate)
        slope = np.abs(change) / np.maximum(self.since(self.step), 1e-12)
        left, right = np.concatenate([[0.0], slope[:-1]]), np.concatenate([slope[1:], [0.0]])
        alone = np.maximum(left, right)[: len(slope)] <= _FLAT * slope
        return np.asarray((change < 0) & alone & (self.lengths[self.number] > 2))

    def given_before(self, x: Points) -> Floats | None:
        """The sum of rates before the first row of each curve [m]; None where the table does not say.

        Raises:
            UsageError: one is negative, or not the same in all rows of its curve.
        """
        if SUM_BEFORE.name not in x:
            return None
        values = x[SUM_BEFORE.name][self.order]
        low, high = (f.reduceat(values, self.begins) for f in (np.minimum, np.maximum))
        for least, most in zip(low, high, strict=True):
            if least < 0 or least != most:
                raise UsageError(
                    f"sum_before is from {least:g} to {most:g} within one curve; it must be one number from 0 "
                    "for each curve: the sum of the rates of all steps before its first row"
                )
        return np.asarray(low, np.float64)

    def in_table(self, values: Floats) -> Floats:
        """Values [n] in the order of the table."""
        back = np.empty_like(values)
        back[self.order] = values
        return back


def notes(x: Points, *, peak: bool = False) -> list[str]:
    """What is assumed about the schedules of these curves.

    Args:
        x: `curve`, `step`, `rate` and perhaps `sum_before` [n].
        peak: whether the law counts a warm-up at the peak rate anyway.
    """
    curves, sentences = Curves.of(x), []
    step, begins = curves.step, curves.begins
    late = begins[step[begins] > 1]
    if len(late) and SUM_BEFORE.name not in x and not peak:
        latest, rate = max(zip(step[late], curves.rate[late], strict=True))
        sentences.append(
            f"{len(late)} of {len(begins)} curves begin after step 1 (the latest at step {latest:g}, rate {rate:g}); "
            "the steps before count at the first row's rate. If there was a warm-up, give the sum of the rates before "
            f"the first row as `sum_before`; for a linear warm-up over all these steps: --columns "
            f'"sum_before={latest / 2:g}*{rate:g}"'
        )
    coarse = np.flatnonzero(curves.abrupt() & (curves.since(step) > 1))
    if len(coarse):
        sentences.append(
            f"the rate falls at once between steps {step[coarse[0] - 1]:g} and {step[coarse[0]]:g} of a curve "
            f"({len(coarse)} such falls); it is taken to fall at the later one. If it fell earlier, add a row with "
            "that step and the new rate; it may lack the loss (--exclude 'loss missing')"
        )
    return sentences
