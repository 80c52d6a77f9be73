"""Question and answer of a report, for kinds that bring none: which units are best, and which axis matters most."""

from __future__ import annotations

import numpy as np

from landsweep.orchestrator.report.units import MOST_METRICS, Units
from landsweep.orchestrator.report.values import in_words, is_missing, label, number, ordered
from landsweep.orchestrator.report.values import share as in_percent
from landsweep.orchestrator.row import Status

__all__ = ["answer_of", "question_of"]

_MOST_COUNTED = 4  # values in a sentence
_LEAST_SHARE = 0.1  # of the order: an axis that explains less is not said to matter


def question_of(units: Units) -> str:
    """What the units were computed for, as far as their axes and metrics tell; empty where nothing varies."""
    if not units.axes:
        return ""
    few = [c.name for c in units.axes[:MOST_METRICS]]
    axes = " and ".join([", ".join(few[:-1]), few[-1]] if len(few) > 1 else few)
    if len(units.axes) > len(few):
        axes += f" and {len(units.axes) - len(few)} more axes"
    if _counts(units):
        return f"How often is each {in_words(units.counted[0].name)} reached, over {axes}?"
    if not units.metrics:
        return ""
    metric, less = units.goal
    give = "value of {} gives" if len(units.axes) == 1 else "values of {} give"
    return f"Which {give.format(axes)} the {_best(less=less)} {in_words(metric.name)}?"


def answer_of(units: Units) -> str:
    """The best units in one sentence, and the axis that matters most; empty where nothing can be compared."""
    if _counts(units):
        return _counted(units)
    if not units.metrics or not units.axes:
        return ""
    metric, less = units.goal
    ranked = units.ranked()[0].dropna(subset="goal")
    if len(ranked) < 2 or ranked["goal"].iloc[0] == ranked["goal"].median():  # then half of them are as good
        return ""
    first, goal = int(ranked["first"].iloc[0]), ranked["goal"]
    where = ", ".join(f"{c.name} = {label(units.rows[c.name].iloc[first])}" for c in units.axes[:MOST_METRICS])
    over = f" (mean over {' and '.join(c.name for c in units.repeats)})" if units.repeats else ""
    best, median = number(float(goal.iloc[0]), 3), number(float(goal.median()), 3)
    text = f"The {_best(less=less)} {in_words(metric.name)} is {best}, at {where}{over}; the median of "
    text += f"{len(ranked):,} {'combinations' if units.repeats else 'units'} is {median}."
    shares = units.shares() if len(units.axes) > 1 else {}
    name, share = next(iter(shares.items()), ("", 0.0))
    if share >= _LEAST_SHARE:
        text += f" {name} matters most: alone it explains {in_percent(share)} of their order."
    return text


def _best(*, less: bool) -> str:
    return "lowest" if less else "highest"


def _counts(units: Units) -> bool:
    """Whether the units are there to be counted: the first metric says of which sort each is, and none is the goal."""
    return bool(units.counted) and units.reading.goal is None and units.rows[units.counted[0].name].nunique() > 1


def _counted(units: Units) -> str:
    """How many units gave each value of the first metric with few values, and how many gave none."""
    name, total = units.counted[0].name, len(units.rows)
    missing = np.array([is_missing(v) for v in units.rows[name]])
    cells = units.rows[name][~missing]
    counts = [(int((cells == value).sum()), value) for value in ordered(cells)]
    most = sorted(counts, key=lambda pair: -pair[0])[:_MOST_COUNTED]
    shares = ", ".join(f"{label(value)} in {in_percent(n / total)}" for n, value in most)
    others = sum(n for n, _ in counts) - sum(n for n, _ in most)
    more = f", others in {in_percent(others / total)}" if others else ""
    text = f"{in_words(name).capitalize()} is {shares}{more} of {total:,} units."
    lost = int(((units.rows["status"] == Status.diverged.value).to_numpy() & missing).sum())
    return text + (f" {in_percent(lost / total)} diverged." if lost else "")
