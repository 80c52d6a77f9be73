"""Main runs and branches: none is lost, none comes twice, and no branch comes before all main runs of its group."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.unit import Keys, Unit
from landsweep.sweeps.lab.training_units.branch_queue import BranchQueue

KEYS = Keys("demo", 1, {})
MAINS = [KEYS.unit({"group": g, "main": i}) for g in range(4) for i in range(3)]
BRANCHES: dict[Value, list[Unit]] = {
    g: [KEYS.unit({"group": g, "branch": i}) for i in range(2)] for g in range(3)
}  # none leaves group 3


def queue_of(mains: Sequence[Unit] = MAINS) -> BranchQueue[Value]:
    def group_of(unit: Unit) -> Value:
        group = unit.params["group"]
        return group if group in BRANCHES else None

    return BranchQueue(mains, group_of, lambda group: BRANCHES[group])


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_rows_come_each_unit_is_proposed_once_and_after_those_that_it_needs(seed: int) -> None:
    chance, queue = random.Random(seed), queue_of()
    running: list[Unit] = []
    told: set[str] = set()
    proposed: list[str] = []
    while not queue.empty or running:
        for unit in queue.take(chance.randint(0, 4)):
            needed = [] if "main" in unit.params else [m for m in MAINS if m.params["group"] == unit.params["group"]]
            assert {m.key for m in needed} <= told
            proposed.append(unit.key)
            running.append(unit)
        if running and chance.random() < 0.7:
            unit = running.pop(chance.randrange(len(running)))
            told.add(unit.key)
            queue.tell(unit.key)
    assert sorted(proposed) == sorted(u.key for u in (*MAINS, *BRANCHES[0], *BRANCHES[1], *BRANCHES[2]))


@pytest.mark.parametrize("seed", range(20))
def test_after_a_resume_only_units_without_rows_are_proposed(seed: int) -> None:
    chance, queue = random.Random(seed), queue_of()
    everything = [*MAINS, *(u for branches in BRANCHES.values() for u in branches)]
    rows = chance.sample(everything, chance.randint(0, len(everything)))
    for unit in rows:
        queue.tell(unit.key)
    proposed: list[str] = []
    while units := queue.take(chance.randint(1, 5)):
        proposed += [u.key for u in units]
        for unit in units:
            queue.tell(unit.key)
    assert queue.empty and sorted(proposed + [u.key for u in rows]) == sorted(u.key for u in everything)


def test_without_branches_nothing_waits() -> None:
    queue = queue_of([m for m in MAINS if m.params["group"] == 3])
    assert not queue.waits and len(queue.take(9)) == 3 and queue.empty and queue.take(9) == []
