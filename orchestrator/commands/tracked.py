"""Sweeps in tracking stores: which store, what it is shown, and the export that can be made again at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.claim import Verdict
from landsweep.orchestrator.commands.display import span, state
from landsweep.orchestrator.errors import LandsweepError, Unreachable, Untrusted
from landsweep.orchestrator.kind import Ranked
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.store import views
from landsweep.orchestrator.text import one_line, shortened
from landsweep.orchestrator.tracking.contents import UnitEntry, unit_entries
from landsweep.orchestrator.tracking.store import default_uri
from landsweep.orchestrator.tracking.tracker import State, View, failure, show_in_time, show_safely, tracker_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["beside", "check_tracking", "export_now", "live_view", "show_end"]

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
        tracker_of(site.tracking or beside(where, own, "site.tracking=false, site.tracking=URI")).check()


def beside(where: str, trusted: bool, instead: str) -> str:
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


def show_end(
    sweep: Sweep,
    where: str,
    site: Site,
    rows: pd.DataFrame,
    summary: Mapping[str, float],
    verdicts: Sequence[Verdict],
    say: Callable[[str], None],
) -> None:
    """Show a sweep that has ended in the site's tracking store; a store that fails costs a line and nothing else."""
    uri = site.tracking or beside(where, sweep.trusted, "site.tracking=URI")
    units: Sequence[UnitEntry] = ()
    try:
        units = _units(sweep, rows, site.child_runs)
    except Exception as e:  # noqa: BLE001 - the sweep's own run is shown all the same
        why = shortened(one_line(f"{type(e).__name__}: {e}"), _MOST_ERROR)
        say(f"MLflow gets no runs of single units: which to show could not be found out ({why})")
    say(show_safely(tracker_of(uri), _view(sweep, where, rows, units, summary, verdicts)))


def export_now(
    sweep: Sweep,
    where: str,
    uri: str | None,
    experiment: str | None,
    most: int,
    report: Callable[[], Report],
) -> str:
    """Show a sweep in a tracking store, or raise what went wrong; gives one line for the user.

    Args:
        sweep: to show.
        where: its results folder, a path or URL.
        uri: of the store; None: the default one, beside the results.
        experiment: its name there; None: by kind.
        most: units with a run of their own.
        report: writes it, once the store is known to answer.

    Raises:
        Unreachable: the store does not answer, or fails.
        Untrusted: the store would be the one beside the results of somebody else.
    """
    uri = uri or beside(where, sweep.trusted, "--uri URI")
    tracker = tracker_of(uri, experiment)
    tracker.check()
    written, rows = report(), sweep.rows()
    view = _view(sweep, where, rows, _units(sweep, rows, most), written.summary, written.verdicts)
    try:
        return show_in_time(tracker, view)
    except LandsweepError:
        raise
    except Exception as e:
        raise Unreachable(f"MLflow export to {redacted(uri)} failed: {failure(e)}. No row is lost") from e


def live_view(sweep: Sweep, where: str, most: int, ended: State | None = None) -> View:
    """A sweep as it stands now, for a tracker that follows it.

    Args:
        sweep: opened anew, so that it holds what has been committed.
        where: its results folder, a path or URL.
        most: units with a run of their own.
        ended: how its driver has ended, where that is known.
    """
    rows = sweep.rows()
    return _view(sweep, where, rows, _units(sweep, rows, most), {}, (), ended)


def _view(
    sweep: Sweep,
    where: str,
    rows: pd.DataFrame,
    units: Sequence[UnitEntry],
    summary: Mapping[str, float],
    verdicts: Sequence[Verdict],
    ended: State | None = None,
) -> View:
    now = state(sweep.ledger)
    stands = _stands(now, len(rows), ended)
    live = stands is State.running
    return View(
        sweep=_described(sweep, verdicts),
        state=stands,
        rows=rows,
        units=units,
        summary=summary,
        progress=_progress(now, len(rows), live and "phase" in now),
        note=_note(now, len(rows), live),
        report=None if live else views(where) / "report",
    )


def _stands(now: Mapping[str, Any], rows: int, ended: State | None) -> State:
    """Where a sweep stands, by its status file, by whether its driver lives, and by how that driver says it ended."""
    if now["running"]:
        return State.running
    if now.get("phase", "done") == "done" or rows == now["total"]:
        return State.finished
    return ended or State.killed


def _note(now: Mapping[str, Any], rows: int, live: bool) -> str:
    total = "?" if now.get("total") is None else f"{now['total']:,}"
    text = f"{rows:,} of {total} units"
    if not live or "phase" not in now:
        return text
    text += f", {now['rate']:,.1f} units/s, {now['workers']} workers, {span(now['eta'])} left"
    return f"{now['phase']}: {text} {one_line(now['note'])}".rstrip()


def _progress(now: Mapping[str, Any], rows: int, heard: bool) -> dict[str, float]:
    """How far a sweep is, as numbers; what only a driver knows that runs, and has said so, is left out of others."""
    total = now.get("total")
    progress = {"total": float(total), "percent": 100.0 * rows / total} if total else {}
    return progress | ({"units_per_second": now["rate"], "workers": float(now["workers"])} if heard else {})


def _units(sweep: Sweep, rows: pd.DataFrame, most: int) -> list[UnitEntry]:
    """The units with a run of their own, with their curves and the places of their files."""
    if not isinstance(sweep.kind, Ranked) or not most:
        return []
    params = {c.name: c for c in sweep.kind.params(sweep.spec)}
    place = _place(sweep)
    files = {c.name: place for c in sweep.kind.columns(sweep.spec) or () if c.checksum}
    ranked = sweep.kind.tracked(sweep.spec, rows)
    return unit_entries(ranked, params, most, lambda keys: sweep.ledger.series(keys).to_pandas(), files)


def _described(sweep: Sweep, verdicts: Sequence[Verdict]) -> dict[str, object]:
    params = sweep.kind.params(sweep.spec)
    where = _place(sweep)
    return {**sweep.manifest, "params": params, "where": where, "trusted": sweep.trusted, "verdicts": verdicts}


def _place(sweep: Sweep) -> str:
    store = sweep.ledger.store
    return store.where if store.path is None else str(store.path.resolve())
