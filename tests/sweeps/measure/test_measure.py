"""Measuring stored models: what rows hold, what a growing zoo and more measures do, what identity is made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landsweep import Zoo
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.run.sweep import Sweep, load_spec
from tests.support.measures import KIND, measure_spec, measured, small_zoo

LOSS = {"loss": {"measure": "losses", "evaluator": "test"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo of four models."""
    folder = tmp_path_factory.mktemp("home")
    small_zoo(folder / "zoo")
    return folder


def test_each_model_is_measured_and_rows_need_no_join(home: Path, tmp_path: Path) -> None:
    rows, end = measured(measure_spec(home), home, str(tmp_path / "each"))
    zoo = Zoo(home / "zoo").rows.set_index("key")
    assert len(rows) == end.done == 4
    for row in rows.itertuples():
        source = zoo.loc[row.of_key]
        assert row.loss == pytest.approx(source["test_loss"], rel=1e-5)
        assert row.of_test_loss == source["test_loss"]
        assert (row.seed, row.of_label, row.of_step) == (source["seed"], "last", 40)
    assert set(rows["optimizer.learning_rate"]) == {0.01, 0.1}


def test_all_checkpoints_are_measured_each_with_its_step(home: Path, tmp_path: Path) -> None:
    spec = measure_spec(home, of=[{"sweep": "zoo", "where": "seed == 0", "checkpoints": ["all"]}])
    rows, _ = measured(spec, home, str(tmp_path / "all"))
    assert sorted(rows["of_step"]) == [0, 0, 20, 20, 40, 40]
    by_step = rows.groupby("of_step")["loss"].mean()
    assert by_step[0] > by_step[20] > by_step[40]


def test_a_model_by_the_first_digits_of_its_key(home: Path) -> None:
    key = Zoo(home / "zoo").keys[1]
    spec = measure_spec(home, of=[{"sweep": "zoo", "key": key[:6], "checkpoints": ["step-000020"]}])
    (model,) = spec.of[0].models().models
    assert (model.key, model.label, model.step) == (key, "step-000020", 20)


def test_a_zoo_that_grows_brings_new_units_and_keeps_the_rows(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", seeds=1)
    before, _ = measured(measure_spec(tmp_path), tmp_path)
    small_zoo(tmp_path / "zoo", seeds=2)
    after, end = measured(measure_spec(tmp_path), tmp_path)
    assert (len(before), end.new, len(after)) == (2, 2, 4)
    assert set(before["key"]) <= set(after["key"])


def test_another_measure_keeps_the_rows(home: Path, tmp_path: Path) -> None:
    first, _ = measured(measure_spec(home), home, str(tmp_path / "more"))
    more = {**LOSS, "on-train": {"measure": "losses", "evaluator": "train"}}
    rows, end = measured(measure_spec(home, measures=more), home, str(tmp_path / "more"))
    assert (len(first), end.new, len(rows)) == (4, 4, 8)


def test_another_evaluator_keeps_the_rows(home: Path, tmp_path: Path) -> None:
    measured(measure_spec(home), home, str(tmp_path / "eval"))
    evaluators = {"train": {"split": "train"}, "test": {"split": "test"}, "few": {"split": "test", "first": 9}}
    _, end = measured(measure_spec(home, evaluators=evaluators), home, str(tmp_path / "eval"))
    assert end.new == 0


def test_the_plan_needs_the_zoo_no_more_and_its_path_is_no_identity(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", seeds=1)
    rows, _ = measured(measure_spec(tmp_path), tmp_path)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "zoo", tmp_path / "elsewhere/moved")
    sweep = Sweep.at(tmp_path / "out")
    assert sweep.keys() == list(rows["key"])
    findings = sweep.verify(deep=True)
    assert not findings.missing and not findings.damaged
    assert KIND.report(sweep.spec, sweep.rows(), sweep.series()) is not None
    _, end = measured(measure_spec(tmp_path, of=[{"sweep": "elsewhere/moved"}]), tmp_path)
    assert (end.new, end.done) == (0, 2)


def test_the_spec_survives_json(home: Path) -> None:
    spec = measure_spec(home, subjects={"choose": "pairs", "over": "seed"}, measures={"d": {"measure": "distance"}})
    again = KIND.parse(json.loads(json.dumps(spec.model_dump(mode="json"))), "json")
    assert again == spec
    assert [u.key for u in KIND.planner(again).ask(99)] == [u.key for u in KIND.planner(spec).ask(99)]


def test_pairs_over_seeds_have_equal_params_once_and_others_twice(home: Path, tmp_path: Path) -> None:
    pairs = {"choose": "pairs", "within": ["optimizer.learning_rate"], "over": "seed"}
    spec = measure_spec(home, subjects=pairs, measures={"far": {"measure": "distance"}})
    rows, _ = measured(spec, home, str(tmp_path / "pairs"))
    zoo = Zoo(home / "zoo")
    assert list(rows["seed_a"]) == [0, 0] and list(rows["seed_b"]) == [1, 1]
    assert sorted(rows["optimizer.learning_rate"]) == [0.01, 0.1]
    for row in rows.itertuples():
        a, b = (zoo[key].vector().double().numpy() for key in (row.of_key_a, row.of_key_b))
        assert row.distance == pytest.approx(np.linalg.norm(a - b), rel=1e-12)
        assert row.of_test_loss_a == zoo[row.of_key_a].row["test_loss"]


def test_pairs_along_training(home: Path) -> None:
    of = [{"sweep": "zoo", "checkpoints": ["step-000000", "step-000020", "last"]}]
    pairs = {"choose": "pairs", "over": "step"}
    spec = measure_spec(home, of=of, subjects=pairs, measures={"far": {"measure": "distance"}})
    units = KIND.planner(spec).ask(99)
    steps = sorted((u.params["of_step_a"], u.params["of_step_b"]) for u in units)
    assert steps == [(0, 20)] * 4 + [(0, 40)] * 4 + [(20, 40)] * 4
    assert all("of_key" in u.params and "of_key_a" not in u.params for u in units)


@pytest.mark.parametrize("seed", range(20))
def test_drawn_pairs_are_few_and_most_of_them_stay_as_the_zoo_grows(home: Path, seed: int) -> None:
    spec = measure_spec(
        home,
        subjects={"choose": "pairs", "within": [], "at_most": 3},
        measures={"far": {"measure": "distance"}},
        seed=seed,
    )
    few = {u.key for u in KIND.planner(spec).ask(99)}
    rates = measure_spec(home, of=[{"sweep": "zoo", "where": "seed == 0"}, {"sweep": "zoo", "where": "seed == 1"}])
    other = spec.model_copy(update={"of": rates.of})
    assert len(few) == 3
    assert {u.key for u in KIND.planner(other).ask(99)} == few  # however the refs are cut


def test_several_rules_give_each_measure_what_it_takes(home: Path, tmp_path: Path) -> None:
    spec = measure_spec(
        home,
        subjects=["each", {"choose": "pairs", "within": ["optimizer.learning_rate"], "over": "seed"}],
        measures={**LOSS, "far": {"measure": "distance"}},
    )
    rows, _ = measured(spec, home, str(tmp_path / "both"))
    assert rows["measure"].value_counts().to_dict() == {"loss": 4, "far": 2}
    assert rows.loc[rows["measure"] == "far", "loss"].isna().all()


def test_values_do_not_depend_on_the_company(home: Path, tmp_path: Path) -> None:
    together, _ = measured(measure_spec(home), home, str(tmp_path / "together"))
    for key in Zoo(home / "zoo").keys:
        alone, _ = measured(measure_spec(home, of=[{"sweep": "zoo", "key": key}]), home, str(tmp_path / key))
        pd.testing.assert_frame_equal(
            alone[["key", "loss", "loss_se"]],
            together.loc[together["of_key"] == key, ["key", "loss", "loss_se"]].reset_index(drop=True),
        )


def test_claims_about_columns_are_checked_once_the_models_are_known(home: Path) -> None:
    """Which columns there are is known when the models have been read, not when the fields are parsed."""
    text = """
kind: measure
of: [{sweep: zoo}]
measures: {loss: {measure: losses, evaluator: test}}
claims: [{says: larger rates fit better, holds: "CLAIM"}]
"""
    good = "mean(loss, optimizer.learning_rate == 0.1) < mean(of_test_loss, seed == 0) + 9"
    (home / "good.yaml").write_text(text.replace("CLAIM", good), encoding="utf-8")
    load_spec(home / "good.yaml")
    (home / "bad.yaml").write_text(text.replace("CLAIM", "mean(lost) < 1"), encoding="utf-8")
    with pytest.raises(UsageError, match="lost"):
        load_spec(home / "bad.yaml")
