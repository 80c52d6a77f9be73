"""Adaptive grids: the same surface from fewer points, the same ones whatever the order, with keys of the whole grid."""

import itertools
import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.report.parts import Figure, Table
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.landscape.colour_scale import Scale
from landsweep.sweeps.landscape.refinement import Index, Refinement, interpolated, ladder
from tests.support.landscapes import KIND, landscape_rows, landscape_spec, prepare
from tests.support.surfaces import FUNCTIONS, across_contours, of_function, of_network, refined


def cliff(x: Any, y: Any) -> Any:
    return 0.05 + 5 / (1 + np.exp(-30 * (x + 0.3 * y - 0.2)))


@pytest.mark.parametrize(
    ("name", "share", "error"),
    [("bowl", 0.08, 0.02), ("double well", 0.12, 0.01), ("crooked", 0.2, 0.01), ("valley", 0.12, 0.02)],
)
def test_a_fifth_of_the_points_gives_the_same_surface(name: str, share: float, error: float) -> None:
    """65 x 65 points of known surfaces whose losses span up to 2.6 decades; errors in decades, over all points."""
    values = of_function(FUNCTIONS[name], 65)
    filled, asked = refined(values, 0.03)
    assert len(asked) <= share * values.size
    off = np.abs(np.log10(filled.values) - np.log10(values))
    assert off.max() <= error
    assert (off[filled.computed] < 1e-12).all() and filled.computed.sum() == len(asked)
    assert len(filled.errors) == 16 and filled.errors.max() <= off[~filled.used].max() + 1e-12


NETWORKS: dict[str, dict[str, Any]] = {
    "perceptron": {"net": "mlp", "hidden": [64, 64]},
    "with skip connections": {"net": "resnet", "depth": 8, "width": 4},
    "without": {"net": "resnet", "depth": 8, "width": 4, "skip": False},
}


@pytest.mark.rotating
@pytest.mark.usefixtures("torch_threads")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fifth_of_the_points_gives_the_same_landscape_of_a_network(name: str) -> None:
    """Within 1 % of what the logarithm of the loss spans, over all points; contour lines within one cell."""
    values = of_network(NETWORKS[name], 65, epochs=5, first=64)
    filled, asked = refined(values, 0.05)
    assert len(asked) <= values.size / 5
    logs = np.log10(values)
    assert np.abs(np.log10(filled.values) - logs).max() <= 0.01 * np.ptp(logs)
    assert across_contours(values, filled.values, list(Scale.of([values]).levels()[1:-1])) == 0


def test_contours_that_are_apart_are_noticed() -> None:
    values = of_function(lambda x, y: x + 0 * y, 33)
    assert across_contours(values, values + 0.9 * 2 / 32, [0.25]) == 0
    assert across_contours(values, values + 2.1 * 2 / 32, [0.25]) > 0


def test_points_gather_where_the_surface_bends() -> None:
    values = of_function(cliff, 65)
    filled, asked = refined(values, 0.02, checks=0)
    x, y = np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 65), indexing="ij")
    near = np.abs(x + 0.3 * y - 0.2) < 0.25
    assert filled.computed[near].mean() > 4 * filled.computed[~near].mean()
    assert len(asked) < 0.35 * values.size


@pytest.mark.parametrize("seed", range(20))
def test_cubics_are_exact_from_the_two_coarsest_lattices(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    n = int(drawn.choice([17, 33]))
    x, powers = np.linspace(-1, 1, n), drawn.standard_normal((4, 4))
    values = np.polynomial.polynomial.polygrid2d(x, x, powers)
    filled, asked = refined(values, 1e-9, "linear", checks=8)
    assert len(asked) == 9 * 9 + 8
    np.testing.assert_allclose(filled.values, values, atol=1e-10)
    assert filled.errors.max() < 1e-10


@pytest.mark.parametrize("seed", range(20))
def test_order_and_further_rows_change_nothing(seed: int) -> None:
    """The same points are asked for, whatever comes first, and whether others of the grid are known already."""
    values = of_function(FUNCTIONS["crooked"], 33)
    filled, asked = refined(values, 0.02)
    shuffle = random.Random(seed)
    search = Refinement(values.shape, 0.02, "log", start=4, checks=16)
    ahead = shuffle.sample(list(itertools.product(range(33), range(33))), 200)
    for index in ahead:
        search.tell(index, float(values[index]))
    again: list[Index] = []
    while wants := search.wants():
        shuffle.shuffle(wants)
        for index in wants[: shuffle.randint(1, len(wants))]:
            again.append(index)
            search.tell(index, float(values[index]))
    assert set(again) == set(asked) - set(ahead)
    assert np.array_equal(search.filled().used, filled.used)
    assert np.array_equal(search.filled().errors, filled.errors)


def test_holes_are_followed_along_their_rim_and_not_inside() -> None:
    values = of_function(FUNCTIONS["bowl"], 65)
    x, y = np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 65), indexing="ij")
    hole = np.hypot(x - 0.4, y) < 0.35
    values[hole] = np.where(x[hole] > 0.5, np.inf, np.nan)
    filled, asked = refined(values, 0.02, checks=0)
    assert np.array_equal(np.isnan(filled.values), hole)
    deep = np.hypot(x - 0.4, y) < 0.2
    assert filled.computed[deep].mean() < 0.2 and len(asked) < 0.4 * values.size
    nothing, _ = refined(np.full((33, 33), np.nan), 0.02)
    assert np.isnan(nothing.values).all() and nothing.computed.sum() == 81 + 16


@pytest.mark.parametrize("shape", [(33,), (17, 33), (9, 33, 17), (31, 17)])
def test_any_dimension_and_unequal_axes(shape: tuple[int, ...]) -> None:
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    values = np.exp(sum((i + 1) * a**2 for i, a in enumerate(axes)))
    filled, asked = refined(values, 0.01)
    assert np.abs(np.log10(filled.values / values)).max() < 0.01
    assert len(asked) <= values.size
    last = ladder(shape, 4)[-1]
    assert last == (1,) * len(shape)


def test_a_metric_of_the_same_points_is_interpolated_alike() -> None:
    values = of_function(FUNCTIONS["bowl"], 33)
    filled, _ = refined(values, 0.02)
    again = interpolated(np.where(filled.computed, values, np.nan), filled.computed, "log", 4)
    np.testing.assert_allclose(again, filled.values, rtol=1e-12)


FIELDS: dict[str, Any] = {
    "models": {"net": {"net": "mlp", "hidden": [8], "train": {"epochs": 2}}},
    "axes": {"x": {"linear": [-1, 1, 17]}, "y": {"linear": [-1, 1, 17]}},
    "evaluators": {"test": {"split": "test"}, "few": {"split": "train", "first": 50}},
}


def all_units(units: Iterable[Unit]) -> dict[str, Unit]:
    return {u.key: u for u in units}


def run(spec: Any, losses: dict[str, dict[str, Any]], order: random.Random | None = None) -> list[Unit]:
    """The units of a refined sweep, its rows told in any order as they come."""
    planner, done = KIND.planner(spec), []
    running: list[Unit] = []
    while not planner.exhausted:
        running += planner.ask(7 if order else 1000)
        assert running
        unit = running.pop(order.randrange(len(running)) if order else 0)
        done.append(unit)
        planner.tell({"key": unit.key, **unit.params, **losses[unit.key]})
    assert not running and not planner.ask(100)
    return done


@pytest.fixture(scope="module")
def whole() -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    spec = landscape_spec(**FIELDS)
    rows = landscape_rows(spec, prepare(spec))
    keys = [u.key for u in KIND.planner(spec).ask(1000)]
    return rows, {k: {"test_loss": r["test_loss"]} for k, r in zip(keys, rows.to_dict("records"), strict=True)}


@pytest.mark.usefixtures("torch_threads")
def test_keys_are_those_of_the_whole_grid(whole: Any) -> None:
    """So a whole grid takes over the rows of a refined one, and the other way round."""
    _, losses = whole
    spec = landscape_spec(**FIELDS, refine={"tolerance": 0.05})
    assert spec.fingerprint() == landscape_spec(**FIELDS).fingerprint()
    done = run(spec, losses)
    assert all_units(done).keys() <= losses.keys() and len(done) < len(losses)
    for seed in range(5):
        assert all_units(run(spec, losses, random.Random(seed))) == all_units(done)
    planner, grid = KIND.planner(spec), all_units(KIND.planner(landscape_spec(**FIELDS)).ask(1000))
    for key, unit in grid.items():
        planner.tell({"key": key, **unit.params, **losses[key]})
    assert planner.exhausted and planner.ask(0) == [] == planner.ask(10)


@pytest.mark.usefixtures("torch_threads")
@pytest.mark.parametrize("seed", range(5))
def test_a_stopped_sweep_goes_on_with_the_same_units(whole: Any, seed: int) -> None:
    _, losses = whole
    spec = landscape_spec(**FIELDS, refine={"tolerance": 0.05})
    done = run(spec, losses)
    kept = random.Random(seed).sample(done, len(done) // 2)
    planner, more = KIND.planner(spec), []
    for unit in kept:
        planner.tell({"key": unit.key, **unit.params, **losses[unit.key]})
    assert planner.ask(0) == []
    while not planner.exhausted:
        for unit in planner.ask(1000):
            more.append(unit)
            planner.tell({"key": unit.key, **unit.params, **losses[unit.key]})
    assert all_units([*kept, *more]) == all_units(done) and len(kept) + len(more) == len(done)


@pytest.mark.usefixtures("torch_threads")
def test_the_report_says_what_was_computed_and_draws_the_rest(whole: Any) -> None:
    rows, losses = whole
    spec = landscape_spec(**FIELDS, refine={"tolerance": 0.05})
    done = {(u.params["x"], u.params["y"]) for u in run(spec, losses)}
    some = rows[[(x, y) in done for x, y in zip(rows["x"], rows["y"], strict=True)]]
    report = KIND.report(spec, some, pd.DataFrame())
    parts = [p for s in report.sections for p in s.parts]
    (table,) = [p for p in parts if isinstance(p, Table) and p.name == "refinement"]
    (line,) = table.lines
    assert line[2:4] == [len(done), 289] and line[5] == 16 and line[-1] == "yes"
    captions = [p.caption for p in parts if isinstance(p, Figure)]
    assert any(f"17 x 17 grid, {len(done) / 289:.1%} computed and the rest interpolated" in c for c in captions)
    assert any("Dots: the points that were computed." in c for c in captions)
    begun = KIND.report(spec, some.iloc[:30], pd.DataFrame())
    (table,) = [p for s in begun.sections for p in s.parts if isinstance(p, Table) and p.name == "refinement"]
    assert table.lines[0][-1] == "not yet"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"axes": {"x": {"linear": [-1, 1, 16]}}}, "axes.x: its 16 points can't be halved twice to 4 intervals"),
        ({"axes": {"x": {"linear": [-1, 1, 9]}}}, "axes.x: its 9 points can't be halved twice"),
        ({"axes": {"x": {"linear": [1, -1, 17]}}}, "needs rising coordinates"),
        ({"refine": {"evaluator": "tset"}}, "there is no evaluator 'tset'"),
        ({"refine": {"tolerance": 0}}, "refine.tolerance"),
    ],
)
def test_bad_refinements_say_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        landscape_spec(**{**FIELDS, "refine": {}, **fields})


def test_losses_that_are_not_positive_count_as_tiny_on_a_logarithmic_scale() -> None:
    filled, _ = refined(np.linspace(0, 1, 17), 0.02)
    assert filled.values[0] == pytest.approx(1e-12) and math.isfinite(filled.values.sum())
