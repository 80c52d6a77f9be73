"""After the rows: the report page and the tracking server, both views that can be made again at any time."""

from __future__ import annotations

import math
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.claim import Verdict
from landsweep.orchestrator.commands.tracked import show_end
from landsweep.orchestrator.errors import StorageError
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.report import render
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.report.readable import readable_rows, readable_series
from landsweep.orchestrator.report.tables import Head
from landsweep.orchestrator.report.verdicts import in_short, judge
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.store import Store, is_url, views
from landsweep.orchestrator.text import one_line, shortened

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["make_page", "publish", "report_of", "write_report"]

_MOST_ERROR = 300  # characters of an error in one line


def publish(opened: Callable[[], Sweep], where: str, site: Site, say: Callable[[str], None]) -> Report | None:
    """Write the report, then show the sweep in the tracking store; a store that fails harms nothing.

    Args:
        opened: gives the sweep.
        where: its results folder, a path or URL.
        site: where to show it.
        say: shows a line for each view that was made, or why it was not.

    Returns:
        The report; None where it could not be made. Then the last line says so, and the store gets the sweep all the
        same, unless its rows can't be read.
    """
    problem, sweep, rows, report = "", None, None, None
    summary: Mapping[str, float] = {}
    verdicts: Sequence[Verdict] = ()
    try:
        sweep = opened()
        rows = sweep.rows()
        page, report = write_report(sweep, where)
        summary, verdicts = report.summary, report.verdicts
        if report.answer:
            say(one_line(report.answer))
        say(f"report: {page}")
        if report.verdicts:
            say(f"claims: {in_short(report.verdicts)}; see landsweep claims {shlex.quote(where)}")
    except Exception as e:  # noqa: BLE001 - the rows are safe, and the same error can be produced again
        problem = shortened(one_line(f"{type(e).__name__}: {e}"), _MOST_ERROR)
    if site.tracking is not False and sweep is not None and rows is not None:
        show_end(sweep, where, site, rows, summary, verdicts, say)
    if problem:
        say(
            f"error: the report could not be made ({problem}). All rows are safe; to see the whole error: "
            f"landsweep report {shlex.quote(where)}"
        )
    return None if problem else report


def write_report(sweep: Sweep, where: str) -> tuple[Path, Report]:
    """Write `report/index.html` and its pictures; gives the page's path here and what the kind reported.

    The report of a sweep in an object store is written here, where a browser can open it, and copied there.

    Raises:
        StorageError: it could not be written, such as on a full disk.
    """
    head: Head = {
        "spec": sweep.manifest["spec"],
        "fingerprint": sweep.manifest["fingerprint"],
        "versions": {k: v for k, v in sweep.manifest["versions"].items() if v},
        "commit": sweep.manifest["git_commit"],
        "host": sweep.manifest["host"],
        "created": sweep.manifest["created"],
        "command": sweep.manifest["command"],
        "folder": where,
        "params": sweep.kind.params(sweep.spec),
        "columns": sweep.kind.columns(sweep.spec),
        "total": sweep.kind.planner(sweep.spec).total,
    }
    page, report = make_page(sweep.kind, sweep.spec, head, sweep.rows(), sweep.series(), views(where))
    if is_url(where):
        _copy(page.parent, sweep.ledger.store)
    return page, report


def make_page(
    kind: SweepKind[Any], spec: Spec, head: Head, rows: pd.DataFrame, series: pd.DataFrame, out: Path
) -> tuple[Path, Report]:
    """The kind's report of these rows as a page under `out`.

    Raises:
        StorageError: the page could not be written, such as on a full disk.
    """
    report = report_of(kind, spec, rows, series)
    with _values_of_any_size():
        try:
            return render(report, head, rows, series, out), report
        except OSError as e:
            raise StorageError(
                f"{out / 'report'} could not be written: {e.strerror or e}. The rows are safe; once that is fixed, "
                "`landsweep report` makes it again"
            ) from e


def report_of(kind: SweepKind[Any], spec: Spec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
    """The kind's report of these rows, with a verdict on each claim of the spec; nothing is written."""
    with _values_of_any_size():
        readable = readable_rows(rows, [*kind.params(spec), *(kind.columns(spec) or ())])
        report = kind.report(spec, readable, readable_series(series))
        summary = {name: value for name, value in report.summary.items() if math.isfinite(value)}
        verdicts = judge(spec.claims, readable, summary, report.intervals)
        return replace(report, summary=summary, verdicts=verdicts)


@contextmanager
def _values_of_any_size() -> Iterator[None]:
    """Values may be huge, not finite, or missing: a report shows them, so the libraries' warnings of them are not."""
    with warnings.catch_warnings():
        for category in (RuntimeWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        yield


def _copy(folder: Path, store: Store) -> None:
    """Copy the report to the object store, and delete there the files of an earlier one that this one lacks."""
    beside = [*(folder / "figures").glob("*.*"), *(folder / "tables").glob("*.csv")]
    files = {f"report/{p.parent.name}/{p.name}": p for p in beside}
    for path, file in [*files.items(), ("report/index.html", folder / "index.html")]:
        store.replace(path, file.read_bytes())
    for below in ("report/figures", "report/tables"):
        for name, _ in store.list(below):
            if f"{below}/{name}" not in files:
                store.delete(f"{below}/{name}")
