"""A sweep that is watched from another terminal: its state, redrawn, with the best value of each metric so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.live import Live
from rich.table import Table
from rich.text import Text

from landsweep.orchestrator.commands.display import span, state, state_text
from landsweep.orchestrator.console import out
from landsweep.orchestrator.report.values import number
from landsweep.orchestrator.row import METERS, PARAM
from landsweep.orchestrator.run.sweep import ledger_at
from landsweep.orchestrator.storage.ledger import Ledger

__all__ = ["ranges", "watch_sweep"]

_SECONDS = 2.0
_REST = 10.0  # rows are read at most a tenth of the time
_MOST_METRICS = 12


def watch_sweep(folder: str) -> None:
    """Show a sweep until its run ends; on a terminal the text is redrawn, elsewhere a line is added each time."""
    ledger = ledger_at(folder)
    table: Table | Text = Text()
    due = 0.0
    with Live(console=out, auto_refresh=False) if out.is_terminal else _Lines() as shown:
        while True:
            now = state(ledger)
            began = time.monotonic()
            if out.is_terminal and began >= due:
                table = _table(ledger)
                due = began + _REST * (time.monotonic() - began)
            shown.update(_grid(now, table), refresh=True)
            if not now["running"]:
                return
            time.sleep(_SECONDS)


class _Lines:
    """What a live display is where nothing can be redrawn."""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, shown: Table, *, refresh: bool) -> None:
        del refresh
        out.print(next(iter(shown.columns[0].cells)))


def _grid(now: Mapping[str, Any], table: Table | Text) -> Table:
    grid = Table.grid()
    elapsed = f"; {span(now['seconds'])} elapsed" if now["running"] and "seconds" in now else ""
    grid.add_row(Text(state_text(now) + elapsed))
    grid.add_row(table)
    return grid


def _table(ledger: Ledger) -> Table | Text:
    values = ranges(ledger.rows(), ledger.sweep)
    if not values:
        return Text()
    table = Table("metric", "least", "largest", "latest", box=None, pad_edge=False)
    for name, (least, largest, latest) in list(values.items())[:_MOST_METRICS]:
        table.add_row(name, number(least), number(largest), number(latest))
    return table


def ranges(rows: pa.Table, sweep: Mapping[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Least, largest and latest finite value of each metric that is a number.

    Args:
        rows: of the sweep.
        sweep: its `sweep.json`.
    """
    spec = sweep.get("spec")
    swept = [spec.get(name) for name in ("axes", "space")] if isinstance(spec, dict) else []
    passed = {"key", *(c.name for c in METERS), *(name for names in swept if isinstance(names, dict) for name in names)}
    values: dict[str, tuple[float, float, float]] = {}
    for field in rows.schema:
        is_param = (field.metadata or {}).get(b"doc") == PARAM.encode()
        if is_param or field.name in passed or not pa.types.is_floating(field.type):
            continue
        finite = rows.column(field.name).drop_null().cast(pa.float64())  # Arrow has no ends of halves
        finite = finite.filter(pc.is_finite(finite))
        if len(finite):
            ends = pc.min_max(finite)
            values[field.name] = (ends["min"].as_py(), ends["max"].as_py(), finite[len(finite) - 1].as_py())
    return values
