"""Directions that are not drawn, and paths: rows against independent evaluation."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.report.parts import Figure
from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.landscape.kind import LandscapeSpec
from tests.support.landscapes import KIND, landscape_rows, landscape_spec, model_state, prepare

pytestmark = pytest.mark.usefixtures("torch_threads")

NET = {"net": "mlp", "hidden": [8]}
RECIPE = {"net": NET, "optimizer": {"method": "sgd", "learning_rate": 0.1}, "epochs": 1, "dtype": "float64"}
MODELS: dict[str, Any] = {name: {"recipe": {**RECIPE, "seed": seed}} for seed, name in enumerate(("a", "b", "c"))}


def spec_of(directions: Mapping[str, Any], axes: Mapping[str, Any], models: str = "a", **fields: Any) -> LandscapeSpec:
    named = {name: MODELS[name] for name in models}
    return landscape_spec(**{"models": named, "axes": axes, "directions": directions, **fields})


def loss_of(spec: LandscapeSpec, model: str, weights: Mapping[str, Any]) -> float:
    module = spec.models[model].make((1, 8, 8), 10, Path()).eval()
    test = Digits(source="digits").load(Path()).splits["test"].cast(torch.float64)
    state = {k: v if isinstance(v, torch.Tensor) else torch.tensor(v) for k, v in weights.items()}
    return float(nn.functional.cross_entropy(functional_call(module, state, test.inputs), test.targets))


def test_along_the_gradient_the_loss_rises_by_its_norm() -> None:
    spec = spec_of({"kind": "gradient"}, {"x": [-1e-4, 0, 1e-4]})
    rows = landscape_rows(spec, prepare(spec))
    slope = (rows["test_loss"].iloc[2] - rows["test_loss"].iloc[0]) / 2e-4
    assert slope == pytest.approx(rows["gradient_norm_x"].iloc[0], rel=1e-6)
    assert rows["norm_x"].iloc[0] == pytest.approx(1)
    given = spec_of({"kind": "gradient", "scale": "given"}, {"x": [0]})
    assert landscape_rows(given, prepare(given))["norm_x"].iloc[0] == pytest.approx(slope, rel=1e-6)


def test_the_gradient_is_that_of_the_evaluator_it_names() -> None:
    evaluators = {"test": {"split": "test"}, "few": {"split": "train", "first": 50}}
    spec = spec_of({"kind": "gradient", "evaluator": "few"}, {"x": [-1e-4, 1e-4]}, evaluators=evaluators)
    rows = landscape_rows(spec, prepare(spec))
    assert np.diff(rows["few_loss"])[0] / 2e-4 == pytest.approx(rows["gradient_norm_x"].iloc[0], rel=1e-6)


def test_towards_a_model_is_the_interpolation_and_goes_with_any_other_direction() -> None:
    other = spec_of({"kind": "interpolation", "ends": ["a", "b"]}, {"x": [0, 0.25, 1]}, "ab")
    axes = {"x": {"kind": "towards", "model": "b"}, "y": {"kind": "random"}}
    spec = spec_of({"kind": "mixed", "axes": axes}, {"x": [0, 0.25, 1], "y": [0, 0.5]}, "abc")
    rows = landscape_rows(spec, prepare(spec))
    assert set(rows["model"]) == {"a", "c"}  # b is where the lines lead, no centre
    line = rows[(rows["model"] == "a") & (rows["y"] == 0)]["test_loss"].tolist()
    assert line == pytest.approx(landscape_rows(other, prepare(other))["test_loss"].tolist(), rel=1e-12)
    ends = rows[(rows["x"] == 1) & (rows["y"] == 0)]["test_loss"]
    assert ends.iloc[0] == pytest.approx(ends.iloc[1], rel=1e-12)
    alone = spec_of({"kind": "random"}, {"y": [0.5]})
    assert rows[(rows["x"] == 0) & (rows["y"] == 0.5)]["test_loss"].iloc[0] == pytest.approx(
        landscape_rows(alone, prepare(alone))["test_loss"].iloc[0], rel=1e-12
    )


def test_mixed_directions_can_be_orthogonal() -> None:
    axes = {"x": {"kind": "towards", "model": "b"}, "y": {"kind": "gradient"}}
    for orthogonal in (False, True):
        spec = spec_of({"kind": "mixed", "axes": axes, "orthogonal": orthogonal}, {"x": [0], "y": [0]}, "ab")
        row = landscape_rows(spec, prepare(spec)).iloc[0]
        assert (abs(row["cosine_x_y"]) < 1e-12) == orthogonal


def test_a_plane_through_three_models_is_drawn_with_right_angles() -> None:
    fields = {"kind": "interpolation", "ends": ["a", "b", "c"], "orthogonal": True}
    first = spec_of(fields, {"x": [0, 1], "y": [0, 1]}, "abc")
    made = prepare(first)
    rows = landscape_rows(first, made)
    place = float(rows["end_y_x"].iloc[0])
    assert abs(rows["cosine_x_y"].iloc[0]) < 1e-12
    spec = spec_of(fields, {"x": [0, 1, place], "y": [0, 1]}, "abc")
    at = landscape_rows(spec, prepare(spec)).set_index(["x", "y"])["test_loss"]
    for model, (x, y) in {"a": (0, 0), "b": (1, 0), "c": (place, 1)}.items():
        assert at[x, y] == pytest.approx(loss_of(spec, model, model_state(made, model)), rel=1e-10)
    crooked = spec_of({**fields, "orthogonal": False}, {"x": [0, 1], "y": [0, 1]}, "abc")
    assert "end_y_x" not in [c.name for c in KIND.columns(crooked)]
    report = KIND.report(first, rows, pd.DataFrame())
    captions = [p.caption for s in report.sections for p in s.parts if isinstance(p, Figure)]
    assert any("Diamonds: the models. The plane is drawn to scale." in c for c in captions)


@pytest.mark.parametrize("axes", [["x"], ["x", "y"]])
def test_directions_from_a_file_move_what_it_names(axes: list[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    shapes = {
        n: p.shape
        for n, p in landscape_spec(models={"a": MODELS["a"]}).models["a"].make((1, 8, 8), 10, Path()).named_parameters()
    }
    name = next(iter(shapes))
    tensors = {axis: torch.randn(shapes[name], dtype=torch.float64) for axis in axes}
    save_file({name if len(axes) == 1 else f"{a}/{name}": t for a, t in tensors.items()}, tmp_path / "d.safetensors")
    spec = spec_of({"kind": "file", "file": "d.safetensors"}, {a: [0.5] for a in axes}).pinned(tmp_path)
    KIND.check(spec, Workbench(folder=tmp_path))
    made = prepare(spec, tmp_path)
    state = model_state(made, "a")
    moved = {**state, name: state[name] + 0.5 * sum(tensors.values())}
    row = landscape_rows(spec, made, tmp_path).iloc[0]
    assert row["test_loss"] == pytest.approx(loss_of(spec, "a", moved), rel=1e-10)
    copied = tmp_path / "elsewhere.safetensors"
    copied.write_bytes((tmp_path / "d.safetensors").read_bytes())
    same = spec_of({"kind": "file", "file": "elsewhere.safetensors"}, {a: [0.5] for a in axes}).pinned(tmp_path)
    assert same.fingerprint() == spec.fingerprint()  # by content, not by path
    save_file({name: torch.ones(shapes[name])}, tmp_path / "d.safetensors")
    with pytest.raises(SpecError, match="has changed"):
        KIND.check(spec, Workbench(folder=tmp_path))


FUNCTION = """
import torch

def ahead(module, samples, axis, draw, size):
    seen = sum(len(targets) for _, targets in samples)
    assert axis in ("x", "y") and not module.training and seen == 397
    return {name: size * torch.randn(p.shape) for name, p in module.named_parameters() if p.ndim > 1}

def still():
    return {"no": torch.zeros(1)}
"""


def test_directions_by_a_function_depend_on_draw_and_axis_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ahead_here.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(tmp_path)
    fields = {"kind": "function", "function": "ahead_here:ahead", "args": {"size": 0.1}}
    spec = spec_of(fields, {"x": [1], "y": [1]}, draws=[0, 1])
    KIND.check(spec, Workbench(folder=tmp_path))
    rows = landscape_rows(spec, prepare(spec, tmp_path), tmp_path)
    again = landscape_rows(spec, prepare(spec, tmp_path), tmp_path)
    assert rows["test_loss"].tolist() == again["test_loss"].tolist()
    assert rows["norm_x"].nunique() == 2 and not np.isclose(rows["norm_x"], rows["norm_y"]).any()
    unit = spec_of({**fields, "scale": "unit"}, {"x": [1]})
    assert landscape_rows(unit, prepare(unit, tmp_path), tmp_path)["norm_x"].iloc[0] == pytest.approx(1)
    wrong = spec_of({"kind": "function", "function": "ahead_here:still"}, {"x": [1]})
    with pytest.raises(SpecError, match="ahead_here:still, axis x: 'no' is no parameter"):
        prepare(wrong, tmp_path)


PATH = {"directions": {"kind": "trajectory"}, "axes": {"x": [-1, 0], "y": [0, 1]}, "path": {"checkpoints": 5}}


def path_spec(**fields: Any) -> LandscapeSpec:
    return landscape_spec(**{"models": {"a": MODELS["a"]}, **PATH, **fields})


def test_points_of_a_path_have_their_own_loss_and_that_of_the_plane() -> None:
    spec = path_spec()
    KIND.check(spec, Workbench())
    made = prepare(spec)
    rows = landscape_rows(spec, made)
    grid, path = rows[rows["checkpoint"].isna()], rows[rows["checkpoint"].notna()]
    assert len(grid) == 4 and path["checkpoint"].tolist() == [0, 1, 2, 3, 4]
    assert path["step"].tolist() == [0, 6, 11, 16, 22]  # 22 batches of 64 make an epoch of 1,400
    arrays, directions = made["model-a"], made["directions-a-0"]
    names = [k.removeprefix("path/") for k in arrays if k.startswith("path/")]
    for i, row in enumerate(path.itertuples()):
        own = {k: arrays[f"path/{k}"][i] for k in names}
        assert row.test_loss == pytest.approx(loss_of(spec, "a", own), rel=1e-10)
        near = {k: arrays[f"state/{k}"] for k in names}
        for k in names:
            if f"x/{k}" in directions:  # all but buffers
                near[k] = near[k] + row.path_x * directions[f"x/{k}"] + row.path_y * directions[f"y/{k}"]
        assert row.test_loss_projected == pytest.approx(loss_of(spec, "a", near), rel=1e-10)
        apart = np.sqrt(sum(((own[k] - near[k]) ** 2).sum() for k in names))
        if row.distance:
            assert row.off_plane == pytest.approx(apart / row.distance, rel=1e-6)
    untrained = spec.models["a"].make((1, 8, 8), 10, Path()).state_dict()
    assert path["test_loss"].iloc[0] == pytest.approx(loss_of(spec, "a", untrained), rel=1e-10)
    centre = grid[(grid["x"] == 0) & (grid["y"] == 0)].iloc[0]
    assert path["test_loss"].iloc[-1] == centre["test_loss"] == path["test_loss_projected"].iloc[-1]
    assert 0.5 < rows["explained_x"].iloc[0] < 1 and rows["explained_x"].iloc[0] > rows["explained_y"].iloc[0]
    report = KIND.report(spec, rows, pd.DataFrame())
    drawn = {p.name: p for s in report.sections for p in s.parts if isinstance(p, Figure)}
    assert "Line: the path" in drawn["map-test"].caption and "path-a" in drawn


def test_a_path_can_be_drawn_on_any_plane_and_come_from_files(tmp_path: Path) -> None:
    spec = path_spec()
    made = prepare(spec)
    names = [k.removeprefix("path/") for k in made["model-a"] if k.startswith("path/")]
    for i in range(5):
        save_file({k: torch.tensor(made["model-a"][f"path/{k}"][i]) for k in names}, tmp_path / f"{i}.safetensors")
    files = {"files": [f"{i}.safetensors" for i in range(5)]}
    stored = path_spec(path=files).pinned(tmp_path)
    KIND.check(stored, Workbench(folder=tmp_path))
    columns = ["test_loss", "test_loss_projected", "path_x", "path_y", "off_plane"]
    rows, other = landscape_rows(spec, made), landscape_rows(stored, prepare(stored, tmp_path), tmp_path)
    pd.testing.assert_frame_equal(rows[columns], other[columns])
    anywhere = path_spec(directions={"kind": "random"}, draws=[0, 1])
    on_random = landscape_rows(anywhere, prepare(anywhere))
    assert on_random["checkpoint"].notna().sum() == 10
    assert on_random["off_plane"].min() > rows["off_plane"].min()


def test_a_batch_normalised_point_of_a_path_keeps_its_own_statistics() -> None:
    recipe = {**RECIPE, "net": {**NET, "norm": "batch"}}
    spec = path_spec(models={"a": {"recipe": recipe}})
    made = prepare(spec)
    rows = landscape_rows(spec, made)
    second = rows[rows["checkpoint"] == 1].iloc[0]
    own = {k.removeprefix("path/"): v[1] for k, v in made["model-a"].items() if k.startswith("path/")}
    assert any("running_var" in k for k in own)
    assert second["test_loss"] == pytest.approx(loss_of(spec, "a", own), rel=1e-10)


def keys(planner: Planner) -> set[str]:
    return {u.key for u in planner.ask(10_000)}


def test_keys_change_with_what_rows_depend_on_and_with_nothing_else() -> None:
    line = spec_of({"kind": "interpolation", "ends": ["a", "b"]}, {"x": [0]}, "ab")
    assert keys(KIND.planner(line)) == keys(
        KIND.planner(spec_of({"kind": "interpolation", "ends": ["a", "b"], "orthogonal": False}, {"x": [0]}, "ab"))
    )
    path = path_spec()
    more = path_spec(axes={"x": [-1, 0, 2], "y": [0, 1]})
    assert keys(KIND.planner(path)) < keys(KIND.planner(more))
    for change in ({"path": {"checkpoints": 4}}, {"axes": {"y": [0, 1], "x": [-1, 0]}}):
        assert not keys(KIND.planner(path)) & keys(KIND.planner(path_spec(**change)))  # the order decides the component
    towards = {"kind": "mixed", "axes": {"x": {"kind": "towards", "model": "b"}}}
    other = copy.deepcopy(MODELS["c"])
    first = spec_of(towards, {"x": [0]}, "ab")
    second = landscape_spec(models={"a": MODELS["a"], "b": other}, axes={"x": [0]}, directions=towards)
    assert not keys(KIND.planner(first)) & keys(KIND.planner(second))  # what b stands for is in the keys


BAD_SPECS: list[tuple[Mapping[str, Any], str]] = [
    ({"directions": {"kind": "gradient"}}, "a gradient is one direction, but there are 2 axes"),
    ({"directions": {"kind": "gradient", "evaluator": "trian"}, "axes": {"x": [0]}}, "there is no evaluator 'trian'"),
    ({"directions": {"kind": "trajectory"}}, "need a `path`"),
    ({**PATH, "path": {}}, "give one of the two"),
    ({**PATH, "path": {"checkpoints": 5, "files": ["a.pt", "b.pt"]}}, "give one of the two"),
    ({**PATH, "models": {"a": {**NET, "train": {"epochs": 1}}}}, "model 'a' has no `recipe`"),
    ({**PATH, "models": MODELS, "path": {"files": ["a.pt", "b.pt"]}}, "the files lead to one model, but there are 3"),
    ({**PATH, "directions": {"kind": "trajectory", "components": [1]}}, "1 for 2 axes"),
    ({"directions": {"kind": "mixed", "axes": {"x": {"kind": "gradient"}}}}, "give each axis one direction"),
    (
        {"directions": {"kind": "mixed", "axes": {"x": {"kind": "towards", "model": "z"}}}, "axes": {"x": [0]}},
        "there is no model 'z'",
    ),
    (
        {
            "models": {"a": MODELS["a"]},
            "directions": {"kind": "mixed", "axes": {"x": {"kind": "towards", "model": "a"}}},
            "axes": {"x": [0]},
        },
        "none is left to be the centre",
    ),
    ({"directions": {"kind": "gradient"}, "axes": {"x": [0]}, "draws": [0, 1]}, "have nothing to draw"),
    ({**PATH, "axes": {"checkpoint": [0]}}, "are names of other columns"),
    ({"directions": {"kind": "gradient"}, "axes": {"x": [0]}, "batch_norm": "interpolate"}, "needs directions of kind"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_SPECS)
def test_bad_directions_say_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        landscape_spec(**{"models": {"a": MODELS["a"]}, **fields})


def test_what_only_a_run_can_see_is_refused_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"path.checkpoints: 30 points .* has 22 steps"):
        KIND.check(path_spec(path={"checkpoints": 30}), Workbench())
    three = path_spec(path={"checkpoints": 3}, axes={"x": [0], "y": [0], "z": [0]})
    with pytest.raises(SpecError, match="the path has 2 dimensions, but component 3 is wanted"):
        prepare(three)
    same = spec_of({"kind": "interpolation", "ends": ["a", "b", "b"], "orthogonal": True}, {"x": [0], "y": [0]}, "ab")
    with pytest.raises(SpecError, match="the direction of y lies in the span"):
        prepare(same)
    save_file({"z/w": torch.zeros(1)}, tmp_path / "d.safetensors")
    odd = spec_of({"kind": "file", "file": "d.safetensors"}, {"x": [0], "y": [0]}).pinned(tmp_path)
    with pytest.raises(SpecError, match=r"called AXIS/NAME, but one is 'z/w'"):
        KIND.check(odd, Workbench(folder=tmp_path))
    error = {"test": {"split": "test", "loss": "error"}}
    with pytest.raises(SpecError, match="under the evaluator test: its loss has no gradient"):
        prepare(spec_of({"kind": "gradient"}, {"x": [0]}, evaluators=error))


def test_along_eigenvectors_the_surface_bends_by_their_eigenvalues() -> None:
    """At both ends of the spectrum, against second differences and a whole Hessian by autograd."""
    few = {"few": {"split": "train", "first": 40}}
    small = {"a": {"recipe": {**RECIPE, "net": {"net": "mlp", "hidden": [3], "activation": "tanh"}}}}
    h = 1e-3
    axes = {"x": [-h, 0, h], "y": [-h, 0, h]}
    directions = {"kind": "hessian", "eigenvectors": [1, -1], "tolerance": 1e-6, "products": 230}
    spec = landscape_spec(models=small, axes=axes, directions=directions, evaluators=few)
    KIND.check(spec, Workbench())
    made = prepare(spec)
    rows = landscape_rows(spec, made)
    loss = rows.set_index(["x", "y"])["few_loss"]
    first = rows.iloc[0]
    for axis, ends in {"x": ((-h, 0), (h, 0)), "y": ((0, -h), (0, h))}.items():
        bend = (loss[ends[0]] - 2 * loss[0, 0] + loss[ends[1]]) / h**2
        assert bend == pytest.approx(first[f"eigenvalue_{axis}"], rel=1e-3, abs=1e-6)
        assert first[f"norm_{axis}"] == pytest.approx(1)
    module = spec.models["a"].make((1, 8, 8), 10, Path())
    module.load_state_dict(model_state(made, "a"))
    train = Digits(source="digits").load(Path()).splits["train"].cast(torch.float64)
    names, shapes = zip(*((n, p.shape) for n, p in module.named_parameters()), strict=True)
    flat = torch.cat([p.detach().ravel() for p in module.parameters()])

    def of(vector: torch.Tensor) -> torch.Tensor:
        parts = torch.split(vector, [s.numel() for s in shapes])
        weights = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return nn.functional.cross_entropy(functional_call(module, weights, train.inputs[:40]), train.targets[:40])

    values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(of, flat))
    assert first["eigenvalue_x"] == pytest.approx(float(values[-1]), rel=1e-6)
    assert first["eigenvalue_y"] == pytest.approx(float(values[0]), rel=1e-5)
    assert first["eigenvalue_y"] < 0 < first["eigenvalue_x"] and abs(first["cosine_x_y"]) < 1e-5


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        ({"eigenvectors": [1, 0]}, "there is no 0"),
        ({"eigenvectors": [1]}, "1 for 2 axes"),
        ({"evaluator": "none"}, "there is no evaluator 'none'"),
    ],
)
def test_bad_eigenvectors_say_why(directions: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        landscape_spec(models={"a": MODELS["a"]}, directions={"kind": "hessian", **directions})


def test_eigenvectors_that_are_not_exact_are_refused() -> None:
    spec = spec_of({"kind": "hessian", "products": 4, "tolerance": 1e-9}, {"x": [0]})
    with pytest.raises(SpecError, match=r"under the evaluator test: eigenvector 1 .* after 4 products"):
        prepare(spec)
