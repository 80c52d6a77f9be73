"""The report of a measuring sweep: for each measure an answer, a table, and what it goes with."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import label, number, ordered
from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.measure.correlation import RankCorrelation, rank_correlation
from landsweep.sweeps.measure.figures import (
    Scatter,
    curves_picture,
    lines_picture,
    matrix_picture,
    scatter_picture,
)
from landsweep.sweeps.measure.phase_field import PhasesSpec
from landsweep.sweeps.measure.profiles import profile_figures
from landsweep.sweeps.measure.spectra import spectra_parts

__all__ = ["MeasureFacts", "measure_report"]

_NAMED = 3  # measures in the question
_PANELS = 4  # columns of a measure that figures show
_COLUMNS = 8  # and tables
_SCATTERS = 6
_LINES = 40  # of a table
_MATRIX = 60  # models of a matrix
_CURVES = 12  # subjects whose curves are drawn one by one
_GAP = "of_gap"
_NO_SETTINGS = ("seed", "of_key", "of_step")  # they name one model, or are put first where there are several
_AGAINST = (_GAP, "of_test_loss", "of_test_accuracy", "of_validation_loss", "of_validation_accuracy", "of_train_loss")


@dataclass(frozen=True, slots=True)
class MeasureFacts:
    """What the report knows beside rows.

    Attributes:
        measures: name to the columns of the measure.
        params: columns of the units' params, without the name of the measure.
        models: a sentence about the models.
        phases: rules of the phase diagram, where one is asked for.
    """

    measures: Mapping[str, Sequence[Column]]
    params: Sequence[str]
    models: str
    phases: PhasesSpec | None = None


def measure_report(facts: MeasureFacts, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
    """A section for each measure, and the median of its first column for the summary."""
    sections = [PageSection("Models", [facts.models])]
    summary: dict[str, float] = {}
    if facts.phases is not None and len(rows):
        section, counts = facts.phases.section(rows)
        sections.insert(0, section)
        summary |= counts
    for name, columns in facts.measures.items():
        mine = rows[rows["measure"] == name].reset_index(drop=True)
        part = _Section(name, columns, facts.params, mine, series)
        sections.append(PageSection(_words(name).capitalize(), list(part.parts())))
        summary |= part.summary()
    good = rows[rows["status"] == "ok"]
    if spectra := spectra_parts(facts.params, good, series):
        sections.append(PageSection("Spectra", spectra))
    if compared := profile_figures(facts.params, good, series):
        sections.append(PageSection("Profiles along paths", compared))
    return Report(sections, summary, answer=_answer(sections), question=_question(facts))


def _question(facts: MeasureFacts) -> str:
    if facts.phases is not None:
        return "Which phases are there among these models, and where?"
    named = [_words(name) for name in facts.measures]
    listed = ", ".join(named[:_NAMED]) + (f" and {len(named) - _NAMED} more measures" if len(named) > _NAMED else "")
    return f"How do these models differ by {listed}, and what goes with it?"


def _answer(sections: Sequence[PageSection]) -> str:
    """What the first section with a figure says first: of phases how many cells each has, else the first measure."""
    for section in sections:
        texts = [part for part in section.parts if isinstance(part, str)]
        if texts and any(isinstance(part, Figure) for part in section.parts):
            return texts[0]
    return ""


class _Section:
    """The parts of the report about one measure."""

    def __init__(
        self, name: str, columns: Sequence[Column], params: Sequence[str], rows: pd.DataFrame, series: pd.DataFrame
    ) -> None:
        self.name, self.all_rows = name, rows
        self.rows = _with_gap(rows[rows["status"] == "ok"].reset_index(drop=True))
        numeric = [c.name for c in columns if c.type in ("float", "int") and c.name in rows]
        self.columns = [c for c in numeric if np.isfinite(numbers(self.rows[c])).any()]
        self.meaning = {c.name: c.doc for c in columns}
        self.series = series[series["key"].isin(self.rows["key"])] if len(series) else series
        varying = [p for p in params if p in self.rows and self.rows[p].nunique(dropna=False) > 1]
        free = [p for p in varying if p not in _NO_SETTINGS and not p.endswith(("_a", "_b"))]
        self.settings = [p for p in free if len(self.rows) == 0 or self.rows[p].nunique() < max(2, len(self.rows))]
        if "of_step" in self.rows and self.rows["of_step"].nunique() > 1:
            self.settings = ["of_step", *self.settings]

    @property
    def main(self) -> str | None:
        """The column that the answer is about: the first one that varies."""
        spread = [c for c in self.columns if len(np.unique(_finite(self.rows[c]))) > 1]
        return next(iter([*spread, *self.columns]), None)

    def summary(self) -> dict[str, float]:
        main = self.main
        return {} if main is None else {f"{self.name}.{main}_median": float(np.median(_finite(self.rows[main])))}

    def parts(self) -> Iterator[Part]:
        if not len(self.all_rows):
            yield "Nothing has been measured yet."
            return
        correlations = self._correlations()
        yield self._answer(correlations)
        bad = self.all_rows[self.all_rows["status"] != "ok"]
        if len(bad):
            counts = ", ".join(f"{n} {status}" for status, n in bad["status"].value_counts().items())
            yield f"{len(bad)} of {len(self.all_rows)} subjects gave no finite value ({counts}); they are left out."
        if self.main is None:
            return
        yield self._table()
        yield from self._lines()
        yield from self._scatters(correlations)
        yield from self._matrix()
        yield from self._curves()

    def _answer(self, correlations: Mapping[tuple[str, str], RankCorrelation]) -> str:
        main = self.main
        if main is None:
            return f"No subject of {len(self.all_rows)} gave a value."
        values = _finite(self.rows[main])
        low, middle, high = (number(float(v), 3) for v in np.quantile(values, [0, 0.5, 1]))
        text = f"{_words(main).capitalize()} is {middle} at the median of {len(values)} subjects, from {low} to {high}."
        if ends := self._ends(main):
            text += f" {ends}"
        mine = {metric: c for (column, metric), c in correlations.items() if column == main}
        if mine:
            metric = max(mine, key=lambda m: abs(mine[m].value))
            text += f" Its rank correlation with {_words(metric)} is {mine[metric].in_words()}."
        return text

    def _ends(self, main: str) -> str:
        """How the median goes from the lowest to the highest value of the first setting."""
        setting = next((s for s in self.settings if pd.api.types.is_numeric_dtype(self.rows[s])), None)
        if setting is None:
            return ""
        medians = pd.Series(numbers(self.rows[main])).groupby(numbers(self.rows[setting])).median().dropna()
        if len(medians) < 2:
            return ""
        (x0, x1), (y0, y1) = (medians.index[[0, -1]], medians.iloc[[0, -1]])
        return (
            f"Its median goes from {number(y0, 3)} at {_words(setting)} {label(x0)} to {number(y1, 3)} at {label(x1)}."
        )

    def _table(self) -> Table:
        by = [s for s in self.settings if s != "of_label"][:3]
        shown = self.columns[:_COLUMNS]
        lines: list[list[object]] = []
        groups = self.rows.groupby(by, dropna=False, sort=True) if by else [((), self.rows)]
        for cell, part in groups:
            cells = list(cell) if isinstance(cell, tuple) else [cell]
            medians = [float(np.median(v)) if len(v := _finite(part[c])) else None for c in shown]
            lines.append([*cells, len(part), *medians])
        more = f"; the first {_LINES} of {len(lines)} lines" if len(lines) > _LINES else ""
        meanings = "; ".join(f"{c}: {self.meaning[c]}" for c in shown)
        caption = f"Medians over subjects{more}. {meanings}."
        header = [*(_words(s) for s in by), "subjects", *shown]
        return Table(caption, header, lines[:_LINES], name=f"{self.name}_medians", digits=4)

    def _lines(self) -> Iterator[Figure]:
        settings = [s for s in self.settings if s != "of_label"]
        if not settings:
            return
        numeric = [s for s in settings if pd.api.types.is_numeric_dtype(self.rows[s])]
        across = (numeric or settings)[0]
        by = next((s for s in settings if (self.rows.groupby(across)[s].nunique() > 1).any()), None)
        shown = self._shown()
        caption = f"Measure {self.name} against {_words(across)}: median over subjects of equal {_words(across)}"
        caption += f" and {_words(by)}" if by else ""
        caption += f", with quartiles where there are several; n = {len(self.rows)}."
        yield Figure(f"{self.name}_by_setting", caption, lines_picture(self.rows, shown, across, by))

    def _shown(self) -> list[str]:
        """Columns that vary, the first few; standard errors and deviations only tell how sure the others are."""
        vary = [c for c in self.columns if len(np.unique(_finite(self.rows[c]))) > 1 and not c.endswith(("_se", "_sd"))]
        return vary[:_PANELS] or self.columns[:1]

    def _ended(self) -> pd.DataFrame:
        """Of each model its last checkpoint: metrics of its own sweep are those of the end of training."""
        if "of_key" not in self.rows or "of_step" not in self.rows or not len(self.rows):
            return self.rows
        last = numbers(self.rows["of_step"])
        rows = self.rows.assign(_step=np.where(np.isfinite(last), last, -1)).sort_values("_step", kind="stable")
        return rows.groupby("of_key", sort=False).tail(1).reset_index(drop=True)

    def _correlations(self) -> dict[tuple[str, str], RankCorrelation]:
        rows = self._ended()
        metrics = [m for m in _AGAINST if m in rows]
        pairs = ((c, m) for c in self.columns[:_COLUMNS] for m in metrics)
        computed = {(c, m): rank_correlation(numbers(rows[c]), numbers(rows[m])) for c, m in pairs}
        return {pair: value for pair, value in computed.items() if value is not None}

    def _scatters(self, correlations: Mapping[tuple[str, str], RankCorrelation]) -> Iterator[Part]:
        if not correlations:
            return
        lines = [[column, _words(metric), c.value, c.low, c.high, c.n] for (column, metric), c in correlations.items()]
        header = ("column", "metric of the model", "rank correlation", "low", "high", "models")
        caption = (
            "Spearman's rank correlation of the measure with metrics that the models' own sweep gives for the end of "
            "training; low and high: 95 % interval by bootstrap over models, with five or more. gap: test loss minus "
            "training loss. The intervals hold for one correlation each: the largest of many is large by chance, too."
        )
        yield Table(caption, header, lines, name=f"{self.name}_correlations", digits=3)
        strongest: dict[str, Scatter] = {}
        for column in self._shown():
            for metric in dict.fromkeys(m for c, m in correlations if c == column):
                c = correlations[column, metric]
                strongest[f"{column} {metric}"] = Scatter(metric, column, f"rank correlation {c.short()}")
        panels = list(strongest.values())[:_SCATTERS]
        if panels:
            by = next((s for s in self.settings if s not in ("of_label", "of_step")), None)
            caption = f"Measure {self.name} against metrics of the models; a point is a model"
            caption += f", its colour {_words(by)}" if by else ""
            caption += f"; above each panel the rank correlation and its 95 % interval; n = {len(self._ended())}."
            yield Figure(f"{self.name}_against_metrics", caption, scatter_picture(self._ended(), panels, by))

    def _matrix(self) -> Iterator[Figure]:
        if self.main is None or not {"of_key_a", "of_key_b"} <= set(self.rows.columns):
            return
        pairs = self.rows.dropna(subset=["of_key_a", "of_key_b"])
        models = ordered([*pairs["of_key_a"], *pairs["of_key_b"]])
        if not 2 < len(models) <= _MATRIX or pairs.duplicated(["of_key_a", "of_key_b"]).any():
            return
        labels = _labels(pairs)
        models.sort(key=lambda key: (labels.get(key, ""), key))
        place = {key: i for i, key in enumerate(models)}
        grid = np.full((len(models), len(models)), np.nan)
        for a, b, value in zip(pairs["of_key_a"], pairs["of_key_b"], numbers(pairs[self.main]), strict=True):
            grid[place[a], place[b]] = grid[place[b], place[a]] = value
        names = [f"{labels.get(key, '')} {key[:6]}".strip() for key in models]
        caption = f"{_words(self.main).capitalize()} of each pair of {len(models)} models that was measured."
        yield Figure(f"{self.name}_pairs", caption, matrix_picture(names, grid, self.main))

    def _curves(self) -> Iterator[Figure]:
        if not len(self.series):
            return
        subjects = self.series["key"].nunique()
        panels = [(str(name), part) for name, part in self.series.groupby("metric", sort=False)][:_PANELS]
        by = next((s for s in self.settings if s != "of_label"), None)
        groups = None if by is None else self.rows.set_index("key")[by]
        each = subjects <= _CURVES
        caption = f"Curves of measure {self.name} by position in the curve: "
        caption += "a line for each subject" if each else "median over subjects, with quartiles where lines are few"
        caption += f", coloured by {_words(by)}; n = {subjects}." if by else f"; n = {subjects}."
        yield Figure(f"{self.name}_curves", caption, curves_picture(panels, groups, each=each))


def _labels(pairs: pd.DataFrame) -> dict[str, str]:
    """For each model the params in which pairs differ, as a short name."""
    differing = [str(c).removesuffix("_a") for c in pairs if str(c).endswith("_a") and not str(c).startswith("of_")]
    labels = {}
    for end in "ab":
        for row in pairs.to_dict("records"):
            parts = [f"{name.rpartition('.')[2]} {label(_own(row, name, end))}" for name in differing]
            labels[row[f"of_key_{end}"]] = ", ".join(parts)
    return labels


def _own(row: Mapping[Hashable, Any], name: str, end: str) -> Any:  # noqa: ANN401 - a param has any type
    """A param of one model of a pair, which has no suffix where both have the same."""
    value = row.get(f"{name}_{end}")
    return row.get(name) if value is None or value != value else value  # nan is not itself


def _with_gap(rows: pd.DataFrame) -> pd.DataFrame:
    if not {"of_test_loss", "of_train_loss"} <= set(rows.columns):
        return rows
    return rows.assign(**{_GAP: numbers(rows["of_test_loss"]) - numbers(rows["of_train_loss"])})


def _finite(values: pd.Series) -> Floats:
    cells = numbers(values)
    finite: Floats = cells[np.isfinite(cells)]
    return finite


def _words(name: str) -> str:
    short = name.removeprefix("of_")
    return short if "." in short else short.replace("_", " ")
