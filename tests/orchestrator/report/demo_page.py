"""Rows of a small sweep, the page of its report, and what a browser would read there."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd

from landsweep.orchestrator.report import render
from landsweep.orchestrator.report.parts import Figure, PageSection, Report
from landsweep.orchestrator.row import Cause, Column, Outcome, RowMaker, Status
from landsweep.orchestrator.unit import Keys

NO_SERIES = pd.DataFrame({"key": [], "step": [], "metric": [], "value": []})
KEYS = Keys("demo", 1, {})
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    x\nValueError: <b>bad</b>\n'


def table(
    params: list[dict[str, Any]], metrics: list[dict[str, Any]], bad: dict[int, tuple[Status, str]] | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows as the ledger gives them, and the head that goes with them."""
    columns = {k: [p[k] for p in params] for k in params[0]} if params else {"x": []}
    kinds = {k: {type(v) for v in values} for k, values in columns.items()}
    types = {k: "text" if str in t else "int" if t == {int} else "float" for k, t in kinds.items()}
    declared = [Column(k, "param of the unit", type=t) for k, t in types.items()]  # type: ignore[arg-type]
    units = [KEYS.unit(p) for p in params]
    outcomes = [Outcome(u.key, m) for u, m in zip(units, metrics, strict=True)]
    for i, (status, error) in (bad or {}).items():
        cause = Cause.error if status is Status.failed else None
        outcomes[i] = Outcome(units[i].key, {}, status, error, cause)
    meters = [
        {"attempt": 1, "worker": "h:1", "ended": 1000.0 + i, "seconds": 0.5, "cpu_seconds": 0.4, "peak_memory": 99.0}
        for i in range(len(units))
    ]
    rows = RowMaker(declared, None).batch(units, outcomes, meters).to_pandas()
    return rows, {"spec": {"name": "demo", "kind": "function"}, "params": declared, "columns": None}


class Page(HTMLParser):
    """What a browser would load or show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.images = 0
        self.feed(html)
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)
        self.images += tag == "img"
        self.sources += [v for k, v in given.items() if k in ("src", "href") and v and not v.startswith("data:")]
        self.ids += [v for k, v in given.items() if k == "id" and v]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def shown(rows: pd.DataFrame, head: dict[str, Any], out: Path, report: Report | None = None) -> Page:
    path = render(report or Report(()), head, rows, NO_SERIES, out)
    assert path == out / "report" / "index.html"
    page = Page(path.read_text(encoding="utf-8"))
    for source in page.sources:
        assert (path.parent / source).is_file(), f"{source}: the page may only point to its own pictures"
    assert len(set(page.ids)) == len(page.ids)
    return page


def pictures(out: Path) -> list[str]:
    found = sorted(p.name for p in (out / "report" / "figures").glob("*.png"))
    assert all((out / "report" / "figures" / p).read_bytes().startswith(b"\x89PNG") for p in found)
    return found


def figure_named(section: PageSection, name: str) -> Figure:
    return next(p for p in section.parts if isinstance(p, Figure) and p.name == name)
