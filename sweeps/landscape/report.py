"""The report of a landscape sweep: tables and figures, from rows alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.report.values import is_missing, number, share
from landsweep.sweeps.landscape.colour_scale import Scale
from landsweep.sweeps.landscape.directions import LineDirections
from landsweep.sweeps.landscape.figures import curves_picture, draws_curve, maps_picture, surfaces_picture
from landsweep.sweeps.landscape.interactive import curves_plot, surfaces_plot
from landsweep.sweeps.landscape.marks import Marks, marks_of
from landsweep.sweeps.landscape.path_report import parted, path_section
from landsweep.sweeps.landscape.refined import RefinedGrid
from landsweep.sweeps.landscape.sample_size import sample_size_parts
from landsweep.sweeps.landscape.surfaces import Surface, roughness, surface_data, surfaces
from landsweep.sweeps.landscape.topology_report import topology_parts

__all__ = ["LandscapeFacts", "landscape_report"]

_NAMED = 4  # models in the first sentence
_SIDE_BY_SIDE = 3  # models in one picture; more would be too small to read


@dataclass(frozen=True, slots=True)
class LandscapeFacts:
    """What the report must know beside the rows.

    Attributes:
        axes: names.
        evaluators: names.
        directions: in words.
        line: the ends, where the directions lead from model to model.
        batch_norm: mode.
        models: name to definition in words.
        origin: coordinates of the centre, by axis; where one is left out it is 0.
        refined: how the grid is refined; None: it is whole.
    """

    axes: tuple[str, ...]
    evaluators: tuple[str, ...]
    directions: str
    line: LineDirections | None
    batch_norm: str
    models: Mapping[str, str]
    refined: RefinedGrid | None = None
    origin: Mapping[str, float] = field(default_factory=dict)

    def surfaces(self, rows: pd.DataFrame, metric: str) -> list[Surface]:
        """A surface for each model and draw; of a refined grid with what was not computed interpolated."""
        drawn = surfaces(rows, self.axes, metric) if self.refined is None else self.refined.surfaces(rows, metric)
        return [replace(s, origin=tuple(self.origin.get(axis, 0.0) for axis in self.axes)) for s in drawn]


def landscape_report(reading: LandscapeFacts, rows: pd.DataFrame) -> Report:
    """Numbers, then figures for each evaluator, then the path."""
    rows, path = parted(rows)
    good = rows[rows["status"].isin(["ok", "diverged"])] if len(rows) else rows
    if not len(good):
        return Report([PageSection("Landscape", ["There is no row with a result yet."])])
    if lacking := [
        a for a in reading.axes if a not in good or not np.isfinite(pd.to_numeric(good[a], errors="coerce")).all()
    ]:
        raise UsageError(
            f"rows: some have no number in the column {lacking[0]!r}, an axis: are they of this landscape?"
        )
    numbers = PageSection("Numbers", list(_numbers(reading, good, len(rows))))
    sections = [numbers]
    marks = marks_of(reading.axes, reading.line, good, path)
    for evaluator in reading.evaluators:
        measured = reading.surfaces(good, f"{evaluator}_loss")
        one = len(reading.axes) == 1
        parts = _curves(reading, evaluator, good, measured) if one else _maps(reading, evaluator, measured, marks)
        parts += topology_parts(evaluator, {model: draws[0] for model, draws in _by_model(measured).items()})
        sections.append(PageSection(f"Loss under the evaluator {evaluator}", parts))
    if len(path):
        sections.append(path_section(reading.axes, reading.evaluators, path))
    if sized := sample_size_parts(reading.evaluators, _center_rows(reading, good), good):
        sections.append(PageSection("Sample size", sized))
    summary = _summary(reading, good)
    lead = f"{'curves' if len(reading.axes) == 1 else 'surface'}-{reading.evaluators[0]}"
    return Report(sections, summary, answer=_answer(reading, good, summary), question=_question(reading), lead=lead)


def _numbers(reading: LandscapeFacts, rows: pd.DataFrame, total: int) -> Iterator[Part]:
    yield Table("The networks.", ("model", "definition"), list(reading.models.items()))
    yield (
        f"Directions: {reading.directions}. Batch normalisation: {reading.batch_norm}. Rows: {len(rows)} with a "
        f"result, {int((rows['status'] == 'diverged').sum())} of them diverged, {total - len(rows)} failed."
    )
    if reading.refined is not None:
        yield from reading.refined.table(rows)
    yield _centers(reading, rows)
    if f"norm_{reading.axes[0]}" in rows:
        yield _directions(reading, rows)
    yield _roughness(reading, rows)
    if reading.line is not None and len(reading.axes) == 1:
        yield _barriers(reading, rows)


def _center_rows(reading: LandscapeFacts, rows: pd.DataFrame) -> pd.DataFrame:
    """For each model the row of its first draw nearest to the centre."""
    distance = np.sqrt(sum((rows[a].to_numpy(float) - reading.origin.get(a, 0)) ** 2 for a in reading.axes))
    return rows.assign(_distance=distance).sort_values("_distance", kind="stable").groupby("model", sort=False).head(1)


def _centers(reading: LandscapeFacts, rows: pd.DataFrame) -> Table:
    lines: list[list[object]] = []
    for _, row in _center_rows(reading, rows).sort_index().iterrows():
        for e in reading.evaluators:
            loss, se, accuracy, n = (row.get(f"{e}_{what}") for what in ("loss", "loss_se", "accuracy", "n"))
            shown = _text(loss) + ("" if is_missing(se) else f" ± {number(se, 2)}")
            center = " and ".join(f"{c:g}" for c in dict.fromkeys(reading.origin.get(a, 0) for a in reading.axes))
            where = center if row["_distance"] == 0 else f"distance {row['_distance']:.3g} from {center}"
            lines.append([row["model"], e, where, shown, _percent(accuracy), n])
    header = ("model", "evaluator", "point", "loss ± standard error", "accuracy", "samples")
    return Table("At the centre of the grid, or the point nearest to it.", header, lines)


def _directions(reading: LandscapeFacts, rows: pd.DataFrame) -> Table:
    pairs = [f"cosine_{a}_{b}" for a, b in itertools.combinations(reading.axes, 2)]
    names = [f"norm_{a}" for a in reading.axes] + pairs
    lines = [
        [model, part["draw"].nunique(), len(part), *(_range(part[name]) for name in names)]
        for model, part in rows.groupby("model", sort=False)
    ]
    header = ("model", "draws", "points", *(n.replace("_", " ") for n in names))
    return Table("Norms of the directions and cosines between them, as used; ranges are over draws.", header, lines)


def _roughness(reading: LandscapeFacts, rows: pd.DataFrame) -> Table:
    lines: list[list[object]] = []
    for e in reading.evaluators:
        measured = reading.surfaces(rows, f"{e}_loss")
        for model, draws in _by_model(measured).items():
            r = [roughness(s) for s in draws]
            cells = [_percent(np.mean([getattr(x, name) for x in r])) for name in ("below_one", "below_ten", "convex")]
            more = [_text(np.mean([x.variation for x in r])), _text(np.mean([x.bumps for x in r]))]
            lines.append([model, e, *cells, *more, _percent(np.mean([x.diverged for x in r]))])
    caption = (
        "How rough the surfaces are, over all grid lines along an axis, averaged over draws. Variation: total "
        "variation of log10(loss) over twice its range along a line, at most 1 for a line with one valley. Extra "
        "minima: local minima of a line beyond its first. Convex: share of neighbouring triples of points whose "
        "middle loss is not above the chord."
    )
    header = ("model", "evaluator", "loss < 1", "loss < 10 x centre", "convex", "variation", "extra minima", "diverged")
    return Table(caption, header, lines)


def _barriers(reading: LandscapeFacts, rows: pd.DataFrame) -> Table:
    """Two definitions that only agree when the ends tie; so both are named."""
    lines: list[list[object]] = []
    for e, what in itertools.product(reading.evaluators, ("loss", "accuracy")):
        if (barrier := _barrier(reading, rows, e, what)) is not None:
            *heights, points = barrier
            lines.append([e, what, *map(_text, heights), points])
    caption = (
        "Barriers between the ends. Above the line: highest excess over the straight line between the ends' values "
        "(arXiv 2110.06296). Above the mean: highest value minus the mean of the ends (arXiv 2209.04836). For "
        "accuracy, how far it falls."
    )
    return Table(caption, ("evaluator", "metric", "at 0", "at 1", "above the line", "above the mean", "points"), lines)


def _barrier(
    reading: LandscapeFacts, rows: pd.DataFrame, evaluator: str, what: str
) -> tuple[float, float, float, float, int] | None:
    """Values at both ends, the barrier above the line and above the mean, and points; None where an end is missing."""
    (s, *_) = reading.surfaces(rows, f"{evaluator}_{what}")
    x = s.points[0]
    inside = (x >= 0) & (x <= 1) & np.isfinite(s.values)
    ends = [s.values[np.flatnonzero(x == end)] for end in (0, 1)]
    if not all(len(v) and np.isfinite(v[0]) for v in ends):
        return None
    a, b = (float(v[0]) for v in ends)
    sign = 1 if what == "loss" else -1
    t, y = x[inside], sign * s.values[inside]
    line = sign * ((1 - t) * a + t * b)
    return a, b, float((y - line).max()), float(y.max() - sign * (a + b) / 2), int(inside.sum())


def _curves(reading: LandscapeFacts, evaluator: str, rows: pd.DataFrame, measured: Sequence[Surface]) -> list[Part]:
    scale = Scale.of([s.values for s in measured])
    panels = []
    for what, log in (("loss", scale.log), ("accuracy", False)):
        if rows[f"{evaluator}_{what}"].notna().any():
            by_model = _by_model(reading.surfaces(rows, f"{evaluator}_{what}"))
            curves = [draws_curve(model, draws, log=log) for model, draws in by_model.items()]
            panels.append((f"{evaluator} {what}", reading.axes[0], log, curves))
    draws = max(len(d) for d in _by_model(measured).values())
    band = {1: "one draw, so no band", 2: "lines: mean of 2 draws, bands: their range"}.get(
        draws, f"lines: mean of {draws} draws, bands: Student's 95 % confidence interval of the mean"
    )
    if scale.log and draws > 1:
        band += " (of log10 for the loss)"
    caption = (
        f"Loss and accuracy under {evaluator} along {reading.axes[0]}; {band}; {_caption(reading, measured)} "
        "Dotted lines: points where a draw diverged."
    )
    return [Figure(f"curves-{evaluator}", caption, curves_picture(panels), curves_plot(panels))]


def _maps(
    reading: LandscapeFacts, evaluator: str, measured: Sequence[Surface], marks: Mapping[str, Marks]
) -> list[Part]:
    scale = Scale.of([s.values for s in measured])
    firsts = [draws[0] for draws in _by_model(measured).values()]
    label = f"{evaluator} loss"
    parts: list[Part] = []
    for first, second in itertools.combinations(range(len(reading.axes)), 2):
        flat = len(reading.axes) == 2
        panels = [(s.model, s if flat else s.slice(first, second)) for s in firsts]
        name = evaluator if flat else f"{evaluator}-{reading.axes[first]}-{reading.axes[second]}"
        where = "" if flat else "Slice through the point nearest to 0 of the other axis. "
        for i in range(0, len(panels), _SIDE_BY_SIDE):
            group = panels[i : i + _SIDE_BY_SIDE]
            tail = name if len(panels) <= _SIDE_BY_SIDE else f"{name}-{i // _SIDE_BY_SIDE + 1}"
            shown = f"{where}{_caption(reading, [s for _, s in group])} Colours: {scale.remark()}."
            drawn = [(marks.get(s.model, Marks()) if flat else Marks()).on(s) for _, s in group]
            hatched = f" Cross: the centre. {drawn[0].in_words()}Hatched grey: diverged; white: no row."
            maps = maps_picture(group, scale, label, drawn)
            parts.append(Figure(f"map-{tail}", f"Loss under {evaluator}. {shown}{hatched}", maps))
            solid = surfaces_picture(group, scale, label), surfaces_plot(group, scale, label)
            caption, data = f"Loss under {evaluator} as a surface. {shown}", surface_data(group, label)
            parts.append(Figure(f"surface-{tail}", caption, *solid, data))
    return parts


def _caption(reading: LandscapeFacts, shown: Sequence[Surface]) -> str:
    grid = " x ".join(str(len(p)) for p in shown[0].points)
    draws = sorted({s.draw for s in shown})
    which = f"draw {draws[0]}" if len(draws) == 1 else f"{len(draws)} draws"
    firsts = [draws[0] for draws in _by_model(shown).values()]
    centers = "; ".join(
        f"{s.model} {_text(s.values[s.center])} at the {'centre' if s.exact_center else 'point nearest to the centre'}"
        for s in firsts
    )
    if computed := [s.computed for s in shown if s.computed is not None]:
        grid += f" grid, {np.mean(computed):.1%} computed and the rest interpolated:"
    return (
        f"Loss: {centers}. {grid} points, {which}, directions: {reading.directions}, "
        f"batch normalisation: {reading.batch_norm}."
    )


def _by_model(measured: Sequence[Surface]) -> dict[str, list[Surface]]:
    grouped: dict[str, list[Surface]] = {}
    for s in measured:
        grouped.setdefault(s.model, []).append(s)
    return grouped


def _summary(reading: LandscapeFacts, rows: pd.DataFrame) -> dict[str, float]:
    summary: dict[str, float] = {}
    for _, row in _center_rows(reading, rows).iterrows():
        for e, what in itertools.product(reading.evaluators, ("loss", "accuracy")):
            if not pd.isna(value := row[f"{e}_{what}"]):
                summary[f"{row['model']}.{e}_{what}_at_centre"] = float(value)
    for e in reading.evaluators:
        for s in reading.surfaces(rows, f"{e}_loss"):
            if s.draw == 0:
                summary[f"{s.model}.{e}_share_below_one"] = roughness(s).below_one
    return {k: v for k, v in summary.items() if np.isfinite(v)}


def _question(reading: LandscapeFacts) -> str:
    if reading.line is not None and len(reading.axes) == 1:
        return f"Is there a barrier between the networks {' and '.join(reading.line.ends)}?"
    each = "the network" if len(reading.models) == 1 else "each network"
    place = {1: "line", 2: "plane"}.get(len(reading.axes), "space")
    return f"How much of the {place} around {each} has a low loss?"


def _answer(reading: LandscapeFacts, rows: pd.DataFrame, summary: Mapping[str, float]) -> str:
    """The barrier; else how much lies below loss 1 for each model, by the first evaluator; else the losses."""
    place = {1: "line", 2: "plane"}.get(len(reading.axes), "space")
    for e in reading.evaluators:
        if reading.line is not None and len(reading.axes) == 1:
            if (barrier := _barrier(reading, rows, e, "loss")) is not None:
                return _barrier_in_words(reading.line, e, *barrier[:3])
            continue
        shares = _of_models(summary, f".{e}_share_below_one")
        if len({0.0, 1.0, *shares.values()}) > 2:
            (model, first), *more = shares.items()
            texts = [f"{share(first)} of the {place} has a {e} loss below 1 around {model}"]
            return f"{_some([*texts, *(f'{share(value)} around {model}' for model, value in more)])}."
        if losses := _of_models(summary, f".{e}_loss_at_centre"):
            texts = [f"{number(loss, 3)} for {model}" for model, loss in losses.items()]
            return f"The {e} loss at the centre is {_some(texts)}."
    return ""


def _barrier_in_words(line: LineDirections, evaluator: str, first: float, last: float, height: float) -> str:
    ends = f"The {evaluator} loss is {number(first, 3)} at {line.ends[0]} and {number(last, 3)} at {line.ends[1]}"
    if height <= 0:
        return f"{ends}; between them it is nowhere above the straight line: there is no barrier."
    return f"{ends}; between them it rises up to {number(height, 3)} above the straight line."


def _of_models(summary: Mapping[str, float], end: str) -> dict[str, float]:
    return {name.removesuffix(end): value for name, value in summary.items() if name.endswith(end)}


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED} more models" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more


def _text(value: object) -> str:
    return "" if is_missing(value) else number(float(value), 3)  # type: ignore[arg-type]


def _range(values: pd.Series) -> str:
    low, high = _text(values.min()), _text(values.max())
    return low if low == high else f"{low} to {high}"


def _percent(value: object) -> str:
    return "" if is_missing(value) else f"{value:.1%}"
