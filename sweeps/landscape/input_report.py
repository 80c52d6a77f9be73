"""The report of a landscape of inputs: losses, probabilities, likelihoods and predicted classes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.report.values import is_missing
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.landscape.class_maps import classes_picture
from landsweep.sweeps.landscape.colour_scale import Scale
from landsweep.sweeps.landscape.figures import curves_picture, draws_curve, maps_picture, surfaces_picture
from landsweep.sweeps.landscape.interactive import curves_plot, surfaces_plot
from landsweep.sweeps.landscape.marks import Marks
from landsweep.sweeps.landscape.spaces import ORIGIN, InputSpace
from landsweep.sweeps.landscape.surfaces import Surface, surface_data, surfaces

__all__ = ["InputFacts", "input_report"]

_SIDE_BY_SIDE = 3  # models in one picture; more would be too small to read
_LIKELIHOOD = (
    "A classifier read as an energy-based model gives each input a likelihood, up to a constant of the network: the "
    "sum of the exponentials of its outputs (arXiv 1912.03263). Shown is its logarithm less that of the point nearest "
    "to 0, so that networks can be compared (arXiv 2008.11300)."
)
_NAMED = 4  # models in the first sentence
_SHARES = Scale(0.0, 1.0, log=False, cut=False, contours=11)


@dataclass(frozen=True, slots=True)
class InputFacts:
    """What the report must know beside the rows.

    Attributes:
        space: of the spec.
        axes: names.
        models: name to definition in words.
    """

    space: InputSpace
    axes: tuple[str, ...]
    models: Mapping[str, str]

    def firsts(self, rows: pd.DataFrame, metric: str) -> dict[str, Surface]:
        """The surface of each model's first draw."""
        drawn: dict[str, Surface] = {}
        for s in self.surfaces(rows, metric):
            drawn.setdefault(s.model, s)
        return drawn

    def surfaces(self, rows: pd.DataFrame, metric: str) -> list[Surface]:
        """A surface for each model and draw; of log-likelihoods less that of the point nearest to 0."""
        drawn = surfaces(rows, self.axes, metric)
        if metric != "log_likelihood":
            return drawn
        return [replace(s, values=s.values - s.values[s.center]) for s in drawn]


def input_report(facts: InputFacts, rows: pd.DataFrame) -> Report:
    """Numbers, predicted classes, the likelihood of inputs, then what each sample's target says of them."""
    good = rows[rows["status"].isin(["ok", "diverged"])] if len(rows) else rows
    if not len(good):
        return Report([PageSection("Landscape of inputs", ["There is no row with a result yet."])])
    classes = bool(good["predicted"].notna().any())
    sections = [PageSection("Numbers", list(_numbers(facts, good, len(rows), classes=classes)))]
    if classes and len(facts.axes) > 1:
        sections.append(PageSection("Predicted classes", list(_predictions(facts, good))))
    if classes:
        sections.append(PageSection("Likelihood of the inputs", [_LIKELIHOOD, *_shown(facts, good, "log_likelihood")]))
    for judge in facts.space.judges(facts.axes):
        parts = [
            *_shown(facts, good, f"{judge}_loss"),
            *(_shown(facts, good, f"{judge}_probability") if classes else ()),
        ]
        where = "at 0" if judge == ORIGIN else f"at 1 along {judge}"
        sections.append(PageSection(f"Judged by the target of the sample {where}", parts))
    summary = _summary(good, classes=classes)
    question = "What does the network make of the inputs between these samples?"
    if len(facts.models) > 1:
        question = "What do the networks make of the inputs between these samples?"
    lead = "predicted" if classes and len(facts.axes) > 1 else ""
    return Report(sections, summary, answer=_answer(facts, summary), question=question, lead=lead)


def _numbers(facts: InputFacts, rows: pd.DataFrame, total: int, *, classes: bool) -> Iterator[Part]:
    yield Table("The networks.", ("model", "definition"), list(facts.models.items()))
    yield (
        f"The axes move the input, {facts.space.in_words(facts.axes)}. Loss: {facts.space.loss}. Rows: {len(rows)} "
        f"with a result, {int((rows['status'] == 'diverged').sum())} of them diverged, {total - len(rows)} failed."
    )
    yield _samples(facts, rows)
    if classes:
        yield _shares(facts, rows)


def _samples(facts: InputFacts, rows: pd.DataFrame) -> Table:
    lines: list[list[object]] = []
    for (model, draw), part in rows.groupby(["model", "draw"], sort=False):
        first = part.iloc[0]
        for judge in facts.space.judges(facts.axes):
            place = {axis: float(axis == judge) for axis in facts.axes}
            at = part[np.logical_and.reduce([part[axis] == c for axis, c in place.items()])]
            columns = (f"{judge}_loss", f"{judge}_probability", "predicted")
            cells = [_value(at.iloc[0][column]) if len(at) else None for column in columns]
            apart = None if judge == ORIGIN else _value(first[f"norm_{judge}"])
            sample = [_value(first[f"{judge}_sample"]), _value(first[f"{judge}_class"]), apart]
            lines.append([model, draw, judge, *sample, *cells])
    caption = (
        "The samples that the axes lead through: their numbers in the split, their classes, how far (Euclidean) they "
        "lie from the sample at 0, and what the network gives for them where the grid has a point there."
    )
    header = ("model", "draw", "place", "sample", "class", "distance", "loss", "probability", "predicted")
    return Table(caption, header, lines, name="samples", digits=4)


def _shares(facts: InputFacts, rows: pd.DataFrame) -> Table:
    lines = []
    for model, part in rows.groupby("model", sort=False):
        own = part[part["predicted"].notna()]
        same = own["predicted"].to_numpy(float) == own["origin_class"].to_numpy(float)
        distance = _distances(facts.axes, own)
        nearest = [
            distance[(own["draw"] == draw).to_numpy() & ~same].min(initial=np.inf) for draw in own["draw"].unique()
        ]
        lines.append(
            [
                model,
                part["draw"].nunique(),
                f"{same.mean():.1%}",
                float(own["origin_probability"].mean()),
                float(own["origin_probability"].min()),
                own["predicted"].nunique(),
                float(np.median(nearest)) if np.isfinite(np.median(nearest)) else None,
            ]
        )
    caption = (
        "How far the class of the sample at 0 reaches: the share of all points that the network gives this class, and "
        "its probability over them, mean and lowest. Nearest other class: Euclidean distance from the sample at 0 to "
        "the nearest point of the grid that is given another one (none: there is no such point), median over draws."
    )
    header = ("model", "draws", "same class", "mean probability", "lowest", "classes given", "nearest other class")
    return Table(caption, header, lines, name="shares", digits=4)


def _distances(axes: Sequence[str], rows: pd.DataFrame) -> Floats:
    """How far each point lies from the sample at 0, by the lengths of the directions and the angles between them."""
    legs = {axis: (rows[axis] * rows[f"norm_{axis}"]).to_numpy(float) for axis in axes}
    squares = np.sum([leg**2 for leg in legs.values()], axis=0)
    for a, b in itertools.combinations(axes, 2):
        squares = squares + 2 * rows[f"cosine_{a}_{b}"].to_numpy(float) * legs[a] * legs[b]
    distances: Floats = np.sqrt(np.maximum(squares, 0))
    return distances


def _predictions(facts: InputFacts, rows: pd.DataFrame) -> Iterator[Part]:
    predicted, sure = facts.firsts(rows, "predicted"), facts.firsts(rows, "confidence")
    for name, where, cut in _planes(facts):
        for tail, group in _groups(list(predicted)):
            panels = [(model, cut(predicted[model]), cut(sure[model])) for model in group]
            marks = [_marks(facts, rows, model, cut(predicted[model])) for model in group]
            caption = (
                f"Class that the network gives to each input; the paler, the lower its probability. {where}"
                f"{_draw(predicted)}Diamonds: the samples, by number; a cross: the sample at 0. White: no row."
            )
            yield Figure(f"predicted{name}{tail}", caption, classes_picture(panels, marks))


def _shown(facts: InputFacts, rows: pd.DataFrame, metric: str) -> list[Part]:
    """Curves, or maps and surfaces, of one column."""
    everything = facts.surfaces(rows, metric)
    scale = Scale.of([s.values for s in everything], linear=metric == "log_likelihood")
    scale = _SHARES if metric.endswith("_probability") else scale
    label = metric.replace("_", " ")
    if len(facts.axes) == 1:
        by_model = {m: [s for s in everything if s.model == m] for m in dict.fromkeys(s.model for s in everything)}
        curves = [draws_curve(model, draws, log=scale.log) for model, draws in by_model.items()]
        panels = [(label, facts.axes[0], scale.log, curves)]
        count = max(len(draws) for draws in by_model.values())
        band = " Lines: means of two draws; bands: their range." if count == 2 else ""
        band = " Lines: means over draws; bands: Student's 95 % intervals of the means." if count > 2 else band
        caption = f"{label} along {facts.axes[0]}: {facts.space.in_words(facts.axes)}.{band}"
        return [Figure(f"curves-{metric}", caption, curves_picture(panels), curves_plot(panels))]
    firsts, parts = facts.firsts(rows, metric), list[Part]()
    for name, where, cut in _planes(facts):
        for tail, group in _groups(list(firsts)):
            panels2 = [(model, cut(firsts[model])) for model in group]
            marks = [_marks(facts, rows, model, s) for model, s in panels2]
            caption = (
                f"{label}: {facts.space.in_words(facts.axes)}. {where}{_draw(firsts)}Colours: {scale.remark()}. "
                "Diamonds: the samples, by number; a cross: the sample at 0. White: no row."
            )
            maps = maps_picture(panels2, scale, label, marks)
            parts.append(Figure(f"map-{metric}{name}{tail}", caption, maps))
            solid = (
                surfaces_picture(panels2, scale, label),
                surfaces_plot(panels2, scale, label),
                surface_data(panels2, label),
            )
            parts.append(Figure(f"surface-{metric}{name}{tail}", f"{label} as a surface. {where}", *solid))
    return parts


def _planes(facts: InputFacts) -> Iterator[tuple[str, str, Callable[[Surface], Surface]]]:
    """For each pair of axes: the end of file names, words for captions, and what cuts the plane out of a surface."""
    for first, second in itertools.combinations(range(len(facts.axes)), 2):
        if len(facts.axes) == 2:
            yield "", "", lambda s: s
        else:
            name = f"-{facts.axes[first]}-{facts.axes[second]}"
            yield name, "Slice through the point nearest to 0 of the other axis. ", partial(_sliced, first, second)


def _sliced(first: int, second: int, surface: Surface) -> Surface:
    return surface.slice(first, second)


def _groups(models: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Models that stand in one picture, and the end of its file name."""
    for i in range(0, len(models), _SIDE_BY_SIDE):
        yield "" if len(models) <= _SIDE_BY_SIDE else f"-{i // _SIDE_BY_SIDE + 1}", models[i : i + _SIDE_BY_SIDE]


def _marks(facts: InputFacts, rows: pd.DataFrame, model: str, surface: Surface) -> Marks:
    """The samples, by name and class, as far as they lie in the plane of a surface."""
    first = rows[(rows["model"] == model) & (rows["draw"] == surface.draw)].iloc[0]
    places = {}
    for judge in facts.space.judges(facts.axes):
        if judge == ORIGIN or judge in surface.axes:
            kind = first[f"{judge}_class"]
            name = f"{first[f'{judge}_sample']:g}" + ("" if pd.isna(kind) else f" (class {kind:g})")
            places[name] = (float(judge == surface.axes[0]), float(judge == surface.axes[1]))
    return Marks(places=places)


def _draw(firsts: Mapping[str, Surface]) -> str:
    return f"Draw {next(iter(firsts.values())).draw}. "


def _summary(rows: pd.DataFrame, *, classes: bool) -> dict[str, float]:
    summary: dict[str, float] = {}
    for model, part in rows.groupby("model", sort=False):
        summary[f"{model}.origin_loss_mean"] = float(part["origin_loss"].mean())
        if classes:
            same = part["predicted"].to_numpy(float) == part["origin_class"].to_numpy(float)
            summary[f"{model}.same_class"] = float(same.mean())
            summary[f"{model}.origin_probability_mean"] = float(part["origin_probability"].mean())
    return {k: v for k, v in summary.items() if np.isfinite(v)}


def _answer(facts: InputFacts, summary: Mapping[str, float]) -> str:
    """How far the class of the sample at 0 reaches for each network; without classes the mean losses."""
    place = "line" if len(facts.axes) == 1 else "plane"
    for end, words, shown in (
        (".same_class", f"Share of the {place} that is given the class of the sample at 0", ".1%"),
        (".origin_loss_mean", f"Mean loss over the {place}", ".3g"),
    ):
        named = {k.removesuffix(end): v for k, v in summary.items() if k.endswith(end)}
        if named:
            texts = [f"{value:{shown}} for {model}" for model, value in named.items()]
            more = f" and {len(texts) - _NAMED} more models" if len(texts) > _NAMED else ""
            return f"{words}: {', '.join(texts[:_NAMED])}{more}."
    return ""


def _value(value: object) -> object:
    return None if is_missing(value) else value
