"""Deaths of the driver, or of its Ray, with units in flight: no run can count its own, so the next one is told.

`in-flight.json` lies in the results from the first unit to the end of a run. One that a run finds there says that the
run before was killed. From then on what is in flight is noted before it is handed out, and what was in flight at a
death is under suspicion. A unit that kills was in flight at each death, so suspects are those that were so every time.
They go out each in a shard of its own, at most half of them at once: the next death tells which half. Only a death with
a single suspect is charged, and a unit that is charged more often than `budgets.driver` allows is given up.

A preparation is one work, so `preparing.json` only counts how many drivers in a row have died during it.

The units of a pack, whose session may have kept the state of just these units, stay together the first time, and are
halved from then on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from landsweep.orchestrator.errors import ClusterLost, LandsweepError, PreparationFailed, StorageError, TakenOver
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.schedule import GivenUp
from landsweep.orchestrator.storage.readers import number_in, object_or_none
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.unit import Unit

__all__ = ["FILE", "PREPARING", "DriverDeaths", "Suspect", "preparing", "was_killed"]

FILE, PREPARING = "in-flight.json", "preparing.json"
_MOST = 8192  # units in flight at once, where they are noted: bounds the file


@dataclass(frozen=True, slots=True)
class Suspect:
    """A unit that was in flight when a driver or its Ray died, each time since it is under suspicion.

    Attributes:
        deaths: how often.
        alone: how often of these it was the only suspect.
    """

    deaths: int = 0
    alone: int = 0


class DriverDeaths:
    """What is remembered of the runs before, and noted for those to come.

    Args:
        store: of the sweep.
        budget: how many deaths with a single suspect a unit may have.

    Attributes:
        careful: whether the run before ended without a word, so that what is in flight is noted.
        suspects: units without a row that were in flight when a run died, by key.
    """

    def __init__(self, store: Store, budget: int) -> None:
        self._store, self._budget = store, budget
        self.careful = False
        self.suspects: dict[str, Suspect] = {}
        self._groups: list[list[str]] = []  # of suspects, as they were in flight
        self._waiting: dict[str, Unit] = {}  # suspects that have not been handed out
        self._pieces = 0  # into which the suspects fall
        self._out: list[list[str]] = []  # pieces that have been handed out

    @contextmanager
    def remembered(
        self, done: Container[str], flights: Callable[[], Iterable[Sequence[Unit]]], say: Callable[[str], None]
    ) -> Iterator[None]:
        """While this lasts a run computes; deaths that end it are remembered for the next one.

        Args:
            done: keys of the units that have a row.
            flights: gives the units that are in flight.
            say: shows the user a line.
        """
        self.begin(done)
        if self.careful:
            alone = f"; {n:,} units that were in flight are computed alone" if (n := len(self.suspects)) else ""
            say(f"the last run was killed: what is in flight is noted from now on{alone}")
        try:
            yield
        except ClusterLost:
            with suppress(StorageError):  # the mark of this run says at least that it did not end in order
                self.note(flights())
            raise
        except TakenOver:  # the file is of the run that has taken over
            raise
        except BaseException:
            with suppress(LandsweepError):  # the first error is the one that counts
                self.end(done)
            raise
        self.end(done)

    def begin(self, done: Container[str]) -> None:
        """Read what the run before has left, and leave a mark that this one runs.

        Args:
            done: keys of the units that have a row.

        Raises:
            StorageError: it can't be written.
        """
        note = _read(self._store)
        if note is not None:
            self.careful = True
            before = {key: Suspect(*counts) for key, counts in note["suspects"].items() if key not in done}
            shards = [[k for k in keys if k not in done] for keys in note["shards"] or ()]
            self.suspects, self._groups = _suspected(before, [keys for keys in shards if keys])
        self._write([] if self.careful else None)

    def note(self, flights: Iterable[Sequence[Unit]]) -> None:
        """Write down what will be in flight now.

        Raises:
            StorageError: it can't be written; then nothing may be handed out.
        """
        self._write([[unit.key for unit in units] for units in flights])

    def end(self, done: Container[str]) -> None:
        """The run ends in order: what is in flight is nobody's fault. Suspects without a row stay under suspicion.

        Raises:
            StorageError: it can't be written.
        """
        self.suspects = {key: suspect for key, suspect in self.suspects.items() if key not in done}
        if self.suspects:
            self._write([])
        else:
            self._store.delete(FILE)

    def longest_shard(self, workers: int) -> int | None:
        """How many units a shard may have so that notes stay short; None: any number."""
        return max(1, _MOST // max(1, 2 * workers)) if self.careful else None

    def unsuspected(self, units: Iterable[Unit]) -> tuple[list[Unit], list[GivenUp]]:
        """Units that may be handed out as usual, and those that are given up; suspects wait until `due` gives them."""
        free, given_up = [], []
        for unit in units:
            suspect = self.suspects.get(unit.key)
            if suspect is None:
                free.append(unit)
            elif suspect.alone <= self._budget:
                self._waiting[unit.key] = unit
            else:
                given_up.append(GivenUp(unit, Cause.infra, self._why(suspect), suspect.deaths))
        return free, given_up

    def _why(self, suspect: Suspect) -> str:
        return (
            f"the driver or its Ray died {suspect.deaths} times while this unit was being computed, {suspect.alone} of "
            f"them with no other unit left that had been there each time; site.budgets.driver is {self._budget}. "
            "To try again: landsweep rerun DIR --status failed --cause infra"
        )

    @property
    def waiting(self) -> bool:
        """Whether suspects have not been handed out yet."""
        return bool(self._waiting)

    def due(self, done: Container[str]) -> list[list[Unit]]:
        """Suspects to be handed out now, each list as one shard."""
        if not self._waiting:
            return []
        self._out = [keys for keys in self._out if any(key not in done for key in keys)]
        pieces = [piece for group in self._groups for piece in self._cut(group)]
        self._pieces = max(self._pieces, len(pieces))
        due = pieces[: max(0, math.ceil(self._pieces / 2) - len(self._out))]
        for piece in due:
            self._out.append([unit.key for unit in piece])
            for unit in piece:
                del self._waiting[unit.key]
        return due

    def _cut(self, group: Sequence[str]) -> list[list[Unit]]:
        units = [self._waiting[key] for key in group if key in self._waiting]
        if not units or not units[0].pack:
            return [[unit] for unit in units]
        if max(self.suspects[unit.key].deaths for unit in units) < 2:
            return [units]
        middle = math.ceil(len(units) / 2)
        return [piece for piece in (units[:middle], units[middle:]) if piece]

    def _write(self, shards: list[list[str]] | None) -> None:
        suspects = {key: list(asdict(suspect).values()) for key, suspect in self.suspects.items()}
        self._store.replace(FILE, json.dumps({"shards": shards, "suspects": suspects}).encode())


@contextmanager
def preparing(store: Store, names: Sequence[str], budget: int) -> Iterator[None]:
    """While this lasts arrays are prepared; the next run knows if this one dies meanwhile.

    Args:
        store: of the sweep.
        names: of the preparations.
        budget: how many deaths in a row are forgiven.

    Raises:
        PreparationFailed: there were more; nothing is tried this time, but the next run does so.
        StorageError: the count can't be written.
    """
    deaths = _deaths(store)
    if deaths > budget:
        store.delete(PREPARING)
        raise PreparationFailed(
            f"the driver or its Ray died {deaths} times in a row while {', '.join(names)} was prepared; "
            f"site.budgets.driver is {budget}. Is there enough memory for it? The same command tries again"
        )
    store.replace(PREPARING, json.dumps({"deaths": deaths + 1}).encode())
    try:
        yield
    except (ClusterLost, TakenOver):  # a death; the file is of the run that has taken over
        raise
    except BaseException:
        with suppress(LandsweepError):  # the first error is the one that counts
            store.delete(PREPARING)
        raise
    store.delete(PREPARING)


def _deaths(store: Store) -> int:
    try:
        note = object_or_none(store.read(PREPARING)) or {}
    except FileNotFoundError:
        return 0
    return int(number_in(note, "deaths", otherwise=1))  # damaged: a run was killed, nobody knows how often


def _suspected(before: Mapping[str, Suspect], shards: list[list[str]]) -> tuple[dict[str, Suspect], list[list[str]]]:
    """Suspects after a death with these shards in flight, and their groups."""
    flight = [key for keys in shards for key in keys]
    if not flight:  # the run before ended in order, or before it had handed out anything
        return dict(before), [[key] for key in before]
    common = {key for key in flight if key in before} or set(flight)
    suspects = {}
    for key in common:
        was = before.get(key, Suspect())
        suspects[key] = Suspect(was.deaths + 1, was.alone + (len(common) == 1))
    groups = [[key for key in keys if key in common] for keys in shards]
    return suspects, [keys for keys in groups if keys]


def was_killed(store: Store) -> bool:
    """Whether the last run of the sweep in a store ended without a word, or still goes on."""
    return _read(store) is not None


def _read(store: Store) -> dict[str, Any] | None:
    """What the run before has left; None: it ended in order. What can't be read says only that it did not."""
    try:
        note = object_or_none(store.read(FILE)) or {}
    except FileNotFoundError:
        return None
    try:
        shards, suspects = note["shards"], note["suspects"]
        if not all(isinstance(c, list) and len(c) == 2 and all(type(n) is int for n in c) for c in suspects.values()):
            raise ValueError(suspects)
        return {"shards": [list(map(str, keys)) for keys in shards or ()], "suspects": suspects}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"shards": None, "suspects": {}}
