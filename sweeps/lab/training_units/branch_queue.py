"""The order in which main runs and branches are proposed: a branch needs the point that its main run leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from itertools import islice
from typing import Generic, TypeVar

from landsweep.orchestrator.unit import Unit

__all__ = ["BranchQueue"]

G = TypeVar("G", bound=Hashable)


class BranchQueue(Generic[G]):
    """Units that may be proposed: main runs in order; the branches of a group once all its main runs have rows.

    Whole groups wait, not single branches, so that branches which can train as one pack are proposed together.
    Units that have rows are passed over.

    Args:
        mains: units that need no other's result, in order.
        group_of: the group of such a unit; None: no branch leaves it.
        branches_of: the branches of a group; asked for once, when its last main run has a row.

    Example:
        >>> from landsweep.orchestrator.unit import Keys
        >>> a, b, branch = (Keys("demo", 1, {}).unit({"x": x}) for x in (0, 1, 2))
        >>> queue = BranchQueue([a, b], lambda unit: "group", lambda group: [branch])
        >>> queue.take(9) == [a, b], queue.take(9), queue.empty
        (True, [], False)
        >>> queue.tell(a.key)
        >>> queue.tell(b.key)
        >>> queue.take(9) == [branch], queue.empty
        (True, True)
    """

    def __init__(
        self,
        mains: Iterable[Unit],
        group_of: Callable[[Unit], G | None],
        branches_of: Callable[[G], Iterable[Unit]],
    ) -> None:
        self._ready = {unit.key: unit for unit in mains}
        self._branches_of = branches_of
        groups = {key: group_of(unit) for key, unit in self._ready.items()}
        self._groups = {key: group for key, group in groups.items() if group is not None}
        self._open: dict[G, set[str]] = {}  # group to keys of its main runs that have no row
        for key, group in self._groups.items():
            self._open.setdefault(group, set()).add(key)
        self._told: set[str] = set()

    @property
    def waits(self) -> bool:
        """Whether there are branches that are not ready."""
        return bool(self._open)

    @property
    def empty(self) -> bool:
        """Whether nothing is ready, and nothing waits."""
        return not self._ready and not self._open

    def take(self, limit: int) -> list[Unit]:
        """At most `limit` units, which from now on count as proposed."""
        units = list(islice(self._ready.values(), limit))
        for unit in units:
            del self._ready[unit.key]
        return units

    def tell(self, key: str) -> None:
        """Note that the unit with this key has a row."""
        self._told.add(key)
        self._ready.pop(key, None)
        group = self._groups.get(key)
        if group is None or group not in self._open:
            return
        self._open[group].discard(key)
        if not self._open[group]:
            del self._open[group]
            self._ready |= {u.key: u for u in self._branches_of(group) if u.key not in self._told}
