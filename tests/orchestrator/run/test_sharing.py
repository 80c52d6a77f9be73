"""Gangs and single workers on one cluster: nobody waits for ever, and no device is given twice."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.schedule import Shard, ShardSchedule
from landsweep.orchestrator.run.sharing import Sharing
from landsweep.orchestrator.unit import Unit

SIZES = st.dictionaries(st.integers(1, 9), st.integers(0, 5), max_size=4)


@settings(max_examples=300, deadline=None)
@given(capacity=st.integers(1, 12), waiting=SIZES, busy=SIZES, have=SIZES, passed=SIZES)
def test_no_more_devices_are_given_than_there_are_and_none_lies_idle(
    capacity: int, waiting: dict[int, int], busy: dict[int, int], have: dict[int, int], passed: dict[int, int]
) -> None:
    sharing = Sharing()
    for size, times in passed.items():
        for _ in range(3 * times):
            sharing.started(size, waiting)
    places = sharing.places(capacity, waiting, busy, have)
    assert sum(size * n for size, n in places.items()) == capacity, "what nobody wants are single workers"
    assert all(n > 0 for n in places.values())
    wanted = [size for size in {*waiting, *busy} if waiting.get(size, 0) + busy.get(size, 0)]
    if largest := max((size for size in wanted if size <= capacity), default=0):
        given_to = set(places)
        assert largest in given_to or any(size in given_to for size in wanted), "somebody who waits gets a place"


class Cluster:
    """Devices, workers that hold them, and the loop's part: the executors' rules without processes."""

    def __init__(self, capacity: int, schedule: ShardSchedule, rng: random.Random) -> None:
        self.capacity, self.schedule, self.rng = capacity, schedule, rng
        self.sharing = Sharing()
        self.workers: list[tuple[int, Shard | None]] = [(1, None)] * capacity
        self.handed_out: list[int] = []

    def reshape(self) -> int:
        """Workers leave and come as `places` says; gives how many, from the first on, may be given work."""
        busy = Counter(size for size, shard in self.workers if shard)
        have = Counter(size for size, _ in self.workers)
        left = Counter(self.sharing.places(self.capacity, self.schedule.sizes, busy, have))
        staying: list[tuple[int, Shard | None]] = []
        leaving: list[tuple[int, Shard | None]] = []
        for size, shard in sorted(self.workers, key=lambda w: w[1] is None):
            if left[size] > 0:
                left[size] -= 1
                staying.append((size, shard))
            elif shard is not None:
                leaving.append((size, shard))  # it may finish what it computes, and gets nothing more
        room = self.capacity - sum(size for size, _ in (*staying, *leaving))
        for size in sorted(left.elements(), reverse=True):
            if size <= room:
                room -= size
                staying.append((size, None))
        self.workers = staying + leaving
        assert sum(size for size, _ in self.workers) <= self.capacity
        return len(staying)

    def turn(self) -> bool:
        """Reshape, hand out, and let one worker end; False when nothing runs and nothing could be handed out."""
        staying = self.reshape()
        for i, (size, shard) in enumerate(self.workers[:staying]):
            if shard is None and (new := self.schedule.next(staying, size)):
                assert new.devices == size
                self.sharing.started(size, self.schedule.sizes)
                self.handed_out.append(size)
                self.workers[i] = (size, new)
        running = [i for i, (_, shard) in enumerate(self.workers) if shard]
        if not running:
            return False
        i = self.rng.choice(running)
        size, shard = self.workers[i]
        self.workers[i] = (size, None)
        if i >= staying:
            del self.workers[i]
        assert shard is not None
        if self.rng.random() < 0.2:
            self.schedule.lost(shard.id, Cause.infra, "died")
        else:
            self.schedule.accept_rows(shard.id, [u.key for u in shard.units])
            self.schedule.shard_done(shard.id, 1.0 * len(shard.units))
        return True


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), capacity=st.integers(1, 8), n=st.integers(1, 40))
def test_every_unit_ends_whatever_the_sizes_and_whoever_dies(seed: int, capacity: int, n: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.choice([1, 1, 2, 3, capacity]) for _ in range(n)]
    devices = {f"{i:032x}": min(size, capacity) for i, size in enumerate(sizes)}
    schedule = ShardSchedule({Cause.infra: 10**6}, devices=lambda unit: devices[unit.key])
    schedule.add([Unit(key, {"i": i}) for i, key in enumerate(devices)])
    schedule.drained = True
    cluster = Cluster(capacity, schedule, rng)
    for _ in range(200 * n):
        if not cluster.turn():
            break
    assert schedule.open == 0


@pytest.mark.parametrize(("flood", "rare"), [(1, 2), (2, 1), (4, 1), (2, 4), (1, 4)])
def test_a_flood_of_one_size_starves_no_other(flood: int, rare: int) -> None:
    """Units of one size keep coming for ever; one of another size still gets its turn after a bounded number."""
    rng = random.Random(7)
    devices: dict[str, int] = {}
    schedule = ShardSchedule({}, devices=lambda unit: devices[unit.key])

    def add(size: int) -> None:
        key = f"{len(devices):032x}"
        devices[key] = size
        schedule.add([Unit(key, {"i": len(devices)})])

    for _ in range(20):
        add(flood)
    cluster = Cluster(4, schedule, rng)
    for turn in range(400):
        if turn == 40:
            add(rare)
            before = len(cluster.handed_out)
        add(flood)
        cluster.turn()
    assert rare in cluster.handed_out
    assert cluster.handed_out.index(rare) - before < 40


def test_a_shard_for_a_gang_is_one_unit_and_goes_back_to_gangs() -> None:
    schedule = ShardSchedule({Cause.infra: 1}, devices=lambda unit: int(unit.params["devices"] or 1))
    big, small = Unit("b" * 32, {"devices": 3}), Unit("a" * 32, {"devices": 1})
    schedule.add([big, small])
    assert schedule.sizes == {1: 1, 3: 1}
    assert schedule.next(2, 2) is None
    first, single = schedule.next(2, 3), schedule.next(2)
    assert first is not None and single is not None
    assert (first.units, first.devices, single.units, single.devices) == ((big,), 3, (small,), 1)
    assert schedule.lost(first.id, Cause.infra, "not begun", began=False) == []
    again = schedule.next(2, 3)
    assert again is not None and schedule.lost(again.id, Cause.infra, "died") == []
    last = schedule.next(2, 3)
    assert last is not None and last.attempts == {big.key: 2}
    assert [g.unit for g in schedule.lost(last.id, Cause.infra, "died")] == [big]
    assert schedule.next(2, 3) is None
