"""The roster of a pack: no model is ever in two rows, or lost, or charged for what others cost."""

from __future__ import annotations

import json
import random

import pytest

from landsweep.sweeps.lab.training.roster import Roster

SMALLEST = 8


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_models_come_and_go_and_keep_their_rows_in_order(seed: int, exact: bool) -> None:
    """Against the plain bookkeeping: a set of models, and a sum for each."""
    rng = random.Random(seed)
    models = rng.randrange(1, 40)
    roster, training, seconds = Roster(models, exact=exact), set(range(models)), [0.0] * models
    assert len(roster.rows) == (models if exact else max(models, SMALLEST))
    while training:
        ending = {m for m in training if rng.random() < 0.2}
        for model in rng.sample(range(models), rng.randrange(3)):
            roster.ask_to_stop(model)
            ending |= {model} & training
        stopped = {roster.rows[row] for row in roster.to_stop()}
        assert stopped <= ending and roster.to_stop() == []
        spent = rng.random()
        roster.charge(spent)
        for model in training:
            seconds[model] += spent / len(training)
        roster.end(ending)
        training -= ending
        before, rows = list(roster.rows), roster.worth_keeping()
        assert rows == sorted(set(rows)) and set(roster.active) <= set(rows)
        assert len(rows) == len(before) or len(rows) >= (len(training) if exact else SMALLEST)
        roster.take(rows)
        assert roster.rows == [before[row] for row in rows]
        assert [roster.rows[row] for row in roster.active] == sorted(training)
        assert sorted(roster.active + roster.idle) == list(range(len(roster.rows)))
        if exact and training:
            assert not roster.idle
        other = Roster(models, exact=exact)
        other.load(json.loads(json.dumps(roster.header())))
        assert (other.rows, other.active, other.idle) == (roster.rows, roster.active, roster.idle)
        assert [other.seconds(m) for m in range(models)] == [roster.seconds(m) for m in range(models)] == seconds


@pytest.mark.parametrize(
    ("models", "ended", "rows"),
    [
        (4, [0], list(range(8))),  # spare rows fill the pack up
        (20, list(range(9)), list(range(20))),  # eleven of twenty are more than half: copying would cost more
        (20, list(range(10)), list(range(10, 20))),
        (20, list(range(19)), [*range(7), 19]),  # idle rows make up for what is missing
        (20, list(range(20)), list(range(20))),  # nobody is left to gain from it
    ],
)
def test_rows_of_packs_whose_results_depend_on_their_number(models: int, ended: list[int], rows: list[int]) -> None:
    roster = Roster(models, exact=False)
    roster.end(ended)
    assert roster.worth_keeping() == rows
