"""Landscapes of models that are trained by a recipe, as in a zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example
from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.lab.models.catalogue import NetSpec
from landsweep.sweeps.landscape.kind import LandscapeSpec
from landsweep.sweeps.landscape.models import LandscapeModel
from landsweep.sweeps.zoo.kind import ZooKind, ZooSpec
from tests.support.landscapes import KIND, landscape_rows, landscape_spec, model_state, prepare

RECIPE: dict[str, Any] = {
    "net": {"net": "mlp", "hidden": [8]},
    "optimizer": {"method": "adamw", "learning_rate": 0.003},
    "steps": 12,
    "batch_size": 50,
    "evaluate": {"every_steps": 5},
}


def spec_of(recipe: dict[str, Any], **fields: Any) -> LandscapeSpec:
    return landscape_spec(**{"models": {"net": {"recipe": recipe}}, "axes": {"x": [-0.5, 0]}, **fields})


CHANGES: dict[str, dict[str, Any]] = {
    "adamw": {},
    "muon": {"optimizer": {"method": "muon", "learning_rate": 0.02}},
    "muP, averaged, warmed up": {
        "parametrization": {"scheme": "mup", "base_width": 4},
        "averaging": {"average": "exponential", "decay": 0.9},
        "schedule": {"shape": "cosine", "warmup_steps": 3},
    },
    "dropout and noise in float64": {
        "net": {"net": "cnn", "channels": [3, 4], "norm": "batch", "dropout": 0.2},
        "label_noise": 0.2,
        "train_fraction": 0.5,
        "dtype": "float64",
    },
    "sharpness-aware": {"optimizer": {"method": "sam"}, "seed": 3},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_the_centre_is_the_model_of_a_zoo_with_this_recipe(change: dict[str, Any], tmp_path: Path) -> None:
    """Bit for bit, whatever the method; and the row at the centre is what the zoo says of it."""
    recipe = {**RECIPE, **change}
    seed = recipe.get("seed", 0)
    zoo_recipe = {**{k: v for k, v in recipe.items() if k != "seed"}, "data": {"source": "digits"}}
    fields = {"kind": "zoo", "name": "z", "recipe": zoo_recipe, "seeds": [seed], "backend": "loop"}
    assert run_example(ZooKind(), parse(ZooSpec, fields, "zoo"), tmp_path / "zoo").phase == "done"
    (member,) = Zoo(tmp_path / "zoo")
    spec = spec_of(recipe)
    KIND.check(spec, Workbench())
    made = prepare(spec)
    weights, stored = model_state(made), member.state()
    assert weights.keys() == stored.keys()
    for name, tensor in stored.items():
        assert weights[name].dtype == tensor.dtype
        assert torch.equal(weights[name], tensor), name
    centre = landscape_rows(spec, made).set_index("x").loc[0]
    assert centre["test_loss"] == pytest.approx(member.row["test_loss"], rel=1e-6)
    assert centre["test_accuracy"] == pytest.approx(member.row["test_accuracy"], abs=1e-12)


def test_twice_is_the_same_and_the_history_is_kept() -> None:
    spec = spec_of({**RECIPE, "optimizer": {"method": "muon"}})
    first, second = prepare(spec)["model-net"], prepare(spec)["model-net"]
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[k], second[k]) for k in first)
    assert first["history/step"].tolist() == [5, 10, 12]
    assert np.isfinite(first["history/train_loss"]).all() and first["history/test_accuracy"].shape == (3,)


def test_a_recipe_can_train_on_other_data_than_the_landscape_is_drawn_on() -> None:
    held_back = {"source": "callable", "path": f"{__name__}:half"}
    made = [prepare(spec_of({**RECIPE, **more}))["model-net"] for more in ({}, {"data": held_back})]
    assert not np.array_equal(made[0]["state/out.weight"], made[1]["state/out.weight"])
    with pytest.raises(SpecError, match=r"models\.net\.recipe\.data: gives inputs \[4\] and 3 outputs, but the landsc"):
        KIND.check(spec_of({**RECIPE, "data": {"source": "callable", "path": f"{__name__}:other"}}), Workbench())


def half() -> dict[str, Any]:
    splits = Digits(source="digits").load(Path()).splits
    return {name: (s.inputs[::2], s.targets[::2]) for name, s in splits.items()}


def other() -> dict[str, Any]:
    return {name: (torch.zeros(60, 4), torch.arange(60) % 3) for name in ("train", "test")}


def test_a_whole_sweep_runs_resumes_nothing_and_has_one_key_per_recipe(tmp_path: Path) -> None:
    spec = spec_of(RECIPE)
    assert run_example(KIND, spec, tmp_path / "a").phase == "done"
    again = run_example(KIND, parse(LandscapeSpec, spec.model_dump(mode="json"), "sweep.json"), tmp_path / "a")
    assert again.new == 0
    other_seed = {u.key for u in KIND.planner(spec_of({**RECIPE, "seed": 1})).ask(9)}
    assert not other_seed & metrics_of(tmp_path / "a").keys()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({**RECIPE, "split": "valid"}, r"models\.net\.recipe\.split: there is no split 'valid'"),
        ({**RECIPE, "net": {"net": "gpt"}}, r"models\.net: gpt takes tokens"),
        ({**RECIPE, "branched_at": 3}, r"recipe\.branched_at: a landscape has no main run"),
        ({k: v for k, v in RECIPE.items() if k != "net"}, r"models\.net\.recipe\.net: missing"),
        ({**RECIPE, "optimiser": {}}, r"models\.net\.recipe\.optimiser: unknown field; did you mean 'optimizer'\?"),
    ],
)
def test_bad_recipes_say_why(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(recipe)


def test_a_recipe_that_diverges_or_does_not_fit_is_refused() -> None:
    wild = spec_of({**RECIPE, "optimizer": {"method": "sgd", "learning_rate": 1e30}})
    with pytest.raises(SpecError, match=r"models\.net\.recipe: the training diverged, .*; lower the learning rate"):
        prepare(wild)
    with pytest.raises(SpecError, match=r"models\.net\.recipe: .*batch"):
        KIND.check(spec_of({**RECIPE, "batch_size": 5000}), Workbench())


def test_statistics_are_reestimated_from_the_split_that_the_recipe_trains_on() -> None:
    net = {"net": "mlp", "hidden": [8], "norm": "batch"}
    spec = spec_of({**RECIPE, "net": net, "split": "test"}, batch_norm="reestimate")
    assert spec.models["net"].split == "test"
    assert set(landscape_rows(spec, prepare(spec))["status"]) == {"ok"}


def test_a_landscape_of_a_regression_is_drawn() -> None:
    """The directions of the output layer have its shape, though there are no classes."""
    data = {"source": "teacher_student", "features": 5, "outputs": 2, "task": "regression"}
    for source in ({"recipe": RECIPE}, {"net": "mlp", "hidden": [4], "train": {"epochs": 1}}):
        fields = {"data": data, "evaluators": {"test": {"split": "test", "loss": "mse"}}, "models": {"net": source}}
        spec = spec_of(RECIPE, **fields)
        KIND.check(spec, Workbench())
        made = prepare(spec)
        assert made["directions-net-0"]["x/out.weight"].shape == made["model-net"]["state/out.weight"].shape
        assert set(landscape_rows(spec, made)["status"]) == {"ok"}


FLAT: list[dict[str, Any]] = [
    {"net": "mlp", "hidden": [12, 7], "norm": "batch", "dropout": 0.1, "train": {"epochs": 3, "optimizer": "adamw"}},
    {"net": "resnet", "depth": 14, "init": {"scale": 0.5}, "checkpoint": "a.pt"},
    {"net": "own", "build": "mine:build", "args": {"width": 3}},
    {"net": "cnn_l", "checkpoint": {"file": "a.pt", "entry": "state_dict"}},
]


@pytest.mark.parametrize("flat", FLAT, ids=lambda m: m["net"])
def test_the_form_on_one_level_is_dumped_as_ever_and_the_nested_one_is_the_same_model(flat: dict[str, Any]) -> None:
    sources = {k: v for k, v in flat.items() if k in ("train", "checkpoint")}
    net = {k: v for k, v in flat.items() if k not in sources}
    model = LandscapeModel.model_validate(flat)
    dumped = model.model_dump(mode="json")
    assert LandscapeModel.model_validate({"net": net, **sources}) == model
    assert LandscapeModel.model_validate(dumped) == model
    plain: Any = TypeAdapter(NetSpec).validate_python(net)
    assert list(dumped) == [*plain.model_dump(), "train", "checkpoint"]
    assert {k: dumped[k] for k in plain.model_dump()} == plain.model_dump(mode="json")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"net": "mlp", "trian": {"epochs": 1}}, "trian: unknown field; did you mean 'train'"),
        ({"net": "resnet", "skipp": True, "train": {"epochs": 1}}, "skipp: unknown field; did you mean 'skip'"),
        ({"net": "nothing", "train": {"epochs": 1}}, "does not match any of the expected tags"),
        ({"train": {"epochs": 1}}, "net: missing; only a `recipe`, or a model of another sweep, says what"),
        ({"net": "mlp", "recipe": {**RECIPE, "data": {"source": "digits"}}}, "leave `net` and its fields out"),
        ({"recipe": {**RECIPE, "data": {"source": "digits"}}, "train": {"epochs": 1}}, "got train and recipe"),
    ],
)
def test_bad_models_say_why(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LandscapeModel.model_validate(model)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ({"net": "resnet", "depth": 21, "train": {"epochs": 1}}, "models.a: depth must be 6n + 2"),
        ({"net": "resnet", "depth": "x", "train": {"epochs": 1}}, "models.a.depth: give a whole number"),
        ({"net": "mlp", "init": {"scael": 1}, "train": {"epochs": 1}}, "models.a.init.scael: unknown field"),
        ({"net": {"net": "mlp", "hiden": [3]}, "train": {"epochs": 1}}, "models.a.net.hiden: unknown field"),
        ({"recipe": {**RECIPE, "net": {"net": "mlp", "hiden": [3]}}}, "models.a.recipe.net.hiden: unknown field"),
        ({"recipe": {"epochs": 1}}, "models.a.recipe.net: missing"),
        ({"net": "own", "train": {"epochs": 1}}, "models.a.build: missing"),
        ({"net": "mlp", "train": {"epohcs": 1, "epochs": 1}}, "models.a.train.epohcs: unknown field"),
    ],
)  # fmt: skip
def test_a_complaint_names_the_field_where_it_was_given(model: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(RECIPE, models={"a": model})
    _, *lines = str(caught.value).splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"  - {complaint}")


def test_tables_of_tensors_say_how_directions_move_them() -> None:
    spec = spec_of(RECIPE, directions={"kind": "random", "rules": {"out.bias": {"policy": "raw"}}})
    (table,) = KIND.tensors(spec, Workbench())
    assert [line[:5] for line in table.lines] == [
        ("hidden.0.linear.weight", "8x64", "normalise", "dim 0", 8),
        ("hidden.0.linear.bias", "8", "zero", "whole", 1),
        ("out.weight", "10x8", "normalise", "dim 0", 10),
        ("out.bias", "10", "raw", "dim 0", 10),
    ]
    ends = {n: {"recipe": {**RECIPE, "seed": i}} for i, n in enumerate("ab")}
    line = spec_of(RECIPE, models=ends, directions={"kind": "interpolation", "ends": ["a", "b"]})
    with pytest.raises(SpecError, match="--tensors: an interpolation moves every tensor"):
        KIND.tensors(line, Workbench())
