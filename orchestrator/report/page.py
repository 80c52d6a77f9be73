"""The page: head, sections, one self-contained file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from landsweep.orchestrator.reading import write_yaml
from landsweep.orchestrator.report.commands import commands_for
from landsweep.orchestrator.report.generic import generic_section
from landsweep.orchestrator.report.html import FailuresView, Page, PageWriter, page_html, table_view
from landsweep.orchestrator.report.order import figures_first
from landsweep.orchestrator.report.parts import PageSection, Report, Table
from landsweep.orchestrator.report.tables import Head, counts, described, headline, metric_table, times
from landsweep.orchestrator.report.values import brief, is_missing, number
from landsweep.orchestrator.report.verdicts import claims_section
from landsweep.orchestrator.row import METERS, Column, Status
from landsweep.orchestrator.storage.inside import folder_in, no_links, write_in
from landsweep.orchestrator.text import shortened

__all__ = ["write"]

_MOST_FAILED = 50
_MOST_TRACEBACKS = 5
_MOST_ERROR = 200  # characters of what happened, in the table


def write(report: Report, head: Head, rows: pd.DataFrame, series: pd.DataFrame, out: Path) -> Path:
    """Write `report/index.html`, pictures, their numbers and tables beside it; see `report.render`.

    Pictures and tables of an earlier report that this one no longer has are removed.

    Raises:
        Untrusted: the folder of the report is a link, or holds one.
    """
    folder = folder_in(out, "report")
    no_links(folder)  # it is written into, and sent to the tracking store whole
    folder_in(folder, "figures")
    rows = _complete(rows)
    writer = PageWriter(folder)
    page = page_html(_page(head, rows, report, series, out, writer))
    for old in {*(folder / "figures").glob("*.*"), *(folder / "tables").glob("*.csv")} - set(writer.saved):
        old.unlink()
    for left in folder.rglob(".*.new"):  # by a report that was killed
        left.unlink()
    return write_in(folder, "index.html", page)  # a browser that reloads sees the old page or the new one


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with all columns that the head reads: an empty table may come without any."""
    missing = [c.name for c in METERS if c.name not in rows]
    return rows.assign(**dict.fromkeys(missing)) if missing else rows


def _page(head: Head, rows: pd.DataFrame, report: Report, series: pd.DataFrame, out: Path, writer: PageWriter) -> Page:
    params, metrics = described(head, rows)
    spec = head.get("spec", {})
    ordered = figures_first(report.sections or [generic_section(rows, params, metrics, series)], report.lead)
    lead = writer.figure(ordered.lead) if ordered.lead is not None else None
    verdicts = writer.section(claims_section(report.verdicts)) if report.verdicts else None
    figures = [writer.section(section) for section in ordered.figures]
    where = str(head.get("folder", out))
    return Page(
        title=str(spec.get("name", "sweep")),
        kind=str(spec.get("kind", "")),
        intro=str(spec.get("description") or ""),
        question=report.question,
        answer=report.answer,
        lead=lead,
        tiles=_tiles(counts(rows, head.get("total"))),
        failed=_failed(rows, params, where),
        verdicts=verdicts,
        sections=figures,
        tables=[writer.section(section) for section in (*ordered.tables, *_numbers(report, rows, metrics))],
        commands=commands_for(where, head.get("command") or ()),
        facts=_facts(head, rows, len(series)),
        spec_title="The spec",
        spec=write_yaml(brief(spec)),
        interactive=writer.interactive > 0,
    )


def _numbers(report: Report, rows: pd.DataFrame, metrics: Sequence[Column]) -> Iterator[PageSection]:
    """The numbers that sum the sweep up, by the names that claims and tracking stores know, and all metrics."""
    if report.summary:
        lines = [[name, float(v), *(report.intervals.get(name) or (None, None))] for name, v in report.summary.items()]
        wide = 4 if report.intervals else 2
        caption = "The numbers of this sweep by the names under which claims and MLflow know them"
        caption += "; low and high: 95 % interval." if report.intervals else "."
        header = ("name", "value", "low", "high")[:wide]
        yield PageSection("Numbers", [Table(caption, header, [line[:wide] for line in lines], name="summary")])
    if len(rows) and (table := metric_table(rows, metrics)) is not None:
        yield PageSection("Metrics", [table])


def _tiles(counters: dict[str, int]) -> list[tuple[str, str, str]]:
    """Class, name and number of each counter."""
    shown = {k: n for k, n in counters.items() if n or k == Status.ok.value}
    return [(k.split(":")[0].replace(" ", "-"), k, f"{n:,}") for k, n in shown.items()]


def _failed(rows: pd.DataFrame, params: list[Column], folder: str) -> FailuresView | None:
    failed = rows[rows["status"] == Status.failed.value]
    if not len(failed):
        return None
    first = failed.head(_MOST_FAILED)
    lines = [
        [
            *(line[c.name] for c in params),
            line["cause"],
            1 if is_missing(line["attempt"]) else int(line["attempt"]),
            shortened(headline(line["error"]), _MOST_ERROR),
            str(line["key"])[:8],
        ]
        for line in first.to_dict("records")
    ]
    left = len(failed) - len(first)
    caption = f"The first {len(first)} failed units; {left:,} more are in the rows." if left else ""
    table = Table(caption, [*(c.name for c in params), "cause", "attempts", "what happened", "key"], lines)
    texts: dict[str, str] = {}
    for error in failed["error"]:
        if len(texts) < _MOST_TRACEBACKS and isinstance(error, str):
            texts.setdefault(shortened(headline(error), _MOST_ERROR), error)
    command = f"landsweep rerun {shlex.quote(folder)} --status failed"
    return FailuresView(command, table_view(table), texts)


def _facts(head: Head, rows: pd.DataFrame, points: int) -> dict[str, str | None]:
    spent = times(rows)
    names = {
        "unit_seconds": "unit seconds (sum)",
        "cpu_seconds": "CPU seconds (sum)",
        "elapsed_seconds": "elapsed seconds (without pauses over 60 s)",
        "units_per_second": "units per second",
        "peak_memory_mb": "largest worker memory, MB",
    }
    facts: dict[str, object] = {
        "units in this report": f"{len(rows):,}",
        "points of series": f"{points:,}" if points else None,
        **{names[k]: number(v) for k, v in spent.items()},
        "workers": rows["worker"].nunique() if len(rows) else None,
        "fingerprint": head.get("fingerprint"),
        "begun": _date(head.get("created")),
        "host": head.get("host"),
        "commit": head.get("git_commit") or head.get("commit"),
    }
    versions = {k: v for k, v in (head.get("versions") or {}).items() if v is not None}
    if versions:
        facts["versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    return {k: None if v is None else str(v) for k, v in facts.items()}


def _date(seconds: object) -> str | None:
    if not isinstance(seconds, int | float):
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
