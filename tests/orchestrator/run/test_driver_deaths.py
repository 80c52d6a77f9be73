"""Units that take the driver with them: the suspicion narrows to the culprit, and nobody else pays."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from landsweep.orchestrator.errors import ClusterLost, StorageError, TakenOver
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.driver_deaths import FILE, DriverDeaths
from landsweep.orchestrator.run.schedule import Shard, ShardSchedule
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.unit import Unit

BUDGET = 2


class Sweep:
    """Runs of one sweep, whose driver dies as soon as a worker begins a unit that kills.

    Real schedule, real notes on disk; workers compute in steps of one unit, in an order that is drawn.
    """

    def __init__(self, folder: Path, units: int, killers: set[int], workers: int, seed: int, pack: str = "") -> None:
        self.units = [Unit(f"{i:032x}", {"i": i}, pack) for i in range(units)]
        self.killers = {self.units[i].key for i in killers}
        self.store, self.workers, self.rng = Store.at(folder), workers, random.Random(seed)
        self.done: dict[str, str] = {}

    def run(self, *, innocent_death: bool = False) -> bool:
        """One run; whether it came to its end."""
        deaths, schedule = DriverDeaths(self.store, BUDGET), ShardSchedule({Cause.infra: 20})
        deaths.begin(self.done)
        fresh, given_up = deaths.unsuspected(u for u in self.units if u.key not in self.done)
        self.done |= {g.unit.key: "failed" for g in given_up}
        schedule.add(fresh)
        uncommitted: dict[str, str] = {}
        busy: dict[int, Shard] = {}
        while schedule.open or deaths.waiting:
            for piece in deaths.due({**self.done, **uncommitted}):
                schedule.add(piece, together=True)
            schedule.longest_shard = deaths.longest_shard(self.workers)
            while len(busy) < 2 * self.workers and (shard := schedule.next(self.workers)) is not None:
                busy[shard.id] = shard
            if deaths.careful:
                deaths.note(schedule.flights().values())
            running = sorted(busy)[: self.workers]
            shard = busy[self.rng.choice(running)]
            left = schedule.flights()[shard.id]
            if not left:
                schedule.shard_done(busy.pop(shard.id).id, 0.001 * len(shard.units))
                continue
            if left[0].key in self.killers or (innocent_death and self.rng.random() < 0.1):
                return False  # rows that were not committed are lost with the driver
            schedule.accept_rows(shard.id, [left[0].key])
            uncommitted[left[0].key] = "ok"
            if self.rng.random() < 0.3:
                self.done |= uncommitted
        self.done |= uncommitted
        deaths.end(self.done)
        return True


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_a_unit_that_kills_the_driver_fails_alone_after_a_few_deaths(tmp_path: Path, workers: int, seed: int) -> None:
    culprit = random.Random(seed).randrange(300)
    sweep = Sweep(tmp_path, 300, {culprit}, workers, seed)
    deaths = 0
    while not sweep.run():
        deaths += 1
        assert deaths < 20
    assert sweep.done == {u.key: "failed" if u.params["i"] == culprit else "ok" for u in sweep.units}
    assert deaths <= 2 + 6 + BUDGET + 1, "unknown, noted, halved down from twice seven, charged"
    assert not (tmp_path / FILE).exists(), "nothing is remembered of a sweep that has ended"


@pytest.mark.parametrize("seed", range(20))
def test_several_of_them_fail_one_after_the_other(tmp_path: Path, seed: int) -> None:
    culprits = set(random.Random(seed).sample(range(60), 3))
    sweep = Sweep(tmp_path, 60, culprits, 3, seed)
    deaths = 0
    while not sweep.run():
        deaths += 1
        assert deaths < 100
    assert {u.params["i"] for u in sweep.units if sweep.done[u.key] == "failed"} == culprits


@pytest.mark.parametrize("seed", range(20))
def test_drivers_that_die_for_other_reasons_cost_no_unit_its_row(tmp_path: Path, seed: int) -> None:
    sweep = Sweep(tmp_path, 60, set(), 3, seed)
    for _ in range(40):
        if sweep.run(innocent_death=True):
            break
    assert sweep.run()
    assert set(sweep.done.values()) == {"ok"}


def test_packs_stay_together_the_first_time_and_are_halved_then(tmp_path: Path) -> None:
    units = [Unit(f"{i:032x}", {"i": i}, "pack") for i in range(8)]
    sizes = []
    for _ in range(5):
        deaths = DriverDeaths(Store.at(tmp_path), BUDGET)
        deaths.begin({})
        deaths.unsuspected(units)
        flight = deaths.due({}) or [units]
        sizes.append([len(piece) for piece in flight])
        deaths.careful = True
        deaths.note(flight)
    assert sizes == [[8], [8], [4], [2], [1]]


def test_an_orderly_end_charges_nobody_and_keeps_the_suspicion(tmp_path: Path) -> None:
    unit = Unit("a" * 32, {"i": 1})
    for end in ("killed", "killed", "stopped", "stopped", "stopped"):
        deaths = DriverDeaths(Store.at(tmp_path), BUDGET)
        deaths.begin({})
        deaths.note([[unit]])
        if end == "stopped":
            deaths.end({})
    after = DriverDeaths(Store.at(tmp_path), BUDGET)
    after.begin({})
    assert after.careful and after.suspects[unit.key].alone == 2
    after.end({unit.key: "ok"})
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("error", [TakenOver, StorageError, ClusterLost])
def test_a_driver_that_was_replaced_leaves_the_note_of_its_successor(tmp_path: Path, error: type[Exception]) -> None:
    mine, unit = DriverDeaths(Store.at(tmp_path), BUDGET), Unit("a" * 32, {"i": 0})
    with pytest.raises(error), mine.remembered({}, lambda: [[unit]], print):
        (tmp_path / FILE).write_text("of the driver that has taken over")
        raise error("x")
    left = (tmp_path / FILE).read_text() if (tmp_path / FILE).exists() else None
    assert (left == "of the driver that has taken over") == (error is TakenOver)
    assert (left is None) == (error is StorageError) and (unit.key in (left or "")) == (error is ClusterLost)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"shards": 3, "suspects": {}}',
        '{"shards": [], "suspects": {"a": 1}}',
        "[" * 100_000,
        '{"a":' * 9999,
    ],
    ids=["empty", "cut", "list", "number", "counts", "deep list", "deep object"],
)
def test_a_damaged_note_only_says_that_the_last_run_was_killed(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    deaths = DriverDeaths(Store.at(tmp_path), BUDGET)
    deaths.begin({})
    assert deaths.careful and not deaths.suspects


def test_notes_stay_short_whatever_the_number_of_workers(tmp_path: Path) -> None:
    deaths = DriverDeaths(Store.at(tmp_path), BUDGET)
    assert deaths.longest_shard(1000) is None, "an ordinary run is not held up"
    deaths.begin({})
    deaths = DriverDeaths(Store.at(tmp_path), BUDGET)
    deaths.begin({})
    for workers in (0, 1, 7, 1000, 10**6):
        assert 1 <= (deaths.longest_shard(workers) or 0) <= max(1, 8192 // max(1, 2 * workers))
