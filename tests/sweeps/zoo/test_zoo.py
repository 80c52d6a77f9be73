"""The zoo kind: plan, samples, rows, weights, regeneration, bad input."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from landsweep import Zoo
from landsweep.orchestrator.commands.cli import app
from landsweep.orchestrator.draws import RandomSamples
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.row import Outcome, Status
from landsweep.orchestrator.run.plan import planned
from landsweep.orchestrator.run.sweep import load_spec
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.lab.training import Training, train_pack
from landsweep.sweeps.lab.training_units.states import States
from landsweep.sweeps.zoo.audit import _difference, regenerate
from landsweep.sweeps.zoo.plan import Grid
from landsweep.sweeps.zoo.recipes import ZooRecipes
from tests.support.paths import SHIPPED_SPECS
from tests.support.zoos import KIND, SMALL_RECIPE, zoo_spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the example."""
    out = tmp_path_factory.mktemp("zoo")
    assert run_example(KIND, KIND.example(), out).phase == "done"
    return out


@pytest.mark.parametrize(
    ("name", "models"),
    [("zoo_phase_resnet18_cifar10", 192), ("zoo_taxonomy_resnet18_cifar10", 845), ("zoo_mnist_hyper_2022", 2560),
     ("zoo_small_cnn_mnist", 30_000), ("zoo_digits_hyper", 1024), ("zoo_digits_phase", 245)],
)  # fmt: skip
def test_published_grids_have_the_published_counts(name: str, models: int) -> None:
    kind, spec = load_spec(SHIPPED_SPECS / f"{name}.yaml")
    assert kind.planner(spec).total == models
    if models < 10_000:
        assert len({u.key for u in planned(kind, spec)}) == models


def test_units_of_equal_pack_keys_are_neighbours() -> None:
    spec = zoo_spec(axes={"optimizer.learning_rate": [0.1, 0.2], "net.hidden.0": [4, 8]}, seeds={"range": 2})
    recipes = ZooRecipes(spec)
    keys = [recipes.of(u.params).pack_key() for u in planned(KIND, spec)]
    changes = sum(a != b for a, b in itertools.pairwise(keys))
    assert len(set(keys)) == 2 and changes == 1


def test_samples_are_the_same_everywhere_and_more_of_them_keep_the_first() -> None:
    draw = {"optimizer.learning_rate": {"log_uniform": [1e-3, 1]}, "batch_size": {"choice": [16, 32]}}
    few = [KIND.planner(zoo_spec(axes={}, samples={"count": n, "draw": draw}, seeds="sample")).ask(99) for n in (3, 8)]
    assert {u.key for u in few[0]} < {u.key for u in few[1]}
    wider = {**draw, "net.hidden.0": {"integer": [4, 9]}}
    a, b = (RandomSamples.model_validate({"count": 4, "draw": d}) for d in (draw, wider))
    assert [a.values(i) for i in range(4)] == [{k: b.values(i)[k] for k in draw} for i in range(4)]
    assert a.values(0) == {"optimizer.learning_rate": 0.0115873, "batch_size": 32}, "pinned: must hold on any machine"
    values = [float(a.values(i)["optimizer.learning_rate"] or 0) for i in range(2000)]
    assert min(values) >= 1e-3 and max(values) <= 1
    assert sum(v < 10**-1.5 for v in values) / 2000 == pytest.approx(0.5, abs=0.04)


def test_zip_recipes_lists_and_whole_objects_make_the_recipes_that_one_reads() -> None:
    spec = zoo_spec(
        axes={"batch_size": [8, 16], "steps": [20, 10], "net.hidden": [[4], [4, 4]]},
        zip=[["batch_size", "recipe.steps"]],
        recipes={"sgd": {}, "adam": {"optimizer": {"method": "adam", "learning_rate": 0.01}}},
        seeds=[7],
    )
    recipes = [ZooRecipes(spec).of(u.params) for u in planned(KIND, spec)]
    assert len(recipes) == 8 == KIND.planner(spec).total
    assert {(r.batch_size, r.steps) for r in recipes} == {(8, 20), (16, 10)}
    assert {r.optimizer.method for r in recipes} == {"sgd", "adam"} and {r.seed for r in recipes} == {7}
    assert {tuple(r.net.hidden) for r in recipes} == {(4,), (4, 4)}  # type: ignore[union-attr]


def test_an_axis_over_a_method_leaves_no_setting_of_the_other_behind() -> None:
    spec = zoo_spec(recipe={**SMALL_RECIPE, "optimizer": {"method": "sgd"}}, axes={"optimizer.method": ["sgd", "adam"]})
    again = KIND.parse(json.loads(json.dumps(spec.model_dump(mode="json"))), "json")
    assert [u.key for u in planned(KIND, again)] == [u.key for u in planned(KIND, spec)]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"axes": {"optimizer.learning_rat": [0.1]}}, ["learning_rat", "did you mean 'learning_rate'"]),
        ({"axes": {"optimizer.learning_rate": [0.1, -1]}}, ["axes.optimizer.learning_rate", "-1", "greater than 0"]),
        ({"axes": {"net.hidden.3": [4]}}, ["net.hidden.3", "position"]),
        ({"axes": {"batch_size.x": [4]}}, ["batch_size.x"]),
        ({"axes": {"seed": [1, 2]}}, ["seeds"]),
        ({"axes": {"branch": [4]}}, ["'branch'", "no fields of a recipe"]),
        ({"axes": {"recipe.branch": [4]}}, ["'branch'", "no fields of a recipe"]),
        ({"samples": {"count": 2, "draw": {"branch": {"integer": [1, 2]}}}}, ["'branch'", "no fields of a recipe"]),
        ({"axes": {"steps": [1, 2]}, "zip": [["steps", "epochs"]]}, ["zip", "epochs"]),
        ({"samples": {"count": 3, "draw": {"batch_size": {"integer": None}}}}, ["batch_size", "bounds"]),
        ({"samples": {"count": 3, "draw": {"label_noise": {"uniform": [0.5, 0.1]}}}}, ["label_noise", "below"]),
        ({"samples": {"count": 3, "draw": {"label_noise": {"uniform": [0, 2]}}}}, ["label_noise", "less than"]),
        ({"samples": {"count": 3, "draw": {"optimizer.learning_rate": {"log_uniform": [0, 1]}}}}, ["above 0"]),
        ({"seeds": [0.5]}, ["seeds", "whole numbers"]),
        ({"recipe": {**SMALL_RECIPE, "optimizer": {"method": "sgd", "beta1": 0.9}}}, ["beta1", "momentum"]),
    ],
)  # fmt: skip
def test_bad_specs_name_the_field_and_what_is_allowed(changes: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(SpecError) as e:
        zoo_spec(**changes)
    assert all(name in str(e.value) for name in names), e.value


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ({**SMALL_RECIPE, "batch_size": 5000}, ["batch_size", "5000"]),
        ({**SMALL_RECIPE, "net": {"net": "gpt"}}, ["recipe.net", "gpt"]),
        (
            {**SMALL_RECIPE, "net": {"net": "own", "function": "fractions:Fraction", "args": {"width": 4}}},
            ["recipe.net: fractions:Fraction raised TypeError", "'width'"],
        ),
        ({**SMALL_RECIPE, "split": "valid"}, ["split", "'valid'", "train"]),
        ({**SMALL_RECIPE, "evaluate": {"splits": ["trai"]}}, ["evaluate.splits", "'trai'", "test"]),
        ({**SMALL_RECIPE, "checkpoints": {"at_steps": [41]}}, ["checkpoints", "41", "after the end"]),
        ({**SMALL_RECIPE, "checkpoints": {"best": "tset_loss"}}, ["checkpoints.best", "'tset_loss'", "test_loss"]),
    ],
)
def test_parts_that_do_not_fit_are_found_before_any_work(recipe: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(SpecError) as e:
        KIND.check(zoo_spec(recipe=recipe, axes={}), Workbench())
    assert all(name in str(e.value) for name in names), e.value


def test_every_share_of_the_data_is_checked_within_a_pack_too() -> None:
    recipe = {**SMALL_RECIPE, "batch_size": 512, "drop_last": True}
    spec = zoo_spec(recipe=recipe, axes={"train_fraction": [1.0, 0.2]})
    assert len({ZooRecipes(spec).of(p).pack_key() for p in Grid(spec)}) == 1
    with pytest.raises(SpecError, match="batch_size: 512 is more than the"):
        KIND.check(spec, Workbench())


def test_a_pinned_back_end_that_does_not_serve_is_found_before_any_work() -> None:
    named = {"method": "class", "name": "torch.optim:Adagrad", "learning_rate": 0.01}
    for recipe in ({**SMALL_RECIPE, "net": {"net": "cnn", "channels": [2]}}, {**SMALL_RECIPE, "optimizer": named}):
        with pytest.raises(SpecError, match="bmm"):
            KIND.check(zoo_spec(recipe=recipe, axes={}, backend="bmm"), Workbench())
        KIND.check(zoo_spec(recipe=recipe, axes={}, backend="loop"), Workbench())


@pytest.mark.parametrize(("pinned", "used"), [("bmm", "bmm"), ("auto", "loop")])
def test_a_state_of_another_back_end_does_not_stop_a_sweep(tmp_path: Path, pinned: str, used: str) -> None:
    spec = zoo_spec(recipe=SMALL_RECIPE, axes={}, seeds=[0], backend=pinned)
    bench = Workbench(artifacts=Artifacts(str(tmp_path)))
    units = list(planned(KIND, spec))
    recipe = ZooRecipes(spec).of(units[0].params)
    training = train_pack([recipe], recipe.data.load(bench.folder), backend="loop")
    next(training)
    name = States.name(recipe.pack_key(), units, [units[0].key])
    States(bench.artifacts).files(name).save(units, [units[0].key], training.state())
    rows = [o for o in KIND.open(spec, {}, bench).evaluate(units) if isinstance(o, Outcome)]
    assert [(o.status, o.metrics["backend"]) for o in rows] == [(Status.ok, used)]
    assert not list((tmp_path / "states").iterdir())


def test_an_optimizer_that_can_not_be_kept_trains_without_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(training: Training) -> Any:
        raise SpecError(f"{training.backend} can't be kept in the middle")

    monkeypatch.setattr(Training, "state", refused)
    spec = zoo_spec(recipe=SMALL_RECIPE, axes={}, seeds=[0])
    bench = Workbench(artifacts=Artifacts(str(tmp_path)), state_seconds=0.0)
    rows = [o for o in KIND.open(spec, {}, bench).evaluate(list(planned(KIND, spec))) if isinstance(o, Outcome)]
    assert [o.status for o in rows] == [Status.ok]


def test_differences_see_what_is_not_finite() -> None:
    nan, inf = math.nan, math.inf
    a = {"x": torch.tensor([1.0, 2.0]), "y": torch.tensor([nan, inf])}
    assert _difference(a, a) == 0
    assert _difference(a, {**a, "x": torch.tensor([1.0, 2.5])}) == 0.5
    for other in ([0.0, inf], [nan, -inf], [nan, nan]):
        assert _difference(a, {**a, "y": torch.tensor(other)}) == inf


def test_diverged_models_are_rows_and_keep_the_weights_they_had(tmp_path: Path) -> None:
    net = {"net": "mlp", "hidden": [8], "init": {"scale": 30.0}}
    recipe = {**SMALL_RECIPE, "net": net, "optimizer": {"method": "sgd", "momentum": 0.99}, "loss": "mse"}
    spec = zoo_spec(recipe=recipe, axes={"optimizer.learning_rate": [1e-9, 1e6]}, seeds=[0])
    run_example(KIND, spec, tmp_path)
    rows = Zoo(tmp_path).rows.sort_values("optimizer.learning_rate")
    assert list(rows["status"]) == ["ok", "diverged"]
    assert rows["diverged_step"].iloc[1] < 40 and "inf" in rows["error"].iloc[1]
    assert "step-000020" in rows["checkpoints"].iloc[0] and "step-000020" not in rows["checkpoints"].iloc[1]
    first, lost = Zoo(tmp_path)[rows["key"].iloc[0]], Zoo(tmp_path)[rows["key"].iloc[1]]
    assert torch.equal(first.vector("step-000000"), lost.vector("step-000000")), "one seed, one initialisation"
    with pytest.raises(UsageError, match="no checkpoint 'step-000020'; it has step-000000"):
        lost.state("step-000020")


def test_a_model_trained_again_alone_has_the_same_bits(folder: Path) -> None:
    zoo = Zoo(folder)
    for place in (0, 9):
        found = regenerate(zoo[place])
        assert found.bitwise and len(found.difference) == 3, found.text()
    other = regenerate(zoo[3], backend="loop")
    assert other.close, other.text()


def test_stored_accuracies_are_those_of_the_stored_weights(folder: Path) -> None:
    zoo = Zoo(folder)
    bench = Workbench(artifacts=Artifacts(str(folder)))
    assert KIND.audit(KIND.example(), zoo.rows, bench, 20) == []
    wrong = zoo.rows.copy()
    zoo.rows.loc[5, "test_accuracy"] += 0.02
    from landsweep.sweeps.zoo.audit import reevaluate

    found = reevaluate(zoo, wrong, bench, len(zoo))
    assert len(found) == 1 and "test_accuracy" in found[0] and zoo.rows["key"][5] in found[0]
    found = reevaluate(zoo, wrong.assign(status="diverged"), bench, 5)
    assert len(found) == 1 and "nothing was evaluated again" in found[0]


def test_a_flipped_bit_in_a_weight_file_is_found_and_named(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(folder), str(copied)], check=True)
    file = copied / Zoo(copied).rows["weights_file"].iloc[0]
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    told = CliRunner().invoke(app, ["verify", str(copied), "--reevaluate", "5"])
    assert told.exit_code == 1 and file.name in told.stdout and "checksum" in told.stdout
    assert "all as in their rows" in told.stdout, "models in other files are evaluated"
    file.write_bytes(data[:100])
    with pytest.raises(UsageError, match=f"{file.name}.*damaged"):
        Zoo(copied)[0].state()


def test_grids_grow_without_changing_keys_of_what_is_there() -> None:
    small, large = (
        zoo_spec(axes={"optimizer.learning_rate": v}, seeds={"range": n}) for v, n in (([0.1], 2), ([0.1, 1], 3))
    )
    assert {u.key for u in planned(KIND, small)} < {u.key for u in planned(KIND, large)}
    assert small.fingerprint() == large.fingerprint()


def test_every_row_says_how_it_was_made(folder: Path) -> None:
    rows = Zoo(folder).rows
    assert set(rows["backend"]) == {"bmm"} and (rows["pack_size"] >= 1).all()
    assert (rows["steps_done"] == 40).all() and (rows["gradient_evaluations"] == 40).all()
    sizes = {4: 65 * 4 + 5 * 10, 8: 65 * 8 + 9 * 10}
    assert all(row["parameters"] == sizes[row["net.hidden.0"]] for _, row in rows.iterrows())
    assert set(read_yaml(SHIPPED_SPECS / "zoo_digits_hyper.yaml")) >= {"recipe", "samples"}
    assert Grid(KIND.example()).total == len(rows) == 16
