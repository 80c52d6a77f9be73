"""Who computes what: pure bookkeeping of shards out and events in. No clock, no I/O.

Invariant, held by a property test over any order of events: every unit that was added ends exactly once, either by
a row that `accept_rows` accepts or as given up.

A lost shard goes back in pieces. Sessions compute in order, so its first unfinished unit is the suspect: it goes alone,
and the rest stays whole; the rest of a piece that is lost again is halved. A loss counts against a unit only if it was
alone in its shard. So no unit pays for a neighbour, and pieces shrink until the culprit is alone.

A unit that takes several devices goes to a gang of workers, in a shard of its own.

Units of one pack are computed at once, however long it takes, so a shard holds whole packs of the size that the kind
has found best, or equal parts where that would leave workers idle. A pack whose worker died goes back as it was, once:
its session may have kept the state of just these units. Lost again, or out of memory, it is halved.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.unit import Unit

__all__ = ["GivenUp", "Shard", "ShardSchedule"]

_LARGEST = 8192  # units of one shard: bounds what one message carries
_SHORTEST = 0.1  # share of `shard_seconds`: shorter shards cost more in messages than they gain in balance
_AHEAD = 3  # shards per worker that should wait
_GANGS = 4  # times as many units may wait for gangs before no more units are asked for
_GROWTH = 8  # a shard is at most this many times as large as the largest that came back: first timings mislead


@dataclass(frozen=True, slots=True)
class Shard:
    """Units that one worker computes in one call.

    Attributes:
        id: unique within a run.
        units: in the order in which they should be computed.
        attempts: key to number, for units that are not computed for the first time.
        probe: whether to evaluate the first unit twice and refuse when the results differ.
        devices: how many the worker must have: more than 1 are a gang.
    """

    id: int
    units: tuple[Unit, ...]
    attempts: Mapping[str, int] = field(default_factory=dict)
    probe: bool = False
    devices: int = 1


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A unit whose budget for one class of failure is used up."""

    unit: Unit
    cause: Cause
    why: str
    attempts: int


@dataclass(slots=True)
class _Flight:
    units: dict[str, Unit]  # without a row yet, in order
    size: int
    piece: bool  # came out of a lost shard
    packed: bool  # its units are computed at once
    probe: bool  # its first unit is to be evaluated twice
    gang: bool  # several workers compute it together


class ShardSchedule:
    """Cuts units into shards of about equal seconds and keeps account of each.

    Args:
        budgets: how often a unit may be lost, by cause, before it is given up; a cause left out allows none.
        shard_seconds: how long a shard should take.
        probe: whether the first shard probes for determinism.
        devices: gives how many devices a unit takes; None: every unit takes one.
    """

    def __init__(
        self,
        budgets: Mapping[Cause, int],
        shard_seconds: float = 5.0,
        *,
        probe: bool = False,
        devices: Callable[[Unit], int] | None = None,
    ) -> None:
        self._budgets = dict(budgets)
        self._shard_seconds = shard_seconds
        self._probe = probe
        self._ids = itertools.count()
        self._fresh: deque[Unit] = deque()
        self._cut_shards: deque[list[Unit]] = deque()  # pieces of lost shards, and units that belong together
        self._devices = devices
        self._gangs: dict[int, deque[Unit]] = {}  # units that take several devices, by how many
        self._flights: dict[int, _Flight] = {}
        self._open: dict[str, int] = {}  # key of every unit that has not ended -> times it was handed out
        self._losses: Counter[tuple[str, Cause]] = Counter()
        self._unit_seconds: float | None = None
        self._largest_back = 0
        self._sizes: dict[str, int] = {}  # units of a pack that are best computed at once
        self._peak = 0  # the most units that have waited at one time: they are shared out among all workers
        self.longest_shard: int | None = None  # units, if their number is bounded from outside
        self.drained = False  # True: the planner has no more units, so the tail is cut fine

    @property
    def open(self) -> int:
        """Units that have not ended: waiting or out."""
        return len(self._open)

    @property
    def waiting(self) -> bool:
        """Whether units wait for a worker."""
        return bool(self._fresh or self._cut_shards or any(self._gangs.values()))

    @property
    def sizes(self) -> dict[int, int]:
        """How many units wait, by the devices that each takes."""
        single = len(self._fresh) + sum(map(len, self._cut_shards))
        return {1: single, **{size: len(units) for size, units in self._gangs.items()}}

    def forgives(self, cause: Cause) -> bool:
        """Whether a unit that failed for this cause may be tried again at all."""
        return self._budgets.get(cause, 0) > 0

    def set_pack_size(self, name: str, size: int) -> None:
        """Units of this pack are best computed `size` at once."""
        self._sizes[name] = size

    def demand(self, workers: int) -> int:
        """How many more units the planner should propose to keep `workers` workers busy."""
        largest = max(self._size(), *self._sizes.values()) if self._sizes else self._size()
        shards = _AHEAD * max(1, workers)
        gang_units = sum(map(len, self._gangs.values()))
        return 0 if gang_units > _GANGS * shards else max(0, shards * largest - len(self._fresh))

    def flights(self) -> dict[int, list[Unit]]:
        """By shard that is out, its units without a row."""
        return {shard_id: self._unfinished(flight) for shard_id, flight in self._flights.items()}

    def _unfinished(self, flight: _Flight) -> list[Unit]:
        return [u for u in flight.units.values() if u.key in self._open]

    def add(self, units: Sequence[Unit], *, together: bool = False) -> None:
        """Take in new units.

        Args:
            units: in the order in which they should be computed.
            together: as one shard with no others, and soon.

        Raises:
            UsageError: a unit is proposed again while it is under way.
        """
        for unit in units:
            if unit.key in self._open:
                raise UsageError(
                    f"the planner proposes the unit {dict(unit.params)} again while it is under way, but no key may be "
                    "proposed twice (see landsweep.orchestrator.planner.Planner). No row is lost"
                )
            self._open[unit.key] = 0
        singles = self._singles(units)
        if together and singles:
            self._cut_shards.append(singles)
        else:
            self._fresh.extend(singles)

    def _singles(self, units: Sequence[Unit], *, first: bool = False) -> list[Unit]:
        """The units that one worker computes; the others join the queues of gangs, at the front if `first`."""
        singles = []
        for unit in units:
            devices = 1 if self._devices is None else self._devices(unit)
            if devices == 1:
                singles.append(unit)
            else:
                queue = self._gangs.setdefault(devices, deque())
                queue.insert(0 if first else len(queue), unit)
        return singles

    def next(self, workers: int = 1, devices: int = 1) -> Shard | None:
        """The next shard for one of `workers` workers, with this many devices; None when nothing waits for it."""
        if devices > 1:
            units = self._next_of_gang(devices)
            return self._shard(units, devices=devices) if units else None
        units = []
        while self._cut_shards and not units:
            units = [u for u in self._cut_shards.popleft() if u.key in self._open]
        piece = bool(units)
        units = units or self._cut(workers)
        return self._shard(units, piece=piece) if units else None

    def _next_of_gang(self, devices: int) -> list[Unit]:
        """The next unit that takes this many devices, if any waits."""
        queue = self._gangs.get(devices, deque())
        while queue:
            unit = queue.popleft()
            if unit.key in self._open:
                return [unit]
        return []

    def _shard(self, units: Sequence[Unit], *, piece: bool = False, devices: int = 1) -> Shard:
        """Hand these units out as one shard."""
        gang, packed, probe = devices > 1, False, False
        if not gang:
            packed = self._sizes.get(units[0].pack, 1) > 1
            probe, self._probe = self._probe, False
        attempts = {u.key: self._open[u.key] + 1 for u in units if self._open[u.key]}
        for unit in units:
            self._open[unit.key] += 1
        shard = Shard(next(self._ids), tuple(units), attempts, probe, devices)
        self._flights[shard.id] = _Flight({u.key: u for u in units}, len(units), piece, packed, probe, gang)
        return shard

    def _cut(self, workers: int) -> list[Unit]:
        """Units for one shard from the front of the queue: of one pack, or of none."""
        while self._fresh and self._fresh[0].key not in self._open:
            self._fresh.popleft()
        if not self._fresh:
            return []
        size = self._size() if not self.drained else self._tail_size(workers)
        pack = self._fresh[0].pack
        at_once = self._at_once(pack, workers)
        if at_once > 1:
            size = max(size // at_once, 1) * at_once
        units: list[Unit] = []
        while self._fresh and len(units) < size:
            if self._fresh[0].pack != pack and at_once > 1:
                break
            unit = self._fresh.popleft()
            if unit.key in self._open:
                units.append(unit)
        return units

    def _at_once(self, pack: str, workers: int) -> int:
        """How many units of a pack one worker computes at once: the best number, or fewer so that no worker idles."""
        best, workers = self._sizes.get(pack, 1), max(1, workers)
        # Of all units that have waited, not of those still waiting: packs must not get smaller towards the end.
        self._peak = max(self._peak, len(self._fresh))
        # Each worker computes this many packs, however large they are up to the best size; equal packs end together.
        # 40 units, best 16, 2 workers: 2 rounds of 10 each, instead of 16, 16 and a lone 8.
        rounds = math.ceil(self._peak / (best * workers))
        return min(best, math.ceil(self._peak / (rounds * workers)))

    def accept_rows(self, shard_id: int, keys: Sequence[str]) -> list[bool]:
        """Rows have come; for each key whether it is accepted. A unit's first row counts, whoever computed it."""
        flight = self._flights.get(shard_id)
        accepted = []
        for key in keys:
            accepted.append(self._open.pop(key, None) is not None)
            if flight is not None:
                flight.units.pop(key, None)
        return accepted

    def shard_done(self, shard_id: int, seconds: float) -> None:
        """A shard has come back whole after `seconds` of wall time."""
        flight = self._flights.pop(shard_id, None)
        if flight is None:
            return
        if unfinished := self._unfinished(flight):
            raise ValueError(f"shard {shard_id} finished without a row for {len(unfinished)} of its units")
        if flight.gang:
            return  # its time says nothing about shards of single workers
        latest = seconds / flight.size
        self._unit_seconds = latest if self._unit_seconds is None else (self._unit_seconds + latest) / 2
        self._largest_back = max(self._largest_back, flight.size)

    def lost(self, shard_id: int, cause: Cause, why: str, *, began: bool = True) -> list[GivenUp]:
        """A shard will not come back; gives the units that are given up for it.

        Args:
            shard_id: which.
            cause: class of the failure.
            why: one line for the row of a unit that is given up.
            began: False when the worker had not started on it: then nobody is suspected.
        """
        flight = self._flights.pop(shard_id, None)
        units = self._unfinished(flight) if flight else []
        if flight is None or not units:
            return []
        self._probe |= flight.probe and len(units) == flight.size  # nothing came back, so nothing was probed
        if not began:
            for unit in units:
                self._open[unit.key] -= 1
            if singles := self._singles(units, first=True):
                self._cut_shards.appendleft(singles)
            return []
        if flight.size == 1:
            return self.requeue(units[0], cause, why)
        self._cut_shards.extend(_pieces(units, flight, cause))
        return []

    def requeue(self, unit: Unit, cause: Cause, why: str) -> list[GivenUp]:
        """Count a failure against one unit: it goes back, alone, or is given up."""
        if unit.key not in self._open:
            return []
        self._losses[unit.key, cause] += 1
        if self._losses[unit.key, cause] <= self._budgets.get(cause, 0):
            if self._singles([unit]):
                self._cut_shards.append([unit])
            return []
        return [GivenUp(unit, cause, why, self._open.pop(unit.key))]

    def retry(self, shard_id: int, key: str, cause: Cause, why: str) -> list[GivenUp]:
        """A worker reports that a unit failed for a cause that has a budget, and goes on with the rest."""
        flight = self._flights.get(shard_id)
        unit = flight.units.pop(key, None) if flight else None
        return self.requeue(unit, cause, why) if unit is not None else []

    def _tail_size(self, workers: int) -> int:
        """Half a fair share of the units that wait: workers end together, and no shard is too short to be worth it."""
        fair = math.ceil(len(self._fresh) / (2 * max(1, workers)))
        worth = int(_SHORTEST * self._shard_seconds / self._unit_seconds) if self._unit_seconds else 1
        return max(1, min(self._size(), max(fair, worth)))

    def _size(self) -> int:
        if self._unit_seconds is None:
            return 1
        units = self._shard_seconds / max(self._unit_seconds, 1e-9)
        return int(max(1, min(units, _GROWTH * self._largest_back, self.longest_shard or _LARGEST, _LARGEST)))


def _pieces(units: list[Unit], flight: _Flight, cause: Cause) -> list[list[Unit]]:
    """The pieces in which the unfinished units of a lost shard go back; see the top of this file."""
    if flight.packed:
        whole = cause is Cause.infra and not flight.piece
        middle = len(units) if whole else math.ceil(len(units) / 2)
        pieces = [units[:middle], units[middle:]]
    else:
        suspect, rest = units[:1], units[1:]
        middle = len(rest) // 2
        pieces = [suspect, rest[:middle], rest[middle:]] if flight.piece else [suspect, rest]
    return [piece for piece in pieces if piece]
