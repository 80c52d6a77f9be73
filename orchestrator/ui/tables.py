"""Rows and series of the sweeps that are shown, kept in memory and read again when a driver has added some."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow as pa

from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.run.sweep import ledger_at, stored_rows
from landsweep.orchestrator.storage.ledger import Damage, Ledger
from landsweep.orchestrator.ui.places import Place, Places
from landsweep.orchestrator.ui.query import Query
from landsweep.orchestrator.unit import digest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Snapshot", "Tables"]

_REST = 10.0  # a table is read for a tenth of the time at most
_MOST_TABLES = 16
_SHARE = 0.2  # of the free memory, for all tables together
_QUERIES = 32  # whose row numbers are kept, of one table
_AHEAD = 8  # sweeps whose rows are read before they are asked for


@dataclass
class Snapshot:
    """Rows of a sweep at one moment.

    Attributes:
        ledger: of the sweep.
        table: its rows.
        version: another one, if rows were added or replaced.
        damaged: parts that were left out.
        seconds: that reading took.
        moment: when it was read, on the monotonic clock.
    """

    ledger: Ledger
    table: pa.Table
    version: str
    damaged: tuple[Damage, ...]
    seconds: float
    moment: float = field(default_factory=time.monotonic)
    _found: OrderedDict[Query, pa.Array | None] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, query: Query) -> pa.Array | None:
        """Numbers of the rows that a query gives, in order; None: all.

        Raises:
            UsageError: it does not fit the table.
        """
        with self._lock:
            if query not in self._found:
                self._found[query] = query.rows(self.table)
                while len(self._found) > _QUERIES:
                    self._found.popitem(last=False)
            self._found.move_to_end(query)
            return self._found[query]

    @cached_property
    def series(self) -> pa.Table:
        """Its series, with keys and metrics as numbers of a dictionary, which takes a fraction of the memory."""
        series = self.ledger.series()
        for name in ("key", "metric"):
            place = series.schema.get_field_index(name)
            series = series.set_column(place, name, series.column(name).dictionary_encode())
        return series.unify_dictionaries().combine_chunks()

    @property
    def spec(self) -> dict[str, Any]:
        """Of the sweep, as its folder has it; empty where that is none."""
        spec = self.ledger.sweep.get("spec")
        return spec if isinstance(spec, dict) else {}

    @property
    def bytes(self) -> int:
        """That it takes in memory."""
        return int(self.table.nbytes + (self.__dict__["series"].nbytes if "series" in self.__dict__ else 0))


class Tables:
    """The snapshots that were read last; old ones are dropped when memory is short."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Snapshot] = OrderedDict()
        self._reading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def read(self, place: Place) -> Snapshot:
        """The rows of a sweep. Where a driver adds some all the time, they may be a little old.

        Raises:
            LandsweepError: it can't be read, and why.
        """
        with self._lock:
            reading = self._reading.setdefault(place.id, threading.Lock())
        with reading:
            ledger = ledger_at(place.path)
            version = _version(ledger)
            have = self._kept.get(place.id)
            if have is not None:
                rests = time.monotonic() - have.moment < _REST * have.seconds
                if have.version == version or (rests and have.ledger.sweep.get("id") == ledger.sweep.get("id")):
                    return have
            began = time.monotonic()
            table = _rows(ledger).combine_chunks()
            snapshot = Snapshot(ledger, table, version, ledger.damaged, time.monotonic() - began)
            self._keep(place.id, snapshot)
            return snapshot

    def read_ahead(self, places: Places) -> None:
        """Read the rows of some sweeps now, in a thread, so that their first page need not wait."""

        def run() -> None:
            for place in places.all()[:_AHEAD]:
                try:
                    self.read(place)
                except (LandsweepError, OSError):
                    continue  # whoever opens it is told

        _thread(run)

    def _keep(self, name: str, snapshot: Snapshot) -> None:
        with self._lock:
            self._kept[name] = snapshot
            self._kept.move_to_end(name)
            room = _SHARE * psutil.virtual_memory().available
            while len(self._kept) > 1 and (
                len(self._kept) > _MOST_TABLES or sum(s.bytes for s in self._kept.values()) > room
            ):
                self._kept.popitem(last=False)


def _rows(ledger: Ledger) -> pa.Table:
    """All rows; where the spec can't be read, as they are stored: what the kind says of its columns tells why."""
    with suppress(LandsweepError):
        return stored_rows(ledger, trust=None)
    return ledger.rows()


def _thread(run: Callable[[], None]) -> None:
    """Run it beside, under the same rules of trust: a new thread would begin without them."""
    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()


def _version(ledger: Ledger) -> str:
    """Changes with the files of rows, and when a sweep is replaced by another."""
    files: Mapping[str, int] = dict(ledger.store.list("rows"))
    return digest([repr(ledger.sweep.get("id")), sorted(files.items())], 6)  # repr: it may be no Unicode
