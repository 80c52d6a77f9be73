"""Sample sizes and the topology of surfaces in the report."""

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.report.parts import Figure, Table
from landsweep.sweeps.landscape.sample_size import expected_change, sample_size_parts, samples_for
from landsweep.sweeps.landscape.surfaces import Surface
from landsweep.sweeps.landscape.topology_report import topology_parts


@pytest.mark.parametrize("seed", range(20))
def test_the_expected_change_is_the_mean_over_all_orders(seed: int) -> None:
    losses = np.random.default_rng(seed).exponential(size=6)
    means = np.array([np.cumsum(order) / np.arange(1, 7) for order in itertools.permutations(losses)])
    wanted = (np.diff(means, axis=1) ** 2).mean(axis=0)
    np.testing.assert_allclose(expected_change(losses.std(ddof=1), np.arange(1.0, 6.0)), wanted, rtol=1e-10)


def test_it_falls_with_the_square_of_the_number_of_samples() -> None:
    k = np.geomspace(100, 1e6, 20)
    slope = np.polyfit(np.log(k), np.log(expected_change(0.7, k)), 1)[0]
    assert slope == pytest.approx(-2, abs=0.01)


@pytest.mark.parametrize(("deviation", "change"), [(1.0, 0.01), (0.3, 0.3), (5.0, 0.7), (1e-9, 1.0)])
def test_enough_samples_are_enough_and_one_less_is_not(deviation: float, change: float) -> None:
    k = samples_for(deviation, change)
    assert math.sqrt(expected_change(deviation, np.array(float(k)))) <= change * (1 + 1e-12)
    assert k == 1 or math.sqrt(expected_change(deviation, np.array(k - 1.0))) > change


def rows(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"model": "net", "test_loss": 2.0, "test_loss_se": 0.1, "test_n": 100, **columns})


def test_the_table_is_read_off_the_standard_errors(tmp_path: Any) -> None:
    given = rows(x=[0, 1], test_loss_se=[0.1, 0.3])
    table, figure = sample_size_parts(["test"], given.iloc[:1], given)
    assert isinstance(table, Table) and isinstance(figure, Figure)
    (line,) = table.lines
    assert line[:4] == ["net", "test", 100, pytest.approx(1.0)]
    assert line[4] == pytest.approx(1 / math.sqrt(99 * 100) / 2)
    assert line[5] == samples_for(1.0, 0.02) == 50
    figure.picture.savefig(tmp_path / "a.png")


@pytest.mark.parametrize(
    "columns",
    [
        {"test_loss_se": [None, None]},
        {"test_loss": [0.0, 0.0]},
        {"test_loss": [-1.0, 1.0]},
        {"test_n": [1, 1]},
        {"test_loss_se": [0.0, 0.0]},
        {"test_loss_se": [math.inf, 1.0]},
    ],
)
def test_nothing_is_said_where_nothing_is_known(columns: dict[str, Any]) -> None:
    given = rows(x=[0, 1], **columns)
    assert sample_size_parts(["test"], given.iloc[:1], given) == []


@pytest.mark.parametrize("loss", [5e-324, 1.0, 1e300])
@pytest.mark.parametrize("count", [2.0, 1e14])
def test_any_number_of_samples_is_drawn(count: float, loss: float, tmp_path: Any) -> None:
    given = rows(x=[0, 1], test_n=[count, count], test_loss=[loss, 1.0])
    _, figure = sample_size_parts(["test"], given.iloc[:1], given)
    assert isinstance(figure, Figure)
    figure.picture.savefig(tmp_path / "a.png")


@pytest.mark.parametrize("count", [9_007_199_254_740_992.0, 1e19, 1e308])
def test_numbers_that_nobody_has_are_left_out(count: float) -> None:
    given = rows(x=[0, 1], test_n=[count, count])
    assert sample_size_parts(["test"], given.iloc[:1], given) == []


def double_well(n: int) -> Surface:
    x = np.linspace(-1.5, 1.5, n)
    y = np.linspace(-1, 1, n)
    values = (x[:, None] ** 2 - 1) ** 2 + 0.3 * x[:, None] + 2 * y[None] ** 2
    return Surface("well", 0, ("x", "y"), (x, y), values, np.zeros((n, n), bool))


def test_a_double_well_has_one_finite_basin(tmp_path: Any) -> None:
    """(x^2 - 1)^2 + .3 x + 2 y^2: the shallow basin is .71714 deep."""
    table, figure = topology_parts("test", {"well": double_well(151)})
    assert isinstance(table, Table) and isinstance(figure, Figure)
    deep, shallow = table.lines
    assert deep[1].startswith("x -1.0") and deep[3:5] == ["never", None]
    assert shallow[1].startswith("x 0.9") and shallow[4] == pytest.approx(0.71714, abs=5e-4)
    assert "2 basins, saddle-minimum average distance" in table.caption
    figure.picture.savefig(tmp_path / "a.png")


def test_a_bowl_has_one_basin_and_no_diagram() -> None:
    x = np.linspace(-1, 1, 9)
    bowl = Surface("bowl", 0, ("x",), (x,), x**2, np.zeros(9, bool))
    (table,) = topology_parts("test", {"bowl": bowl})
    assert isinstance(table, Table) and len(table.lines) == 1
    nothing = Surface("none", 0, ("x",), (x,), np.full(9, np.nan), np.ones(9, bool))
    assert topology_parts("test", {"none": nothing}) == []
