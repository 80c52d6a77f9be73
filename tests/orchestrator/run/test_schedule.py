"""The schedule: whatever happens in whatever order, each unit ends exactly once."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.schedule import Shard, ShardSchedule
from landsweep.orchestrator.unit import Unit

BUDGETS = {Cause.infra: 3, Cause.timeout: 1, Cause.oom: 2, Cause.error: 0}


def units(n: int) -> list[Unit]:
    return [Unit(f"{i:032x}", {"i": i}) for i in range(n)]


@settings(max_examples=300, deadline=None)
@given(
    n=st.integers(0, 60),
    seed=st.integers(0, 10**6),
    death=st.floats(0, 0.9),
    workers=st.integers(1, 5),
    speed=st.sampled_from([1e-4, 0.1, 1.0, 20.0]),
    pack=st.sampled_from([1, 4, 16]),
)
def test_each_unit_ends_exactly_once_whatever_happens(
    n: int, seed: int, death: float, workers: int, speed: float, pack: int
) -> None:
    """A random machine: shards finish, die half-way, time out, are dropped unbegun, and late rows still come in."""
    rng = random.Random(seed)
    schedule = ShardSchedule(BUDGETS, shard_seconds=2.0)
    schedule.set_pack_size("a", pack)
    to_offer, running, late = [Unit(u.key, u.params, "a" if rng.random() < 0.7 else "") for u in units(n)], [], []
    ended: list[str] = []
    while True:
        while to_offer and schedule.demand(workers) > 0:
            schedule.add([to_offer.pop()])
        schedule.drained = not to_offer
        while len(running) < workers and (shard := schedule.next(workers)):
            running.append(shard)
        if not running:
            break
        shard: Shard = running.pop(rng.randrange(len(running)))
        cut = len(shard.units) if rng.random() > death else rng.randrange(len(shard.units) + 1)
        keys = [u.key for u in shard.units[:cut]]
        ended += [k for k, ok in zip(keys, schedule.accept_rows(shard.id, keys), strict=True) if ok]
        if cut == len(shard.units):
            schedule.shard_done(shard.id, speed * len(shard.units))
            continue
        event = rng.random()
        if event < 0.2:
            given_up = schedule.lost(shard.id, Cause.infra, "dropped", began=False)
        else:
            given_up = schedule.lost(shard.id, rng.choice([Cause.infra, Cause.timeout, Cause.oom]), "died")
        ended += [g.unit.key for g in given_up]
        late.append(shard)
        if rng.random() < 0.3:  # a shard that was given up for lost delivers after all
            shard = late.pop(rng.randrange(len(late)))
            keys = [u.key for u in shard.units]
            ended += [k for k, ok in zip(keys, schedule.accept_rows(shard.id, keys), strict=True) if ok]
    assert sorted(ended) == [u.key for u in units(n)]
    assert schedule.open == 0


def run_with_poison(schedule: ShardSchedule, poison: set[str], cause: Cause) -> tuple[list[str], int, int]:
    """A worker that computes in order and dies on poison; gives given-up keys, deaths, and ended units."""
    given_up, deaths, ended = [], 0, 0
    while shard := schedule.next(1):
        for unit in shard.units:
            if unit.key in poison:
                deaths += 1
                given_up += [g.unit.key for g in schedule.lost(shard.id, cause, "poison")]
                break
            ended += schedule.accept_rows(shard.id, [unit.key]).count(True)
        else:
            schedule.shard_done(shard.id, 1e-3)
    return given_up, deaths, ended


@pytest.mark.parametrize(("cause", "budget"), [(Cause.infra, 3), (Cause.timeout, 1), (Cause.oom, 2)])
def test_poison_is_isolated_and_its_budget_is_exact(cause: Cause, budget: int) -> None:
    schedule = ShardSchedule(BUDGETS)
    all_units = units(1000)
    schedule.add(all_units)
    schedule.drained = True
    poison = {all_units[777].key}
    given_up, deaths, ended = run_with_poison(schedule, poison, cause)
    assert given_up == [all_units[777].key]
    assert ended == 999
    assert deaths == 1 + budget + 1, "once in company, then alone until the budget is used up"


def test_many_poisons_lose_no_neighbour() -> None:
    schedule = ShardSchedule(BUDGETS)
    all_units = units(500)
    schedule.add(all_units)
    poison = {u.key for u in all_units[::50]}
    given_up, _, ended = run_with_poison(schedule, poison, Cause.infra)
    assert set(given_up) == poison
    assert ended == 490


def test_shards_grow_to_the_wanted_seconds_and_shrink_at_the_tail() -> None:
    unit_seconds, wanted = 0.01, 5.0
    schedule = ShardSchedule({}, shard_seconds=wanted)
    schedule.add(units(20_000))
    sizes = []
    while shard := schedule.next(2):
        sizes.append(len(shard.units))
        schedule.accept_rows(shard.id, [u.key for u in shard.units])
        schedule.shard_done(shard.id, unit_seconds * len(shard.units))
        schedule.drained = len(sizes) > 6
    full = sizes.index(max(sizes))
    assert sizes[0] == 1, "nothing is known of the time yet"
    assert all(a < b <= 8 * a for a, b in pairwise(sizes[: full + 1])), "first timings mislead, so shards grow in steps"
    assert unit_seconds * sizes[full] == wanted
    tail = sizes[full:]
    assert tail == sorted(tail, reverse=True), "finer towards the end, so that workers end together"
    assert unit_seconds * (min(tail[:-1]) + 1) >= wanted / 10, "but, to a whole unit, no less than a tenth"


def test_the_tail_of_slow_units_is_single_units() -> None:
    schedule = ShardSchedule({}, shard_seconds=5.0)
    schedule.add(units(50))
    schedule.drained = True
    sizes = []
    while shard := schedule.next(2):
        sizes.append(len(shard.units))
        schedule.accept_rows(shard.id, [u.key for u in shard.units])
        schedule.shard_done(shard.id, 1.0 * len(shard.units))
    assert sizes[-1] == 1


def packed(n: int, pack: str) -> list[Unit]:
    return [Unit(f"{pack}{i:031x}", {"i": i}, pack) for i in range(n)]


@pytest.mark.parametrize(
    ("a", "b", "workers", "wanted"),
    [
        (256, 0, 2, [128, 128]),
        (1024, 0, 2, [128] * 8),
        (200, 0, 2, [100, 100]),  # no worker idle, and no pack smaller than it must be
        (300, 0, 2, [75] * 4),
        (64, 0, 64, [1] * 64),  # hour-long units are not handed to one worker
        (40, 40, 2, [40, 40]),  # of one pack only
        (5, 0, 1, [5]),
    ],
)
def test_slow_units_of_a_pack_are_cut_into_whole_packs(a: int, b: int, workers: int, wanted: list[int]) -> None:
    schedule = ShardSchedule({}, shard_seconds=5.0)
    for name in "ab":
        schedule.set_pack_size(name, 128)
    schedule.add(packed(a, "a") + packed(b, "b"))
    schedule.drained = True
    sizes = []
    while shard := schedule.next(workers):
        assert len({u.pack for u in shard.units}) == 1
        sizes.append(len(shard.units))
        schedule.accept_rows(shard.id, [u.key for u in shard.units])
        schedule.shard_done(shard.id, 3600.0)
    assert sizes == wanted


def test_fast_units_of_a_pack_make_shards_of_several_whole_packs() -> None:
    schedule = ShardSchedule({}, shard_seconds=5.0)
    schedule.set_pack_size("a", 8)
    schedule.add(packed(2000, "a"))
    sizes = []
    while (shard := schedule.next(1)) and len(sizes) < 4:
        sizes.append(len(shard.units))
        schedule.accept_rows(shard.id, [u.key for u in shard.units])
        schedule.shard_done(shard.id, 0.02 * len(shard.units))
    assert sizes == [8, 64, 248, 248], "5 s are 250 units, 31 packs of 8"


@pytest.mark.parametrize(
    ("cause", "sizes"), [(Cause.infra, [16, 16, 8, 8]), (Cause.oom, [16, 8, 8, 4, 4])], ids=["infra", "oom"]
)
def test_a_lost_pack_goes_back_whole_once_and_is_halved_then(cause: Cause, sizes: list[int]) -> None:
    """Its session may have kept a state of just these units; but memory will not be more the next time."""
    schedule = ShardSchedule(BUDGETS, shard_seconds=5.0)
    schedule.set_pack_size("a", 16)
    schedule.add(packed(16, "a"))
    seen = []
    for lost in [True, True] + [False] * (len(sizes) - 2):
        shard = schedule.next(1)
        assert shard is not None
        seen.append(len(shard.units))
        if lost:
            assert schedule.lost(shard.id, cause, "died") == []
        else:
            schedule.accept_rows(shard.id, [u.key for u in shard.units])
            schedule.shard_done(shard.id, 1.0)
    assert seen == sizes
    assert schedule.open == 0


def test_attempts_are_counted_for_units_that_began() -> None:
    schedule = ShardSchedule({Cause.infra: 5})
    schedule.add(units(1))
    first = schedule.next()
    assert first is not None and first.attempts == {}
    schedule.lost(first.id, Cause.infra, "never began", began=False)
    second = schedule.next()
    assert second is not None and second.attempts == {}
    schedule.lost(second.id, Cause.infra, "died")
    third = schedule.next()
    assert third is not None and third.attempts == {third.units[0].key: 2}


def test_the_same_unit_twice_is_an_error() -> None:
    schedule = ShardSchedule({})
    schedule.add(units(2))
    with pytest.raises(UsageError, match=r"the unit .* again while it is under way, but no key may be proposed twice"):
        schedule.add(units(1))


def test_a_unit_retried_by_its_worker_keeps_its_neighbours() -> None:
    schedule = ShardSchedule({Cause.oom: 1})
    schedule.add(units(3))
    first = schedule.next()
    assert first is not None
    schedule.accept_rows(first.id, [first.units[0].key])
    schedule.shard_done(first.id, 1.0)
    schedule.drained = False
    shard = schedule.next()
    assert shard is not None
    key = shard.units[0].key
    assert schedule.retry(shard.id, key, Cause.oom, "no memory") == []
    schedule.accept_rows(shard.id, [u.key for u in shard.units if u.key != key])
    schedule.shard_done(shard.id, 1.0)
    again = schedule.next()
    assert again is not None and [u.key for u in again.units] == [key]
    given_up = schedule.retry(again.id, key, Cause.oom, "no memory")
    assert [(g.unit.key, g.cause, g.attempts) for g in given_up] == [(key, Cause.oom, 2)]
