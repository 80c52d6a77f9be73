"""Running a sweep for somebody: progress on the terminal, signals, the report at the end, the exit code."""

from __future__ import annotations

import math
import shlex
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from landsweep.orchestrator.commands.display import LinesWatch, live_watch, state
from landsweep.orchestrator.commands.follow import Follower
from landsweep.orchestrator.commands.hooks import Notifier
from landsweep.orchestrator.commands.publish import publish
from landsweep.orchestrator.commands.tracked import check_tracking
from landsweep.orchestrator.console import err
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.redaction import command_line
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.report.tables import headline
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.run.leaving import end_process
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import ledger_at, open_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.text import one_line, shortened

__all__ = ["drive", "outcome", "stop_on_signals"]

_LONGEST_ERROR = 1000  # characters
_ONE_SIGNAL_SECONDS = 2.0  # schedulers signal a job and its children: what comes twice so soon was meant once


def drive(
    kind: SweepKind[Any],
    spec: Spec,
    site: Site,
    where: str,
    folder: Path,
    again: tuple[str, ...] = (),
    command: str | None = None,
    *,
    deep: bool = False,
    own: bool = True,
    stop: threading.Event | None = None,
) -> tuple[int, Report | None]:
    """Run a sweep in this process, show its progress, publish its end; gives the exit code and the report.

    The code is 1, too, where all rows are right but the report could not be made. A run that `site.end_when` has ended
    is no stopped one, which a cluster would queue again: it has a report, and the code of a run that ended by itself.

    The arguments are those of `run_sweep`, and `command`: what goes on when it was stopped, by default what was
    typed; `own`: the sweep is this user's, or trusted: it is noted so, and the tracking store beside it may be used;
    `stop`: as `stop_on_signals` gives it, which is called where it is None.
    """
    check_tracking(site, where, own=own)
    stop = stop or stop_on_signals()
    shown = live_watch(err) if err.is_terminal else LinesWatch(err)
    with (
        shown as bar,
        Follower(bar, site, where, own=own) as followed,
        Notifier(followed, site, spec.name, where) as watch,
    ):
        end = run_sweep(kind, spec, site, where, folder=folder, watch=watch, stop=stop, again=again, deep=deep, own=own)
        followed.end(end.phase)
        watch.end(end.phase)
    if end.phase == "stopped":
        err.print(f"stopped: {end.done:,} of {_many(end.total)} units have rows in {where}; nothing is lost.")
        err.print(f"go on with: {command or f'landsweep {shlex.join(command_line())}'}")
        if not end.ended_early:
            return 3, None
    else:
        _say_end(end, where)
    opened = partial(open_sweep, where, trust=own)
    report = publish(opened, where, site, err.print)
    return (1 if end.counts.get("failed") or report is None else 0), report


def outcome(where: str, code: int, report: Report | None) -> dict[str, Any]:
    """What a run came to, with stable fields: those of `status`, and what the report says.

    Args:
        where: the results folder, a path or URL.
        code: exit code of the run.
        report: of the run, None where there is none.
    """
    summary = {} if report is None else report.summary
    return {
        **state(ledger_at(where)),
        "where": where,
        "code": code,
        "answer": "" if report is None else report.answer,
        "summary": {name: value if math.isfinite(value) else None for name, value in summary.items()},
        "claims": [] if report is None else [verdict.fields() for verdict in report.verdicts],
    }


def stop_on_signals() -> threading.Event:
    """Set by the first Ctrl-C or SIGTERM; the second ends the process at once, as a crash would."""
    stop = threading.Event()
    first = 0.0

    def handle(number: int, frame: object) -> None:
        nonlocal first
        del frame
        if stop.is_set() and time.monotonic() - first < _ONE_SIGNAL_SECONDS:
            return
        if stop.is_set():
            end_process(128 + number)
        first = time.monotonic()
        stop.set()
        err.print("\nstopping: rows that have come are being written (again to end at once)")

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    return stop


def _say_end(end: Snapshot, where: str) -> None:
    counts = ", ".join(f"{n:,} {status}" for status, n in sorted(end.counts.items()) if n)
    new = f"{end.new:,} new in {end.seconds:.1f} s" if end.new else "nothing was left to compute"
    err.print(f"done: {end.done:,} units ({counts or 'none'}); {new}")
    if end.counts.get("failed"):
        err.print(f"one that failed: {_first_error(where)}")
        again = f"landsweep rerun {shlex.quote(where)} --status failed"
        err.print(f"the report lists the failed units; compute them again: {again}")


def _first_error(where: str) -> str:
    """What happened to the first failed unit, in one line."""
    rows = ledger_at(where).rows(["status", "error"])
    failed = rows.filter(pc.equal(rows.column("status"), Status.failed.value))
    if not len(failed):
        return "its row is of another plan"
    return shortened(one_line(headline(failed.column("error")[0].as_py())), _LONGEST_ERROR)


def _many(number: int | None) -> str:
    return "an open number of" if number is None else f"{number:,}"
