"""Units of a grid for reports: which columns are axes, which only repeat, and how the combinations rank."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.effects import shares_of_order
from landsweep.orchestrator.report.readable import readable_rows
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import group_labels
from landsweep.orchestrator.row import Column

__all__ = ["MOST_CATEGORIES", "MOST_METRICS", "Reading", "Units", "count", "is_category", "labels_of"]

MOST_METRICS = 4
MOST_CATEGORIES = 12
_REPEATS = re.compile(r"(^|[._])(seed|replicate|replica|repeat|repetition|rep|trial|fold)s?(_?(id|index))?$", re.I)
_MORE = re.compile(r"acc|score|reward|return|auc|f1|precision|recall|throughput|per_second|success|correlation", re.I)


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read rows where they don't say it themselves.

    Attributes:
        repeats: axes that only repeat a unit; None: those that are called seed, replicate, repeat, trial or fold.
        goal: the metric that says which units are best; None: the first that varies.
        less: whether less of it is better; None: by its name, as an accuracy or a loss.
    """

    repeats: tuple[str, ...] | None = None
    goal: str | None = None
    less: bool | None = None


@dataclass(frozen=True, slots=True)
class Units:
    """Rows with the columns by the part that they play.

    Attributes:
        rows: one line per unit.
        axes: params that vary, without those that an earlier one determines.
        repeats: those that only repeat a unit.
        metrics: numbers that vary.
        counted: metrics with few values, whose units are counted.
        reading: how the rows are read.
    """

    rows: pd.DataFrame
    axes: list[Column]
    repeats: list[Column]
    metrics: list[Column]
    counted: list[Column]
    reading: Reading

    @classmethod
    def of(
        cls, rows: pd.DataFrame, params: Sequence[Column], metrics: Sequence[Column], reading: Reading | None = None
    ) -> Units:
        """The units of a table of rows."""
        reading = reading or Reading()
        rows = readable_rows(rows, [*params, *metrics])
        counted = [c for c in metrics if is_category(rows, c)]
        measured = [c for c in metrics if c not in counted and _varies(rows, c)]
        varying = _independent(rows, [c for c in params if count(rows, c) > 1])
        repeats = [c for c in varying if _repeats(c, reading)]
        axes = [c for c in varying if c not in repeats]
        return cls(rows, axes or repeats, repeats if axes else [], measured, counted, reading)

    @property
    def over(self) -> str:
        """What is averaged, for a caption."""
        return f", means over {' and '.join(c.name for c in self.repeats)}" if self.repeats else ""

    @property
    def goal(self) -> tuple[Column, bool]:
        """The metric that ranks the units, and whether less of it is better."""
        metric = next((c for c in self.metrics if c.name == self.reading.goal), self.metrics[0])
        less = self.reading.less if self.reading.less is not None else not _MORE.search(metric.name)
        return metric, less

    def ranked(self) -> tuple[pd.DataFrame, list[int]]:
        """A line for each combination of the axes, the best first; and for each row the combination it belongs to.

        Returns:
            Columns `goal`, `metric0`, ... (means), `n` (values that the goal's mean is of) and `first` (place of a row
            of the combination), by the combination's number; and that number of each row.
        """
        metric, less = self.goal
        shown = self.metrics[:MOST_METRICS]
        frame = pd.DataFrame(index=range(len(self.rows)))
        for name, c in {"goal": metric, **{f"metric{i}": c for i, c in enumerate(shown)}}.items():
            values = numbers(self.rows[c.name])
            frame[name] = np.where(np.isfinite(values), values, np.nan)
        names = pd.DataFrame({i: labels_of(self.rows, c)[0] for i, c in enumerate(self.axes)}, index=frame.index)
        codes = np.arange(len(frame))
        if len(names.columns):
            codes = names.groupby(list(names), sort=False).ngroup().to_numpy()
        groups = frame.groupby(codes)
        ranked = groups.mean().assign(n=groups["goal"].count())
        ranked["first"] = np.unique(codes, return_index=True)[1]
        return ranked.sort_values("goal", ascending=less, kind="stable"), codes.tolist()

    def shares(self) -> dict[str, float]:
        """Axis to the share of the order of the combinations that it explains alone."""
        ranked = self.ranked()[0]
        labels = {c.name: [labels_of(self.rows, c)[0][int(i)] for i in ranked["first"]] for c in self.axes}
        return shares_of_order(pd.DataFrame(labels), ranked["goal"].tolist())


def count(rows: pd.DataFrame, c: Column) -> int:
    """Distinct values, nothing at all among them where it occurs beside others."""
    return int(rows[c.name].nunique(dropna=False))


def labels_of(rows: pd.DataFrame, c: Column) -> tuple[list[str], list[str]]:
    """A label for each row, and the labels in order: numbers by size, text in the order of the plan."""
    given = list(dict.fromkeys(rows[c.name])) if c.type == "text" else []
    return group_labels(rows[c.name], given)


def is_category(rows: pd.DataFrame, c: Column) -> bool:
    """Whether a metric has so few values that units are counted by them."""
    return c.type != "float" and 1 <= rows[c.name].nunique() <= MOST_CATEGORIES


def _repeats(c: Column, reading: Reading) -> bool:
    return bool(_REPEATS.search(c.name)) if reading.repeats is None else c.name in reading.repeats


def _independent(rows: pd.DataFrame, axes: list[Column]) -> list[Column]:
    """The axes without those that an earlier one determines, as zipped axes are."""
    independent: list[Column] = []
    for c in axes:
        values = count(rows, c)
        pairs = (rows[[k.name, c.name]].drop_duplicates() for k in independent if count(rows, k) == values)
        if not any(len(pair) == values for pair in pairs):
            independent.append(c)
    return independent


def _varies(rows: pd.DataFrame, c: Column) -> bool:
    if c.type in ("text", "bool"):
        return False
    values = numbers(rows[c.name])
    return len(np.unique(values[np.isfinite(values)])) > 1
