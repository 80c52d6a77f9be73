"""The simulation behind docs/scale.md against what can be said without it."""

from __future__ import annotations

import pytest

from tests.benchmarks.scale_costs import Costs
from tests.benchmarks.scale_simulation import saturation, simulate

FREE = Costs(turn=0, worker=0, message=0, shard=0, row=0)


def only(**costs: float) -> Costs:
    return Costs(**{**vars(FREE), **costs})


def test_a_driver_that_costs_nothing_keeps_all_busy() -> None:
    found = simulate(100, 1.0, 5.0, FREE, 60)
    assert (found.idle, found.busy) == (0.0, 0.0)


@pytest.mark.parametrize("workers", [100, 400])
def test_a_saturated_driver_gives_a_shard_each_time_it_has_paid_for_one(workers: int) -> None:
    """Shards of 5 s at 0.1 s each: 50 workers can be fed, whatever their number."""
    found = simulate(workers, 1.0, 5.0, only(shard=0.1), 500)
    assert found.idle == pytest.approx(1 - 50 / workers, abs=0.02)
    assert found.busy == pytest.approx(1.0, abs=0.01)


def test_below_saturation_the_driver_is_busy_for_what_it_pays() -> None:
    """20 workers, a shard of 5 s each: 4 shards and 24 messages a second."""
    found = simulate(20, 1.0, 5.0, only(shard=0.05, message=0.01), 500)
    assert found.idle < 1e-3
    assert found.busy == pytest.approx(4 * 0.05 + 24 * 0.01, rel=0.05)


def test_saturation_is_where_the_costs_of_a_shard_fill_its_time() -> None:
    assert saturation(5.0, only(shard=0.05), 300) == pytest.approx(100 / 0.95, rel=0.08)
    assert saturation(20.0, only(shard=0.05), 300) == pytest.approx(400 / 0.95, rel=0.08)
