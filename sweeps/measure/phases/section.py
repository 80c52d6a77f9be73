"""Phase diagrams for people: picture, tables, text."""

from __future__ import annotations

from typing import Any

import numpy as np

from landsweep.orchestrator.report.canvas import PALETTE, new_picture, panel_grid, plain
from landsweep.orchestrator.report.drawing import ListedColormap, LogNorm, Normalize
from landsweep.orchestrator.report.parts import Figure, PageSection, Table
from landsweep.orchestrator.report.ranges import Range
from landsweep.orchestrator.report.values import label, number
from landsweep.sweeps.measure.phases.diagram import Diagram

__all__ = ["diagram_picture", "phase_section", "phase_text"]

_NONE, _EMPTY = "-", "#dddddd"  # no phase; no rows
_PALE = 0.45  # share of the colour in a cell, so that its label can be read
_THREE_DIGITS = 99.5
_DARK = 0.6  # of the colour scale
_MOST_WRITTEN = 80  # cells that are wide enough to hold a number


def phase_section(diagram: Diagram) -> PageSection:
    """The part of a report that shows a phase diagram: picture, cells, rules."""
    rules, counts = diagram.rules, diagram.counts()
    caption = (
        f"Phases by the rules {rules.name}, version {rules.version} ({rules.source}): "
        + "; ".join(f"{p.label}, {p.doc}: {counts[p.label]}" for p in rules.phases)
        + f"; without a phase: {counts['']}. Each cell is judged by the medians over its rows; the other panels show "
        "them. Thresholds: "
        + "; ".join(f"{n} {number(t.value)} ({t.source})" for n, t in rules.thresholds.items())
        + "."
    )
    header = ("load", "temperature", "rows", *diagram.quantities, "phase")
    lines = [
        [label(v) if v == v and v is not None else _NONE for v in line] for line in diagram.cells[list(header)].values
    ]
    return PageSection(
        "Phases",
        [
            Figure("phases", caption, diagram_picture(diagram)),
            Table(_taken(diagram), header, lines, name="phases"),
            _rules_table(diagram),
        ],
    )


def _rules_table(diagram: Diagram) -> Table:
    """The rules as they were applied, with their numbers."""
    rules = diagram.rules
    lines = [[p.label, p.doc, rules.condition(p)] for p in rules.phases]
    return Table(
        f"Rules {rules.name}, version {rules.version}; the first one that holds gives the phase.",
        ("phase", "in words", "rule"),
        lines,
    )


def _taken(diagram: Diagram) -> str:
    columns = ", ".join(f"{name} is {column}" for name, column in diagram.columns.items())
    return f"Medians of the cells. In the table {columns}; {diagram.left_out} of {diagram.rows} rows are left out."


def phase_text(diagram: Diagram) -> str:
    """The diagram in letters, with the rules below."""
    loads = [label(v) for v in diagram.loads]
    there = diagram.grid("rows")
    grid = [
        ["" if there[i][j] is None else str(v) if isinstance(v, str) else _NONE for j, v in enumerate(line)]
        for i, line in enumerate(diagram.grid("phase"))
    ]
    sides = [label(t) for t in diagram.temperatures]
    width = max(len(w) for w in (*loads, *(v for line in grid for v in line)))
    side = max(len(s) for s in (*sides, "temperature"))
    lines = [f"{'temperature':>{side}}  " + " ".join(f"{'':>{width}}" for _ in loads).rstrip()]
    for t, line in reversed(list(zip(sides, grid, strict=True))):
        lines.append(f"{t:>{side}}  " + " ".join(f"{v:>{width}}" for v in line))
    lines.append(f"{'load':>{side}}  " + " ".join(f"{v:>{width}}" for v in loads))
    rules, counts = diagram.rules, diagram.counts()
    lines += ["", f"rules {rules.name}, version {rules.version}: {rules.source}"]
    lines += [f"  {p.label:<5} {counts[p.label]:>4} cells  {p.doc}: {rules.condition(p)}" for p in rules.phases]
    lines += [f"  {_NONE:<5} {counts['']:>4} cells  no rule holds, or a quantity is missing"]
    lines += [f"  {n} = {number(t.value)} ({t.source}): {t.doc}" for n, t in rules.thresholds.items()]
    lines += ["", *(f"{name}: {column}" for name, column in diagram.columns.items())]
    lines += [f"{diagram.left_out} of {diagram.rows} rows left out"] if diagram.left_out else []
    return "\n".join(line.rstrip() for line in lines)


def diagram_picture(diagram: Diagram) -> Any:  # noqa: ANN401 - matplotlib has no types
    """A map of the phases, and beside it a map of each quantity with its scale."""
    loads, temperatures = [label(v) for v in diagram.loads], [label(v) for v in diagram.temperatures]
    down, wide = panel_grid(1 + len(diagram.quantities))
    size = max(3.4, 0.5 * len(loads) + 1.5), max(2.6, 0.36 * len(temperatures) + 1.2)
    picture = new_picture(size[0] * wide, size[1] * down)
    for i, quantity in enumerate(["phase", *diagram.quantities]):
        plot = picture.add_subplot(down, wide, i + 1)
        if quantity == "phase":
            _phases(plot, diagram)
        else:
            mesh = _quantity(plot, diagram, quantity)
            picture.colorbar(mesh, ax=plot)
        plot.set(xlabel=plain(diagram.columns["load"]), ylabel=plain(diagram.columns["temperature"]))
        plot.set_title("phase" if quantity == "phase" else plain(diagram.columns[quantity]), fontsize=10)
        plot.set_facecolor(_EMPTY)
        plot.set_xticks(range(len(loads)), [plain(v) for v in loads], rotation=45 if len(loads) > 8 else 0)
        plot.set_yticks(range(len(temperatures)), [plain(v) for v in temperatures])
    return picture


def _phases(plot: Any, diagram: Diagram) -> None:  # noqa: ANN401
    labels = [phase.label for phase in diagram.rules.phases]
    palette = ListedColormap(PALETTE)
    colours = {name: np.array(palette(i % len(PALETTE))[:3]) for i, name in enumerate(labels)}
    empty = ListedColormap([_EMPTY])(0)[:3]
    grid, there = diagram.grid("phase"), diagram.grid("rows")
    shown = np.ones((len(grid), len(grid[0]), 3))
    for i, line in enumerate(grid):
        for j, phase in enumerate(line):
            if isinstance(phase, str):
                shown[i, j] = _PALE * colours[phase] + 1 - _PALE
            if there[i][j] is None:
                shown[i, j] = empty
            else:
                plot.text(j, i, phase if isinstance(phase, str) else _NONE, ha="center", va="center", size=8)
    plot.imshow(shown, origin="lower", aspect="auto", interpolation="nearest")


def _quantity(plot: Any, diagram: Diagram, quantity: str) -> Any:  # noqa: ANN401
    values = diagram.numbers(quantity)
    span = Range.of(values)
    scale = (LogNorm if span.log else Normalize)(span.low, span.high if span.high > span.low else span.low + 1e-9)
    mesh = plot.imshow(
        np.ma.masked_invalid(values), origin="lower", aspect="auto", interpolation="nearest", norm=scale, cmap="viridis"
    )
    if values.size <= _MOST_WRITTEN:
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                text = f"{value:.0f}" if _THREE_DIGITS <= abs(value) < 1e4 else f"{value:.2g}"
                colour = "white" if float(scale(value)) < _DARK else "black"
                plot.text(j, i, text, ha="center", va="center", size=7, color=colour)
    return mesh
