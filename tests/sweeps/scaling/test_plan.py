"""What a study trains: counts, budgets, limits, rules, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.scaling.kind import ScalingSpec
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.plan import Cell, cells
from landsweep.sweeps.scaling.recipes import StudyRecipes
from landsweep.sweeps.scaling.study import proposals
from tests.support.studies import GPT_RECIPE, KIND, study_spec


def planned_cells(**changes: Any) -> list[Cell]:
    spec = study_spec(**changes)
    return cells(spec, Ladder(spec))


def test_each_budget_is_spent_to_the_nearest_step_and_counted_exactly() -> None:
    found = planned_cells(limits={"least_steps": 30})
    for cell in found:
        assert cell.budget is not None
        assert abs(cell.flops - cell.budget) <= cell.size.step_flops / 2
        assert cell.tokens == cell.steps * 32 * 16
        assert cell.steps >= 30
    by_hand = {(b, w) for b in (1e9, 3e9) for w in (8, 12, 16, 24, 32) if not (b == 1e9 and w == 32)}
    assert {(c.budget, c.size.width) for c in found} == by_hand, "32 wide would train for 21 steps"


def test_a_ladder_gives_each_size_its_share_of_tokens() -> None:
    found = planned_cells(budgets=None, ratios=[10, 20])
    assert len(found) == 10
    for cell in found:
        ratio = cell.tokens / cell.size.parameters
        assert min(abs(ratio - 10), abs(ratio - 20)) <= 32 * 16 / 2 / cell.size.parameters


def test_limits_keep_what_lies_between_them() -> None:
    every = planned_cells(limits={"least_steps": 1})
    kept = planned_cells(limits={"least_steps": 30, "most_steps": 400, "tokens_per_parameter": [5, 100]})
    wanted = [c for c in every if 30 <= c.steps <= 400 and 5 <= c.tokens / c.size.parameters <= 100]
    assert [(c.budget, c.size.width) for c in kept] == [(c.budget, c.size.width) for c in wanted]
    assert 0 < len(kept) < len(every) == 10


@pytest.mark.parametrize(
    "changes",
    [
        {"ratios": [10, 10.0001]},
        {"ratios": [10, 10.0001, 10.0002, 40]},
        {"ratios": [1e-3, 2e-3]},
        {"rates": [1, 1.0000001, 2]},
    ],
)
def test_ratios_or_rates_that_lead_to_equal_runs_give_each_run_once(changes: dict[str, Any]) -> None:
    planner = KIND.planner(study_spec(**changes, limits={"least_steps": 1}))
    units = planner.ask(999)
    assert len({u.key for u in units}) == len(units) == planner.total == len(planner.fitted) and planner.exhausted


def test_depth_and_heads_follow_the_width() -> None:
    spec = study_spec(shape={"aspect": 8, "head_width": 4})
    recipes = StudyRecipes(spec)
    for unit in KIND.planner(spec).ask(99):
        net: Any = recipes.of(unit.params).net
        assert (net.width, net.depth, net.heads) == (
            unit.params["width"],
            net.width / 8 + (net.width == 12) * 0.5,
            net.width / 4,
        )
        assert unit.params["depth"] == net.depth


def test_rates_follow_size_and_horizon() -> None:
    rule = {"size": -0.25, "horizon": -0.5, "at_size": 2040, "at_horizon": 1e5}
    spec = study_spec(rate=rule, rates=[1, 2])
    ladder = Ladder(spec)
    for unit in KIND.planner(spec).ask(99):
        size = ladder.size(int(unit.params["width"] or 0))
        tokens = int(unit.params["steps"] or 0) * size.step_tokens
        rate = 0.02 * (size.parameters / 2040) ** -0.25 * math.sqrt(1e5 / tokens)
        found = float(unit.params["learning_rate"] or 0)
        assert min(abs(found / rate - 1), abs(found / rate - 2)) < 1e-5
        assert StudyRecipes(spec).of(unit.params).optimizer.model_dump()["learning_rate"] == found


def test_growing_axes_keeps_every_unit() -> None:
    few = {u.key for u in KIND.planner(study_spec()).ask(99)}
    changes: list[dict[str, Any]] = [{"budgets": [1e9, 3e9, 1e10]}, {"widths": [8, 10, 12, 16, 24, 32], "shape": None},
        {"seeds": {"range": 2}}, {"rates": [1, 2]}, {"ratios": [20]}, {"validate": {"budgets": [1e11]}}]  # fmt: skip
    for change in changes:
        base = {u.key for u in KIND.planner(study_spec(shape=None)).ask(99)} if "widths" in change else few
        assert base < {u.key for u in KIND.planner(study_spec(**change)).ask(99)} or "validate" in change
    assert study_spec(law="chinchilla", parameters="body").fingerprint() == study_spec().fingerprint()
    assert study_spec(shape={"head_width": 8}, widths=[8, 16, 24, 32]).fingerprint() != study_spec().fingerprint()


def test_dearest_first_and_seeds_of_a_cell_in_one_pack() -> None:
    units = KIND.planner(study_spec(seeds={"range": 2})).ask(99)
    flops = [cell.flops for cell in planned_cells() for _ in range(2)]
    assert flops == sorted(flops, reverse=True)
    assert [u.params["seed"] for u in units[:4]] == [0, 1, 0, 1]
    assert units[0].pack == units[1].pack != units[2].pack


def test_a_spec_survives_json_and_its_recipe_has_no_length() -> None:
    spec = study_spec(validate={"budgets": [1e11]})
    assert KIND.parse(json.loads(json.dumps(spec.model_dump(mode="json"))), "json") == spec


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"budgets": [1e5]}, ["budgets: 1e+05 FLOPs can be spent on no size", "least_steps is 20"]),
        ({"budgets": [1e9]}, ["5 sizes and horizons", "needs at least 6"]),
        ({"budgets": None}, ["`budgets` in FLOPs, or `ratios`"]),
        ({"budgets": None, "ratios": [1e-3, 10]}, ["ratios: at 0.001 tokens per parameter", "outside the limits"]),
        ({"budgets": [0, 1e9]}, ["budgets must be numbers above 0"]),
        ({"widths": [8, 14]}, ["14 is no multiple of shape.head_width, 4"]),
        ({"widths": [8, 12.5]}, ["widths must be whole numbers"]),
        ({"validate": {"budgets": [2e9]}}, ["validate.budgets: 2e+09", "not above the largest run"]),
        ({"validate": {"budgets": [1e11], "seeds": 2}}, ["only 1 seeds"]),
        (
            {"law": "power"},
            ["the loss as a law of N and D: kaplan_joint, kaplan_offset, chinchilla;", "power gives y from x"],
        ),
        ({"law": "kaplan_size"}, ["kaplan_size gives loss from N"]),
        ({"law": "rectified"}, ["rectified gives loss from D"]),
        ({"law": "optimal_rate"}, ["optimal_rate gives rate from N, D"]),
        ({"fixed": {"E": -1}}, ["fixed: E of chinchilla must be a number from 0 to inf; got -1"]),
        ({"fixed": {"A": 0}}, ["fixed: A of chinchilla must be above 0"]),
        ({"fixed": {"C": 1}}, ["no parameter 'C'"]),
        ({"fixed": dict.fromkeys(("E", "A", "B", "alpha", "beta"), 1)}, ["nothing is left to fit"]),
        ({"validate": {"budgets": [None]}}, ["validate.budgets must be numbers above 0, got [None]"]),
        ({"validate": {"budgets": ["abc"]}}, ["validate.budgets must be numbers above 0, got ['abc']"]),
        ({"law": "chincilla"}, ["there is no law 'chincilla'"]),
        ({"recipe": None}, ["either a `recipe` or `features`"]),
        ({"recipe": {**GPT_RECIPE, "steps": 100}}, ["leave `steps` out: the plan decides"]),
        ({"recipe": {**GPT_RECIPE, "data": {"source": "modular"}}}, ["recipe.data.source", "modular"]),
        ({"recipe": {**GPT_RECIPE, "evaluate": {"splits": ["train"]}}}, ["must hold test"]),
        ({"rate": {"size": -0.2}}, ["size: an exponent needs at_size"]),
        ({"shape": {"depth": 2, "aspect": 4}}, ["`depth` or `aspect`"]),
        ({"limits": {"least_steps": 50, "most_steps": 20}}, ["most_steps must be at least"]),
        ({"bugdets": [1e9]}, ["bugdets: unknown field; did you mean 'budgets'"]),
        ({"recipe": None, "features": {"ambient": 16}, "shape": None}, ["16 features need more than 16 coordinates"]),
    ],
    ids=lambda v: str(v)[:40] if isinstance(v, dict) else "",
)  # fmt: skip
def test_bad_specs_say_what_was_given_and_what_to_do(changes: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(UsageError) as e:
        study_spec(**changes)
    assert all(name in str(e.value) for name in names), e.value


@pytest.mark.parametrize(
    ("net", "shape"),
    [({"net": "resnet", "depth": 8, "width": 4}, {}), ({"net": "vit", "depth": 2, "heads": 2}, {"head_width": 4})],
    ids=["resnet", "vit"],
)
def test_candidates_of_networks_that_are_counted_by_dry_runs(net: dict[str, Any], shape: dict[str, Any]) -> None:
    recipe = {**GPT_RECIPE, "data": {"source": "digits"}, "net": net}
    ladder = Ladder(study_spec(recipe=recipe, shape=shape, widths=[4, 8, 16], budgets=[1e10, 1e11]))
    few, many = ladder.candidates(1e10), ladder.candidates(1e11, least_steps=2)
    assert len(many) < 100 and many[: len(few)] == few, "budgets share their sizes, so each is counted once"
    assert many[0].width == 4 and 2 * many[-1].step_flops <= 1e11 < 4 * many[-1].step_flops
    assert all(b.width - a.width == 4 or b.width < 1.2 * a.width for a, b in itertools.pairwise(many))


def _row(unit: Any, spec: ScalingSpec, ladder: Ladder) -> dict[str, Any]:
    """A row as training would leave it, its loss by a law: 2 + 300 / N^0.8 + 400 / D^0.6."""
    size, steps = ladder.size(int(unit.params["width"])), int(unit.params["steps"])
    tokens = steps * size.step_tokens
    loss = 2 + 300 / size.parameters**0.8 + 400 / tokens**0.6
    return {"key": unit.key, **unit.params, "status": "ok", "test_loss": loss, "parameters": size.parameters,
            "body_parameters": size.body, "tokens": tokens, "flops": float(steps * size.step_flops)}  # fmt: skip


def test_the_run_that_tests_the_fit_is_of_the_best_size_and_comes_once_all_others_have_rows() -> None:
    spec = study_spec(validate={"budgets": [1e11]}, budgets=[1e9, 3e9, 1e10])
    ladder, planner = Ladder(spec), KIND.planner(spec)
    units = planner.ask(99)
    assert planner.total == len(units) + 1 and not planner.exhausted
    for unit in units[:-1]:
        planner.tell(_row(unit, spec, ladder))
        assert planner.ask(99) == []
    planner.tell(_row(units[-1], spec, ladder))
    (test,) = planner.ask(99)
    assert planner.exhausted and test.params["role"] == "validate" and test.params["budget"] == 1e11
    best = min(
        ladder.candidates(1e11), key=lambda s: 2 + 300 / s.parameters**0.8 + 400 / (1e11 / s.step_flops * 512) ** 0.6
    )
    assert abs(math.log(int(test.params["width"] or 0) / best.width)) < 0.1
    again = KIND.planner(spec)
    for row in [_row(test, spec, ladder), *(_row(u, spec, ladder) for u in reversed(units))]:
        again.tell(row)
    assert again.exhausted and again.ask(99) == [], "with its row there, nothing is left, in whatever order rows come"


def test_asking_whether_a_plan_is_exhausted_does_not_change_it() -> None:
    spec = study_spec(validate={"budgets": [1e11]}, budgets=[1e9, 3e9, 1e10])
    ladder, read, other = Ladder(spec), KIND.planner(spec), KIND.planner(spec)
    units = KIND.planner(spec).ask(99)
    for row in (_row(u, spec, ladder) for u in units[:3]):
        read.tell(row)
        other.tell(row)
        assert not read.exhausted
    assert [u.key for u in read.ask(5)] == [u.key for u in other.ask(5)] == [u.key for u in units[3:8]]
    for row in (_row(u, spec, ladder) for u in units):
        assert not read.exhausted
        read.tell(row)
        other.tell(row)
    assert not read.exhausted and not read.exhausted
    assert [u.key for u in read.ask(5)] == [u.key for u in other.ask(5)] and read.exhausted and other.exhausted


def test_where_nothing_can_be_fitted_no_test_is_proposed() -> None:
    spec = study_spec(validate={"budgets": [1e11]})
    ladder, planner = Ladder(spec), KIND.planner(spec)
    units = planner.ask(99)
    for unit in units:
        planner.tell({**_row(unit, spec, ladder), "status": "diverged"})
    assert planner.ask(99) == [] and planner.exhausted and planner.total == len(units)
    with pytest.raises(UsageError, match="needs at least 6 sizes and horizons"):
        proposals(spec, [{**_row(u, spec, ladder), "status": "diverged"} for u in units])
    rows = pd.DataFrame([{**_row(u, spec, ladder), "status": "diverged"} for u in units])
    assert "no run" in str(KIND.report(spec, rows, pd.DataFrame()).sections[0].parts[0])
