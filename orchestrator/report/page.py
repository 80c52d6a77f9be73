"""The page: head, sections, one self-contained file."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path

import pandas as pd
import yaml
from plotly.offline import get_plotlyjs

from orchestrator.report.generic import generic_section
from orchestrator.report.html import FigureWriter, details, pairs, section_html, table_html
from orchestrator.report.parts import Report, Table
from orchestrator.report.tables import Head, counts, described, headline, metric_table, number, times
from orchestrator.row import METERS, Column, Status

__all__ = ["write"]

_MOST_FAILED = 50
_MOST_TRACEBACKS = 5


def write(report: Report, head: Head, rows: pd.DataFrame, series: pd.DataFrame, out: Path) -> Path:
    """Write `report/index.html` and `report/figures/*.png` under `out`; see `orchestrator.report.render`.

    Pictures of an earlier report that this one no longer has are removed.
    """
    folder = out / "report"
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    rows = _complete(rows)
    params, metrics = described(head, rows)
    figure = FigureWriter(folder / "figures")
    sections = list(report.sections) or [generic_section(rows, params, metrics)]
    body = "".join(section_html(section, figure) for section in sections)
    page = _page(head, rows, params, metrics, report, len(series), body, out, with_plotly=figure.interactive > 0)
    for old in set((folder / "figures").glob("*.png")) - set(figure.saved):
        old.unlink()
    path = folder / "index.html"
    new = folder / ".index.html.new"
    new.write_text(page, encoding="utf-8")
    new.replace(path)  # a browser that reloads sees the old page or the new one
    return path


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with all columns that the head reads: an empty table may come without any."""
    missing = [c.name for c in METERS if c.name not in rows]
    return rows.assign(**dict.fromkeys(missing)) if missing else rows


def _page(
    head: Head,
    rows: pd.DataFrame,
    params: list[Column],
    metrics: list[Column],
    report: Report,
    points: int,
    body: str,
    out: Path,
    with_plotly: bool,
) -> str:
    spec = head.get("spec", {})
    name = str(spec.get("name", "sweep"))
    style = (files("orchestrator.report") / "page.css").read_text(encoding="utf-8")
    script = f"<script>{get_plotlyjs()}</script>\n" if with_plotly else ""
    description = str(spec.get("description") or "")
    table = metric_table(rows, metrics) if len(rows) else None
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(name)} - landsweep</title>\n<style>{style}</style>\n{script}</head><body><main>\n",
            f'<header><p class="kind">{escape(str(spec.get("kind", "")))}</p><h1>{escape(name)}</h1>\n',
            f"<p>{escape(description)}</p>\n" if description else "",
            _counters(counts(rows, head.get("total"))),
            "</header>\n",
            _failed(rows, params, str(head.get("folder", out))),
            _summary(report),
            body,
            f"<section><h2>Metrics</h2>\n{table_html(table)}</section>\n" if table else "",
            _provenance(head, rows, points),
            "</main></body></html>\n",
        ]
    )


def _counters(found: dict[str, int]) -> str:
    shown = {k: n for k, n in found.items() if n or k == Status.ok.value}
    tiles = "".join(
        f'<div class="tile {escape(k.split(":")[0].replace(" ", "-"))}"><b>{n:,}</b> {escape(k)}</div>'
        for k, n in shown.items()
    )
    return f'<div class="tiles">{tiles}</div>\n'


def _summary(report: Report) -> str:
    if not report.summary:
        return ""
    shown = {name: number(float(value)) for name, value in report.summary.items()}
    return f"<section><h2>In short</h2>\n{pairs(shown)}</section>\n"


def _failed(rows: pd.DataFrame, params: list[Column], folder: str) -> str:
    failed = rows[rows["status"] == Status.failed.value]
    if not len(failed):
        return ""
    shown = failed.head(_MOST_FAILED)
    lines = [
        [
            *(number(v) if isinstance(v := line[c.name], float) else str(v) for c in params),
            str(line["cause"] or "-"),
            number(float(line["attempt"] or 1)),
            headline(line["error"]),
            str(line["key"])[:8],
        ]
        for line in shown.to_dict("records")
    ]
    left = len(failed) - len(shown)
    caption = f"The first {len(shown)} failed units; {left:,} more are in the rows." if left else ""
    table = Table(caption, [*(c.name for c in params), "cause", "attempts", "what happened", "key"], lines)
    told: dict[str, str] = {}
    for error in failed["error"]:
        if isinstance(error, str):
            told.setdefault(headline(error), error)
    texts = "".join(details(line, text) for line, text in list(told.items())[:_MOST_TRACEBACKS])
    return (
        f'<section class="failed"><h2>Failed units</h2>\n<p>Run them again: '
        f"<code>landsweep rerun {escape(folder)} --status failed</code></p>\n{table_html(table)}{texts}</section>\n"
    )


def _provenance(head: Head, rows: pd.DataFrame, points: int) -> str:
    spent = times(rows)
    told = {
        "unit_seconds": "unit seconds (sum)",
        "cpu_seconds": "CPU seconds (sum)",
        "elapsed_seconds": "elapsed seconds (without pauses over 60 s)",
        "units_per_second": "units per second",
        "peak_memory_mb": "largest worker memory, MB",
    }
    shown: dict[str, object] = {
        "units in this report": f"{len(rows):,}",
        "points of series": f"{points:,}" if points else None,
        **{told[k]: number(v) for k, v in spent.items()},
        "workers": rows["worker"].nunique() if len(rows) else None,
        "fingerprint": head.get("fingerprint"),
        "begun": _date(head.get("created")),
        "host": head.get("host"),
        "commit": head.get("git_commit") or head.get("commit"),
        "command": " ".join(["landsweep", *map(str, head["command"])]) if head.get("command") else None,
    }
    versions = {k: v for k, v in (head.get("versions") or {}).items() if v is not None}
    if versions:
        shown["versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    spec = yaml.safe_dump(_plain(head.get("spec", {})), sort_keys=False, allow_unicode=True, width=100)
    return f"<section><h2>How it was made</h2>\n{pairs(shown)}{details('The spec', spec)}</section>\n"


def _date(seconds: object) -> str | None:
    if not isinstance(seconds, int | float):
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(value: object) -> object:
    """Plain data that YAML can write, whatever a spec was dumped to; fields that were left out are not shown."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
