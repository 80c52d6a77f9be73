"""Planners propose units and are told rows. A grid is a planner that ignores them."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.row import Column, Progress, param_columns
from landsweep.orchestrator.unit import Keys, Unit, canonical

__all__ = [
    "MOST_UNITS",
    "GridPlanner",
    "Guard",
    "ListPlanner",
    "Named",
    "Planner",
    "RowsPlanner",
    "check_total",
    "zip_groups",
]

MOST_UNITS = 10_000_000  # of a plan; each takes some 30 microseconds and 100 bytes to go through


def check_total(total: int | None) -> None:
    """Refuse a plan that would be gone through for ever; it may come from anybody.

    Args:
        total: how many units there are, if that is known.

    Raises:
        SpecError: they are more than a driver can hold the keys of.
    """
    if total is not None and total > MOST_UNITS:
        raise SpecError(
            f"the plan has {total:,} units, and at most {MOST_UNITS:,} can be planned; give axes fewer points, or "
            "`samples` a smaller count"
        )


class Planner(ABC):
    """Decides which units a sweep has.

    Invariants: the same spec and the same rows told in the same order give the same units; no key is proposed twice;
    once exhausted, a planner stays so unless `tell` brings a row. A unit that needs another's result comes after the
    row that it needs has been told.
    """

    adaptive: bool = False  # False: `tell` is never called, so rows need not be turned into Python objects
    prunes: bool = False  # False: `report` is never called

    @abstractmethod
    def ask(self, limit: int) -> list[Unit]:
        """At most `limit` new units; an empty list while this planner waits for rows or has none left.

        With `limit` 0 it only takes in what the rows decide, so that `exhausted` knows of them.
        """

    @property
    @abstractmethod
    def exhausted(self) -> bool:
        """True when no further unit will be proposed, whatever rows come; as of the last `ask`.

        Reading it changes nothing.
        """

    def tell(self, row: Mapping[str, Any]) -> None:  # noqa: B027 - optional: most planners ignore rows
        """Take in one row: of this run, or, at resume, of the ledger."""

    def report(self, progress: Iterable[Progress]) -> Collection[str]:
        """Take in what running units report, at resume the series of the ledger; gives keys of units that should stop.

        A unit's last report comes before its row.
        """
        del progress
        return ()

    @property
    def total(self) -> int | None:
        """How many units there are in all, or None when that depends on the rows."""
        return None

    @property
    def ended_early(self) -> str:
        """Why no more is proposed though the plan is not complete, and what to do; empty where that is not so."""
        return ""


class Guard:
    """Ends a sweep whose planner breaks the invariants, so that it would never end.

    Args:
        kind: name of the planner's kind, for the message.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._repeated = 0

    def repeated(self, count: int, rows: int) -> None:
        """Note units that were proposed though they have rows; a resume has each once.

        Raises:
            UsageError: there are more of them than rows.
        """
        self._repeated += count
        if self._repeated > rows:
            self._end("proposes the same units again and again, but no key may be proposed twice")

    def waits_for_nothing(self) -> NoReturn:
        """The planner proposed nothing and is not exhausted, though no unit runs.

        Raises:
            UsageError: always.
        """
        self._end("proposes nothing, says that it is not exhausted, and no unit is running whose row it could wait for")

    def _end(self, what: str) -> NoReturn:
        where = "see landsweep.orchestrator.planner.Planner"
        raise UsageError(
            f"the planner of the kind {self._kind} {what}; the sweep would never end ({where}). No row is lost"
        )


class ListPlanner(Planner):
    """Proposes the given units in order.

    Args:
        units: any iterable; it is read lazily.
        total: how many there are, if known.
    """

    def __init__(self, units: Iterable[Unit], total: int | None = None) -> None:
        self._units = iter(units)
        self._total = total
        self._exhausted = False

    def ask(self, limit: int) -> list[Unit]:
        units = list(itertools.islice(self._units, limit))
        self._exhausted = len(units) < limit
        return units

    @property
    def exhausted(self) -> bool:
        return self._exhausted

    @property
    def total(self) -> int | None:
        return self._total


class RowsPlanner(Planner):
    """Proposes what the rows so far call for, each unit once, those that have rows not at all.

    Args:
        fixed: units that are planned whatever the rows say; they are proposed first.
    """

    adaptive = True

    def __init__(self, fixed: Iterable[Unit]) -> None:
        self._proposed: set[str] = set()  # keys, of units that have rows too
        self._ready = {u.key: u for u in fixed}  # to be proposed, in this order

    @abstractmethod
    def wanted(self) -> Iterator[Unit]:
        """Units that the rows so far call for; those that were proposed may be among them."""

    @abstractmethod
    def waits(self) -> bool:
        """Whether a row that is still to come may call for more units."""

    @abstractmethod
    def take_in(self, row: Mapping[str, Any]) -> None:
        """Note what a row says about the units to come."""

    @property
    def exhausted(self) -> bool:
        return not self._ready and not self.waits() and next(self._new(), None) is None

    def ask(self, limit: int) -> list[Unit]:
        if not self._ready:
            self._ready = {u.key: u for u in self._new()}
        units = list(itertools.islice(self._ready.values(), limit))
        for unit in units:
            del self._ready[unit.key]
            self._proposed.add(unit.key)
        return units

    def tell(self, row: Mapping[str, Any]) -> None:
        key = str(row["key"])
        self._proposed.add(key)
        self._ready.pop(key, None)
        self.take_in(row)

    def _new(self) -> Iterator[Unit]:
        return (u for u in self.wanted() if u.key not in self._proposed)


@dataclass(frozen=True, slots=True)
class Named:
    """An axis whose values are names that stand for something: the key holds the definition, the row the name."""

    definitions: Mapping[str, object]


class GridPlanner(ListPlanner):
    """The product of axes, the last one running fastest; zipped axes move together.

    Args:
        keys: give each unit its key.
        axes: name to values, or to `Named` definitions.
        zipped: groups of names that move together as one axis; each group takes the place of its first member.

    Raises:
        SpecError: a zipped name is no axis, stands in two groups, or the axes of a group differ in length.

    Example:
        >>> from landsweep.orchestrator.unit import Keys
        >>> grid = GridPlanner(Keys("demo", 1, {}), {"a": (1, 2), "b": (3, 4), "c": (5, 6)}, zipped=[["a", "c"]])
        >>> [dict(u.params) for u in grid.ask(10)]
        [{'a': 1, 'c': 5, 'b': 3}, {'a': 1, 'c': 5, 'b': 4}, {'a': 2, 'c': 6, 'b': 3}, {'a': 2, 'c': 6, 'b': 4}]
    """

    def __init__(
        self, keys: Keys, axes: Mapping[str, Sequence[Value] | Named], zipped: Sequence[Sequence[str]] = ()
    ) -> None:
        self._keys = keys
        self._axes = dict(axes)
        self._points: dict[str, tuple[Value, ...]] = {
            name: tuple(axis.definitions) if isinstance(axis, Named) else tuple(axis) for name, axis in axes.items()
        }
        self._groups = zip_groups(self._points, zipped)
        super().__init__(self._walk(), math.prod(len(self._points[group[0]]) for group in self._groups))

    @property
    def params(self) -> tuple[Column, ...]:
        """Columns of the params, typed by their values."""
        return param_columns(self._points)

    def _texts(self, name: str) -> list[str]:
        """Canonical text of what the key holds for each point of an axis; empty where that is nothing."""
        axis, label = self._axes[name], canonical(name) + ":"
        if isinstance(axis, Named):
            return [label + canonical([n, d]) for n, d in axis.definitions.items()]
        return ["" if self._keys.left_out(name, p) else label + canonical(p) for p in axis]

    def _walk(self) -> Iterator[Unit]:
        names = [name for group in self._groups for name in group]
        order = sorted(range(len(names)), key=names.__getitem__)
        points = [list(zip(*(self._points[n] for n in group), strict=True)) for group in self._groups]
        texts = [list(zip(*(self._texts(n) for n in group), strict=True)) for group in self._groups]
        chain = itertools.chain.from_iterable
        for values, parts in zip(itertools.product(*points), itertools.product(*texts), strict=True):
            flat = list(chain(parts))
            identity = "{" + ",".join([flat[i] for i in order if flat[i]]) + "}"
            yield self._keys.unit_of_text(dict(zip(names, chain(values), strict=True)), identity)


def zip_groups(axes: Mapping[str, Sequence[Value]], zipped: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Names of axes in groups that move together, each group in the place of its first member.

    Raises:
        SpecError: a zipped name is no axis, stands in two groups, or the axes of a group differ in length.

    Example:
        >>> zip_groups({"a": (1, 2), "b": (3,), "c": (5, 6)}, [["c", "a"]])
        [('c', 'a'), ('b',)]
    """
    group_of: dict[str, tuple[str, ...]] = {}
    for group in zipped:
        for name in group:
            if name not in axes:
                raise SpecError(f"zip names {name!r}, which is not an axis; the axes are {list(axes)}")
            if name in group_of:
                raise SpecError(f"zip names the axis {name!r} twice; an axis can move with one group only")
            group_of[name] = tuple(group)
        if len({len(axes[name]) for name in group}) > 1:
            lengths = ", ".join(f"{name}: {len(axes[name])}" for name in group)
            raise SpecError(f"zipped axes must have equally many values; got {lengths}")
    return list(dict.fromkeys(group_of.get(name, (name,)) for name in axes))
