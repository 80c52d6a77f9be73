"""What a tracking store is to a sweep: one class, and one entry point in the group `landsweep.trackers`.

A tracker is shown the sweep as a whole, again and again while it runs and once more at its end. It brings its store up
to that state and keeps nothing itself, so that any process can do it at any time: a view that is skipped, repeated or
shown by another process makes no difference to what the store holds in the end.
"""

from __future__ import annotations

import queue
import re
import shlex
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landsweep.orchestrator.addresses import parts_of
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.redaction import redacted

if TYPE_CHECKING:
    import pandas as pd

    from landsweep.orchestrator.tracking.contents import UnitEntry

__all__ = ["GROUP", "State", "Tracker", "View", "failure", "show_in_time", "show_safely", "tracker_of"]

GROUP = "landsweep.trackers"  # entry points: classes of trackers, named by the scheme of their URIs
_PATIENCE, _PATIENCE_EACH = 600.0, 5.0  # s for a view, and for each unit that gets an entry of its own
_OF_DATABASE = re.compile(r"\(sqlite3\.\w+\) .+")
_DEFAULT = EntryPoint("mlflow", "landsweep.orchestrator.tracking.mlflow:MlflowTracker", GROUP)


class State(StrEnum):
    """Where a sweep stands."""

    running = "running"
    finished = "finished"  # every unit has a row, and not all of them failed
    killed = "killed"  # stopped by somebody, or its driver is gone
    failed = "failed"  # the driver ended with an error, or all units failed


@dataclass(frozen=True, slots=True)
class View:
    """A sweep at one moment, as a tracker shows it.

    Attributes:
        sweep: entries of `sweep.json`, and `params` (the columns of the units' params), `where` (the results folder, a
            path or URL), `trusted` (whether it is the user's own) and `verdicts` on its claims.
        state: where it stands.
        rows: one line per unit that has ended.
        units: those that get an entry of their own, with their curves.
        summary: name to number, as the kind's report gives it; empty while the sweep runs.
        progress: `total`, `percent`, `units_per_second` and `workers`, as far as they are known.
        note: where it stands, in one line for people.
        report: the folder with the report; None while the sweep runs.
    """

    sweep: Mapping[str, Any]
    state: State
    rows: pd.DataFrame
    units: Sequence[UnitEntry] = ()
    summary: Mapping[str, float] = field(default_factory=dict)
    progress: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    report: Path | None = None


class Tracker(ABC):
    """A tracking store that shows sweeps.

    Args:
        uri: of the store, as in `site.tracking`.
        experiment: the name under which it groups runs; None: the tracker's own choice.
    """

    def __init__(self, uri: str, experiment: str | None = None) -> None:
        self.uri, self.experiment = uri, experiment

    @abstractmethod
    def check(self) -> None:
        """Whether the store can be reached and written, within seconds and without a change to it.

        Raises:
            Unreachable: says what was tried and what to do.
        """

    @abstractmethod
    def show(self, view: View) -> str:
        """Bring the store to this state, and give a line for the user. Doing it twice changes nothing.

        It runs in a process of its own while the sweep runs, and in the driver's after its end.

        Raises:
            Exception: whatever goes wrong; the sweep goes on, and the store is tried again with the next view.
        """


def tracker_of(uri: str, experiment: str | None = None) -> Tracker:
    """The tracker of a store: the one named like the URI's scheme, else MLflow.

    Raises:
        SpecError: the installed package that brings it can't be loaded.
    """
    trackers = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = trackers.get(parts_of(uri).scheme, _DEFAULT)
    try:
        cls = entry.load()
    except (ImportError, AttributeError) as e:
        raise SpecError(f"tracking: the tracker {entry.value} can't be loaded ({type(e).__name__}: {e})") from e
    tracker: Tracker = cls(uri, experiment)
    return tracker


def show_in_time(tracker: Tracker, view: View) -> str:
    """`Tracker.show`, which is given up after ten minutes and five seconds for each unit that gets an entry.

    A client waits for the next byte, and a store that sends one now and then would hold its caller for ever. What is
    given up goes on in its thread, which does not keep the process.

    Raises:
        TimeoutError: it takes longer.
        Exception: whatever `show` raises.
    """
    ends: queue.Queue[str | BaseException] = queue.Queue()

    def show() -> None:
        try:
            ends.put(tracker.show(view))
        except BaseException as e:  # noqa: BLE001 - raised below
            ends.put(e)

    seconds = _PATIENCE + _PATIENCE_EACH * len(view.units)
    threading.Thread(target=copy_context().run, args=(show,), daemon=True).start()
    try:
        end = ends.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"the store has not taken the sweep within {seconds:g} s") from None
    if isinstance(end, BaseException):
        raise end
    return end


def show_safely(tracker: Tracker, view: View) -> str:
    """Show the end of a sweep; gives one line that tells the user what happened, whatever that is."""
    try:
        return show_in_time(tracker, view)
    except Exception as e:  # noqa: BLE001 - the rows are safe, so no failure of a view may end the command
        shown = redacted(tracker.uri)
        again = shlex.join(["landsweep", "export-mlflow", str(view.sweep.get("where", "DIR")), "--uri", shown])
        return f"MLflow export to {shown} failed: {failure(e)}. No row is lost; later: {again}"


def failure(error: Exception) -> str:
    """What went wrong in a tracking store, in one line and without credentials."""
    text = str(error).strip() or "no message"
    said = _OF_DATABASE.search(text)  # SQLAlchemy may put advice before it
    return f"{type(error).__name__}: {redacted(said[0] if said else text.splitlines()[0])[:300]}"
