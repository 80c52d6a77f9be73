"""What a kind says of its sweep: columns and figures, as its report has them. No kind is known here by name."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import plotly.io

from landsweep.orchestrator.commands.publish import report_of
from landsweep.orchestrator.errors import LandsweepError, UsageError
from landsweep.orchestrator.report.drawing import drawn
from landsweep.orchestrator.report.figure_data import numbers_of
from landsweep.orchestrator.report.generic import generic_section
from landsweep.orchestrator.report.html import table_view, without_tags
from landsweep.orchestrator.report.parts import Figure, PageSection, Report, Table
from landsweep.orchestrator.report.tables import described
from landsweep.orchestrator.report.values import number
from landsweep.orchestrator.report.verdicts import claims_section
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.text import anchor
from landsweep.orchestrator.trust import reading
from landsweep.orchestrator.ui.about import columns, problem
from landsweep.orchestrator.ui.cells import line, text
from landsweep.orchestrator.ui.places import Place
from landsweep.orchestrator.ui.tables import Snapshot

__all__ = ["Kinds"]

_MOST = 8  # reports that are kept
_LONGEST = 20_000  # characters of a paragraph
_EVALUATING = {"parcoords", "scattergl", "splom", "scatterpolargl"}  # traces of WebGL that build code from text


@dataclass(frozen=True)
class _Made:
    """A report and its figures by the names that stand in addresses."""

    version: str
    rows: int
    report: Report
    figures: Mapping[str, Figure]
    sections: list[dict[str, Any]]


class Kinds:
    """Opens sweeps with their kinds, one at a time: libraries that draw don't bear two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[str, _Made] = OrderedDict()
        self._opened: OrderedDict[str, tuple[Mapping[str, Any], Sweep]] = OrderedDict()

    def columns(self, snapshot: Snapshot, place: Place) -> dict[str, Any]:
        """The columns of the rows as the kind declares them; where it can't, why."""
        schema, spec = snapshot.table.schema, snapshot.spec
        try:
            with self._lock:
                sweep = self._open(snapshot, place)
                with reading(place.where):
                    params, metrics = sweep.kind.params(sweep.spec), sweep.kind.columns(sweep.spec) or ()
        except Exception as e:  # noqa: BLE001 - a spec of another version, or of a kind that is not installed
            return {"columns": columns(schema, spec), "problem": _reason(e)}
        return {"columns": columns(schema, spec, params, metrics)}

    def again(self, snapshot: Snapshot, place: Place) -> str:
        """The kind's command that computes one unit again, with {folder} and {key}; empty where there is none."""
        try:
            with self._lock:
                return self._open(snapshot, place).kind.again
        except Exception:  # noqa: BLE001 - as above; what it says of columns tells why
            return ""

    def report(self, snapshot: Snapshot, place: Place) -> dict[str, Any]:
        """The kind's report as JSON: answer, numbers, and sections of texts, tables and figures.

        Raises:
            UsageError: it can't be made from these rows.
        """
        with self._lock:
            made = self._report(snapshot, place)
        return {
            "version": made.version,
            "rows": made.rows,
            "answer": line(made.report.answer, _LONGEST),
            "summary": {line(name): number(float(value)) for name, value in made.report.summary.items()},
            "sections": made.sections,
        }

    def figure(self, snapshot: Snapshot, place: Place, name: str, form: Literal["png", "svg", "csv", "json"]) -> bytes:
        """A figure of the report as a file: drawn, the numbers that it shows, or for Plotly.

        Raises:
            UsageError: there is none of that name or form.
        """
        with self._lock:
            figure = self._report(snapshot, place).figures.get(name)
            if figure is None:
                raise UsageError(f"the report of {place.where} has no figure {name[:80]!r}")
            if form == "json" and figure.interactive is not None:
                return _plotly(figure).encode()
            if figure.picture is None or form == "json":
                raise UsageError(f"the figure {name[:80]} does not come as {form}")
            if form == "csv":
                return str(numbers_of(figure).to_csv(index=False)).encode("utf-8", "backslashreplace")
            metadata = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
            return drawn(figure.picture, format=form, dpi=150, metadata=metadata)

    def _open(self, snapshot: Snapshot, place: Place) -> Sweep:
        """The sweep with its kind; nothing that its folder names is imported, also of a sweep of this user."""
        opened = self._opened.get(place.id)
        if opened is None or opened[0] != snapshot.ledger.sweep:
            self._opened[place.id] = opened = (snapshot.ledger.sweep, Sweep(snapshot.ledger, trust=None))
            while len(self._opened) > _MOST:
                self._opened.popitem(last=False)
        return opened[1]

    def _report(self, snapshot: Snapshot, place: Place) -> _Made:
        made = self._made.get(place.id)
        if made is None or made.version != snapshot.version:
            try:
                made = self._make(snapshot, place)
            except LandsweepError:
                raise
            except Exception as e:
                raise UsageError(f"the report can't be made from these rows: {_reason(e)}") from e
            self._made[place.id] = made
            while len(self._made) > _MOST:
                self._made.popitem(last=False)
        return made

    def _make(self, snapshot: Snapshot, place: Place) -> _Made:
        sweep = self._open(snapshot, place)
        rows, series = sweep.rows(), sweep.series()
        with reading(place.where):
            report = report_of(sweep.kind, sweep.spec, rows, series)
            head = {"params": sweep.kind.params(sweep.spec), "columns": sweep.kind.columns(sweep.spec)}
        claims = [claims_section(report.verdicts)] if report.verdicts else []
        sections = [*claims, *(report.sections or [generic_section(rows, *described(head, rows), series)])]
        figures: dict[str, Figure] = {}
        shown = [_section(section, figures) for section in sections]
        return _Made(snapshot.version, len(rows), report, figures, shown)


def _section(section: PageSection, figures: dict[str, Figure]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for part in section.parts:
        if isinstance(part, Table):
            view = table_view(part)
            parts.append(
                {"table": {"header": list(view.header), "lines": view.lines, "right": list(view.right)}}
                | {"caption": text(view.caption, _LONGEST), "name": anchor(part.name) if part.name else ""}
            )
        elif isinstance(part, Figure):
            name = _free(anchor(part.name), figures)
            figures[name] = part
            shown = {"name": name, "drawn": part.picture is not None, "interactive": _is_interactive(part)}
            parts.append({"figure": shown, "caption": text(part.caption, _LONGEST)})
        else:
            parts.append({"text": text(part, _LONGEST)})
    return {"title": line(section.title), "parts": parts}


def _free(name: str, taken: Mapping[str, object]) -> str:
    unique, i = name, 2
    while unique in taken:
        unique, i = f"{name}-{i}", i + 1
    return unique


def _is_interactive(figure: Figure) -> bool:
    """Whether the page can show it by Plotly, where no code may be made from text."""
    if figure.interactive is None:
        return False
    return not {trace.type for trace in figure.interactive.data} & _EVALUATING


def _plotly(figure: Figure) -> str:
    plain = without_tags(figure.interactive.to_plotly_json())
    text_of = io.StringIO()
    text_of.write(plotly.io.to_json(plain, validate=False))
    return text_of.getvalue()


def _reason(error: Exception) -> str:
    return problem(error) if isinstance(error, LandsweepError) else f"{type(error).__name__}: {problem(error)}"
