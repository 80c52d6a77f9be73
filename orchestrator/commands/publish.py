"""After the rows: the report page and the tracking server, both views that can be made again at any time."""

from __future__ import annotations

import math
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.claim import Verdict
from landsweep.orchestrator.errors import LandsweepError, StorageError, Unreachable, Untrusted
from landsweep.orchestrator.kind import Ranked, SweepKind
from landsweep.orchestrator.redaction import redacted
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
from landsweep.orchestrator.tracking.contents import UnitEntry, remarks, unit_entries
from landsweep.orchestrator.tracking.mlflow import export, export_safely, failure
from landsweep.orchestrator.tracking.store import check_reachable, default_uri

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_tracking", "export_now", "make_page", "publish", "report_of", "write_report"]

_MOST_ERROR = 300  # characters of an error in one line


def check_tracking(site: Site, where: str, *, own: bool = True) -> None:
    """Make sure, before any work, that the tracking store can be reached.

    Args:
        site: names it.
        where: results folder, a path or URL.
        own: they are the user's own or trusted, so the store beside them may be used.

    Raises:
        Unreachable: it can't.
        Untrusted: the store would be the one beside the results of somebody else.
    """
    if site.tracking is not False:
        check_reachable(site.tracking or _beside(where, own, "site.tracking=false, site.tracking=URI"))


def _beside(where: str, trusted: bool, instead: str) -> str:
    """URI of the default store: beside the results.

    Raises:
        Untrusted: these are not the user's own, so neither may be the store.
    """
    if trusted:
        return default_uri(views(where).parent)
    raise Untrusted(
        f"{where} is not a sweep that you ran in this place, so MLflow's file beside it may come from somebody else, "
        f"and could have files of yours written over. Nothing was done. Give {instead}, such as "
        "sqlite:////absolute/path/mlflow.db, or, where you know who made the folder, --trust"
    )


def publish(opened: Callable[[], Sweep], where: str, site: Site, say: Callable[[str], None]) -> bool:
    """Write the report, then show the sweep in the tracking store; a store that fails harms nothing.

    Args:
        opened: gives the sweep.
        where: its results folder, a path or URL.
        site: where to show it.
        say: shows a line for each view that was made, or why it was not.

    Returns:
        Whether the report could be made. Where it could not, the last line says so; the store gets the sweep all the
        same, unless its rows can't be read.
    """
    problem, sweep, rows = "", None, None
    summary: Mapping[str, float] = {}
    verdicts: Sequence[Verdict] = ()
    try:
        sweep = opened()
        rows = sweep.rows()
        page, report = write_report(sweep, where)
        summary, verdicts = report.summary, report.verdicts
        say(f"report: {page}")
        if report.verdicts:
            say(f"claims: {in_short(report.verdicts)}; see landsweep claims {shlex.quote(where)}")
    except Exception as e:  # noqa: BLE001 - the rows are safe, and the same error can be had again
        problem = shortened(one_line(f"{type(e).__name__}: {e}"), _MOST_ERROR)
    if site.tracking is not False and sweep is not None and rows is not None:
        uri = site.tracking or _beside(where, sweep.trusted, "site.tracking=URI")
        folder = views(where) / "report"
        units = list[UnitEntry]()
        try:
            units = _units(sweep, site.child_runs)
        except Exception as e:  # noqa: BLE001 - the sweep's own run is shown all the same
            why = shortened(one_line(f"{type(e).__name__}: {e}"), _MOST_ERROR)
            say(f"MLflow gets no runs of single units: which to show could not be found out ({why})")
        say(export_safely(rows, folder, _described(sweep, verdicts), summary, uri, units=units)[1])
    if problem:
        say(
            f"error: the report could not be made ({problem}). All rows are safe; to see the whole error: "
            f"landsweep report {shlex.quote(where)}"
        )
    return not problem


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
        return Report(report.sections, summary, report.intervals, verdicts)


@contextmanager
def _values_of_any_size() -> Iterator[None]:
    """Values may be huge, not finite, or missing: a report shows them, so the libraries' warnings of them are not."""
    with warnings.catch_warnings():
        for category in (RuntimeWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        yield


def _copy(folder: Path, store: Store) -> None:
    """Copy the report to the object store, and delete there the files of an earlier one that this one lacks."""
    beside = [*(folder / "figures").glob("*.png"), *(folder / "tables").glob("*.csv")]
    files = {f"report/{p.parent.name}/{p.name}": p for p in beside}
    for path, file in [*files.items(), ("report/index.html", folder / "index.html")]:
        store.replace(path, file.read_bytes())
    for below in ("report/figures", "report/tables"):
        for name, _ in store.list(below):
            if f"{below}/{name}" not in files:
                store.delete(f"{below}/{name}")


def export_now(sweep: Sweep, where: str, uri: str | None, experiment: str | None, most: int) -> str:
    """Show the sweep in a tracking store, or raise what went wrong; gives one line for the user.

    Args:
        sweep: to show.
        where: its results folder, a path or URL.
        uri: of the store; None: the default one, beside the results.
        experiment: its name there; None: by kind.
        most: units with a run of their own.

    Raises:
        Unreachable: the store does not answer, or MLflow fails.
        Untrusted: the store would be the one beside the results of somebody else.
    """
    uri = uri or _beside(where, sweep.trusted, "--uri URI")
    check_reachable(uri)
    _, report = write_report(sweep, where)
    folder, units = views(where) / "report", _units(sweep, most)
    rows, described = sweep.rows(), _described(sweep, report.verdicts)
    try:
        run = export(rows, folder, described, report.summary, uri, experiment, units)
    except LandsweepError:
        raise
    except Exception as e:
        raise Unreachable(f"MLflow export to {redacted(uri)} failed: {failure(e)}. No row is lost") from e
    return "; ".join([f"MLflow run {run} in {redacted(uri)}", *remarks(rows, described, report.summary)])


def _units(sweep: Sweep, most: int) -> list[UnitEntry]:
    params = {c.name: c for c in sweep.kind.params(sweep.spec)}
    rows = sweep.kind.tracked(sweep.spec, sweep.rows()) if isinstance(sweep.kind, Ranked) else sweep.rows().iloc[:0]
    return unit_entries(rows, params, most)


def _described(sweep: Sweep, verdicts: Sequence[Verdict]) -> dict[str, object]:
    store = sweep.ledger.store
    where = store.where if store.path is None else str(store.path.resolve())
    return {
        **sweep.manifest,
        "params": sweep.kind.params(sweep.spec),
        "where": where,
        "trusted": sweep.trusted,
        "verdicts": verdicts,
    }
