"""How gangs and single workers share the devices of a cluster. Pure: no clock, no I/O.

A unit may take several devices, and then as many workers compute it together, as a gang. Workers keep their devices
from shard to shard, so a gang can come up only if others make room. The largest wait least, since they fit worst into
what is left at the end; but whoever has been passed over often is given a place before all others. So every unit gets
its turn after a bounded number of shards, whatever else keeps coming.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

__all__ = ["Sharing"]

_PATIENCE = 8  # shards of other sizes until a size that waits comes first


class Sharing:
    """Decides how many workers of each size there should be. A size is a number of devices; 1 is a single worker."""

    def __init__(self) -> None:
        self._passed: Counter[int] = Counter()

    def started(self, size: int, waiting: Mapping[int, int]) -> None:
        """Note that a shard was given to a worker of this size, while this many units of each size waited."""
        self._passed = Counter({s: self._passed[s] + 1 for s, units in waiting.items() if units and s != size})

    def first(self, waiting: Mapping[int, int]) -> int:
        """The size whose turn it is where only one shard runs at a time; 1 where nothing waits."""
        sizes = [size for size, units in waiting.items() if units]
        return (self._overdue(sizes) or sorted(sizes, reverse=True) or [1])[0]

    def places(
        self, capacity: int, waiting: Mapping[int, int], busy: Mapping[int, int], have: Mapping[int, int]
    ) -> dict[int, int]:
        """How many workers of each size there should be.

        Args:
            capacity: devices in all.
            waiting: units that wait, by the devices that each takes.
            busy: workers that compute, by size.
            have: workers that there are, by size.

        Returns:
            Numbers of workers by size; together they take no more than `capacity` devices.

        Example:
            >>> Sharing().places(4, {1: 9, 2: 1}, {1: 4}, {1: 4})
            {2: 1, 1: 2}
        """
        left, places = capacity, Counter[int]()

        def give(size: int, most: int) -> None:
            nonlocal left
            more = max(0, min(most, left // size))
            places[size] += more
            left -= more * size

        for size in self._overdue([size for size, units in waiting.items() if units]):
            give(size, 1)
        for size in sorted({*waiting, *busy}, reverse=True):
            give(size, waiting.get(size, 0) + busy.get(size, 0) - places[size])
        for size in sorted(have, reverse=True):  # nobody else wants the devices of these
            give(size, have[size] - places[size])
        give(1, left)
        return {size: n for size, n in places.items() if n}

    def _overdue(self, sizes: list[int]) -> list[int]:
        """Of these sizes, those that were passed over too often, the longest first."""
        return sorted((s for s in sizes if self._passed[s] >= _PATIENCE), key=lambda s: (-self._passed[s], -s))
