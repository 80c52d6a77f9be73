"""Landscapes of inputs: corners, affine networks in closed form, gradients, what is drawn, what is refused."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.report.parts import Figure, Table
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.landscape.kind import LandscapeSpec
from tests.support.landscapes import KIND, landscape_rows, model_state, prepare

pytestmark = pytest.mark.usefixtures("torch_threads")

NET = {"net": "mlp", "hidden": [8], "norm": "batch", "train": {"epochs": 1}}
AFFINE = {"net": {"net": "mlp", "hidden": []}, "optimizer": {"method": "adamw"}, "epochs": 1, "dtype": "float64"}
PLANE = {"x": [0, 0.25, 1], "y": [0, 0.7, 1]}
LINE = {"x": [0.0, 1e-4]}


def spec_of(space: Mapping[str, Any], axes: Mapping[str, Any] = PLANE, **fields: Any) -> LandscapeSpec:
    base: dict[str, Any] = {"kind": "landscape", "name": "t", "data": {"source": "digits"}, "models": {"net": NET}}
    given = {**base, "space": {"kind": "inputs", **space}, "axes": axes, **fields}
    return parse(LandscapeSpec, copy.deepcopy(given), "test")


def rows_of(spec: LandscapeSpec, folder: Path = Path()) -> pd.DataFrame:
    KIND.check(spec, Workbench(folder=folder))
    return landscape_rows(spec, prepare(spec, folder), folder)


def test_at_the_corners_of_a_plane_lie_the_samples_to_the_last_bit() -> None:
    spec = spec_of({"origin": 4, "along": {"x": 11, "y": 200}})
    made = prepare(spec)
    rows = landscape_rows(spec, made).set_index(["x", "y"])
    module = spec.models["net"].make((1, 8, 8), 10, Path()).eval()
    module.load_state_dict(model_state(made))
    test = Digits(source="digits").load(Path()).splits["test"]
    for judge, number, corner in (("origin", 4, (0, 0)), ("x", 11, (1, 0)), ("y", 200, (0, 1))):
        one, label = test.inputs[number : number + 1], test.targets[number : number + 1]
        with torch.no_grad():
            outputs = module(one)
        row = rows.loc[corner]
        assert row[f"{judge}_loss"] == float(F.cross_entropy(outputs, label))
        assert row[f"{judge}_probability"] == float(outputs.double().softmax(1)[0, label])
        assert (row["predicted"], row["confidence"]) == (
            int(outputs.argmax()),
            float(outputs.double().softmax(1).max()),
        )
        assert (row[f"{judge}_sample"], row[f"{judge}_class"]) == (number, int(label))
    flat = test.inputs[[4, 11, 200]].double().flatten(1)
    legs = flat[1:] - flat[0]
    assert rows["norm_x"].iloc[0] == pytest.approx(float(legs[0].norm()), rel=1e-12)
    assert rows["cosine_x_y"].iloc[0] == pytest.approx(float(F.cosine_similarity(legs[0], legs[1], 0)), rel=1e-12)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_an_affine_network_has_a_plane_in_closed_form(loss: str) -> None:
    spec = spec_of(
        {"origin": 0, "along": {"x": 1, "y": 2}, "loss": loss},
        {"x": [-1.5, 0, 0.3, 1], "y": [0, 0.6, 2.5]},
        models={"net": {"recipe": AFFINE}},
    )
    made = prepare(spec)
    rows = landscape_rows(spec, made)
    test = Digits(source="digits").load(Path()).splits["test"]
    state = model_state(made)
    corners = test.inputs[:3].double().flatten(1) @ state["out.weight"].T + state["out.bias"]
    for _, row in rows.iterrows():
        outputs = (1 - row["x"] - row["y"]) * corners[0] + row["x"] * corners[1] + row["y"] * corners[2]
        wanted = F.one_hot(test.targets[1], 10).double()
        told = (
            float(((outputs - wanted) ** 2).mean())
            if loss == "mse"
            else -float(outputs.log_softmax(0)[test.targets[1]])
        )
        assert row["x_loss"] == pytest.approx(told, rel=1e-12)
        assert row["origin_probability"] == pytest.approx(float(outputs.softmax(0)[test.targets[0]]), rel=1e-12)
        assert row["predicted"] == int(outputs.argmax())
        assert row["log_likelihood"] == pytest.approx(math.log(float(outputs.exp().sum())), rel=1e-10)


def test_along_the_gradient_the_loss_rises_by_its_norm_and_along_its_signs_by_its_sum() -> None:
    rows = {}
    for along in ("gradient", "gradient_sign"):
        spec = spec_of({"origin": 3, "along": {"x": along}}, LINE, models={"net": {"recipe": AFFINE}})
        rows[along] = rows_of(spec)
        assert [c.name for c in KIND.columns(spec) if c.name.endswith("_loss")] == ["origin_loss"]
    slopes = {k: float(np.diff(r["origin_loss"])[0]) / 1e-4 for k, r in rows.items()}
    assert slopes["gradient"] == pytest.approx(rows["gradient"]["gradient_norm_x"].iloc[0], rel=1e-3)
    spec = spec_of({"origin": 3}, LINE, models={"net": {"recipe": AFFINE}})
    state = model_state(prepare(spec))
    test = Digits(source="digits").load(Path()).splits["test"]
    one = test.inputs[3].double().flatten()
    errors = (one @ state["out.weight"].T + state["out.bias"]).softmax(0) - F.one_hot(test.targets[3], 10).double()
    gradient = errors @ state["out.weight"]  # by hand: the outputs' errors times the weights
    assert slopes["gradient_sign"] == pytest.approx(float(gradient.abs().sum()), rel=1e-3)
    assert rows["gradient"]["gradient_norm_x"].iloc[0] == pytest.approx(float(gradient.norm()), rel=1e-10)
    assert rows["gradient"]["norm_x"].iloc[0] == pytest.approx(1)
    assert rows["gradient_sign"]["norm_x"].iloc[0] == pytest.approx(math.sqrt(int((gradient != 0).sum())))


def test_what_is_drawn_depends_on_draw_and_axis_alone() -> None:
    models = {"net": NET, "other": {**NET, "hidden": [4]}}
    axes = {"x": [0], "y": [0], "z": [0]}
    spec = spec_of({"along": {"y": "random", "z": "random_sign"}}, axes, models=models, draws={"range": 8})
    made = prepare(spec)
    rows = landscape_rows(spec, made)
    pairs = rows.groupby("draw")[["origin_sample", "x_sample", "norm_y", "cosine_x_y"]].nunique()
    assert (pairs == 1).all(axis=None)  # both models see the same planes
    first = rows[rows["model"] == "net"]
    assert first["origin_sample"].nunique() > 4 and (first["origin_sample"] != first["x_sample"]).all()
    assert first["norm_y"].to_numpy() == pytest.approx(1) and first["norm_z"].to_numpy() == pytest.approx(8)
    turned = spec_of({"along": {"y": "random", "z": "random_sign"}}, dict(reversed(axes.items())), draws={"range": 8})
    again = rows_of(turned)
    assert again["x_sample"].tolist() == first["x_sample"].tolist()
    seeded = rows_of(spec_of({"seed": 1}, {"x": [0]}, draws={"range": 8}))
    assert seeded["origin_sample"].tolist() != first["origin_sample"].tolist()


def halves() -> dict[str, tuple[Any, Any]]:
    """Two classes on either side of 0.35 in the first of two numbers."""
    inputs = np.array([[1.0, 0.0], [-1.0, 0.0], [2.0, 5.0]])
    return {"test": (inputs, np.array([1, 0, 1]))}


class Half(torch.nn.Module):
    """Class 1 where the first number is above 0.35."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(4.0, dtype=torch.float64))

    def forward(self, batch: Tensor) -> Tensor:
        side = self.scale * (batch[:, 0] - 0.35)
        return torch.stack([-side, side], 1)


HALVES = {
    "data": {"source": "callable", "path": f"{__name__}:halves"},
    "models": {"half": {"net": "own", "build": f"{__name__}:Half"}},
}


def test_the_report_says_how_far_a_class_reaches() -> None:
    spec = spec_of(
        {"origin": 0, "along": {"x": "gradient", "y": 2}}, {"x": {"linear": [-2, 2, 41]}, "y": [0]}, **HALVES
    )
    report = KIND.report(spec, rows_of(spec), pd.DataFrame())
    (shares,) = [p for s in report.sections for p in s.parts if isinstance(p, Table) and p.name == "shares"]
    assert shares.lines[0][-1] == pytest.approx(0.7)  # the first point where the first number is below 0.35
    assert report.summary["half.same_class"] == pytest.approx(27 / 41)
    assert report.answer == "Share of the plane that is given the class of the sample at 0: 65.9% for half."
    names = [p.name for s in report.sections for p in s.parts if isinstance(p, Figure)]
    assert names[0] == "predicted" and {"map-origin_loss", "map-y_probability", "map-log_likelihood"} <= set(names)
    assert KIND.report(spec, rows_of(spec).iloc[:0], pd.DataFrame()).sections


def curve() -> dict[str, tuple[Any, Any]]:
    inputs = np.linspace(-1, 1, 6)[:, None]
    return {"train": (inputs, inputs**2), "test": (inputs, inputs**2)}


CURVE = {"source": "callable", "path": f"{__name__}:curve"}
REGRESSION = {"data": CURVE, "models": {"net": {"recipe": {**AFFINE, "data": CURVE, "loss": "mse", "batch_size": 6}}}}


@pytest.mark.parametrize("axes", [{"x": [0, 1]}, {"x": [0, 1], "y": [0, 1], "z": [0]}])
def test_targets_that_are_no_classes_have_losses_alone(axes: dict[str, Any]) -> None:
    spec = spec_of({"loss": "mse"}, axes, **REGRESSION, draws={"range": 3})
    rows = rows_of(spec)
    assert rows["predicted"].isna().all() and rows["origin_loss"].notna().all()
    report = KIND.report(spec, rows, pd.DataFrame())
    assert report.answer.startswith("Mean loss over the ")


@pytest.mark.parametrize(
    ("space", "fields", "says"),
    [
        ({"along": {"z": 3}}, {}, "space.along: there is no axis 'z'; there are ['x', 'y']"),
        ({"origin": 3, "along": {"y": 3}}, {}, "space.along.y: sample 3 is that of space.origin; name another one"),
        ({"along": {"x": 3, "y": 3}}, {}, "space.along.y: sample 3 is that of space.along.x; name another one"),
        ({"along": {"x": "slope"}}, {}, "space.along.x: not allowed; known here: sample, gradient, "),
        ({"origin": -1}, {}, "space.origin: Input should be greater than or equal to 0"),
        ({}, {"axes": {"origin": [0]}}, "axes: 'origin' is what columns call the sample at 0; choose another name"),
        (
            {"origin": 1, "along": {"x": 2, "y": 3}},
            {"draws": {"range": 2}},
            "all samples are named, so there is nothing",
        ),
        (
            {},
            {"directions": {"kind": "gradient"}},
            "directions: a landscape of inputs makes no use of it; leave it out",
        ),
        ({}, {"evaluators": {"a": {}}}, "evaluators: a landscape of inputs makes no use of it; leave it out"),
        ({}, {"refine": {}, "axes": {"x": {"linear": [0, 1, 33]}}}, "refine: a landscape of inputs makes no use of it"),
        ({}, {"batch_norm": "reestimate"}, "batch_norm: a landscape of inputs makes no use of it; leave it out"),
        ({"split": "validation"}, {}, "space.split: there is no split 'validation'; there are ['train', 'test']"),
    ],
)
def test_what_fits_no_plane_is_refused_before_anything_is_loaded(
    space: dict[str, Any], fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        spec_of(space, **fields)
    assert says in str(refusal.value)


def twins() -> dict[str, tuple[Any, Any]]:
    return {"test": (np.ones((3, 2)), np.array([1, 0, 1]))}


class Flat(Half):
    """The same outputs everywhere."""

    def forward(self, batch: Tensor) -> Tensor:
        return super().forward(0 * batch)


TOKENS = {
    "data": {"source": "markov"},
    "models": {"net": {"net": "gpt", "width": 8, "depth": 1, "heads": 1, "train": {"epochs": 0}}},
}


@pytest.mark.parametrize(
    ("space", "fields", "says"),
    [
        ({"origin": 5000}, {}, "space.origin: there is no sample 5000; test has 397, counted from 0"),
        ({"along": {"x": 397}}, {}, "space.along.x: there is no sample 397; test has 397, counted from 0"),
        ({}, {**HALVES, "axes": {"x": [0], "y": [0], "z": [0]}}, "space: needs 4 samples, but test has 3"),
        ({"loss": "hinge"}, REGRESSION, "space.loss: the targets are no classes; use loss: mse or a loss of your own"),
        ({}, TOKENS, "space: the inputs are whole numbers, between which there is nothing; it needs real ones"),
        ({"loss": f"{__name__}:halves"}, {}, "models.net and space.loss do not fit together"),
    ],
)
def test_samples_and_losses_that_are_not_there_are_refused(
    space: dict[str, Any], fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        KIND.check(spec_of(space, **fields), Workbench(folder=Path()))
    assert says in str(refusal.value)


def test_an_axis_that_leads_nowhere_is_refused() -> None:
    data = {"source": "callable", "path": f"{__name__}:twins"}
    with pytest.raises(SpecError, match=r"space.along.x: sample 1 equals sample 0 at 0, so the axis leads nowhere"):
        prepare(spec_of({"origin": 0, "along": {"x": 1}}, LINE, **{**HALVES, "data": data}))
    still = {"net": {"net": "own", "build": f"{__name__}:Flat"}}
    with pytest.raises(SpecError, match=r"space.along.x: the gradient at the sample at 0 is zero"):
        prepare(spec_of({"origin": 0, "along": {"x": "gradient"}}, LINE, **{**HALVES, "models": still}))


def test_a_loss_that_is_not_finite_is_a_row_that_diverged() -> None:
    spec = spec_of({"origin": 0, "along": {"x": 1}}, {"x": [0, 1e308]}, **HALVES)
    rows = rows_of(spec)
    assert rows["status"].tolist() == ["ok", "diverged"] and rows["error"].iloc[1].startswith(
        "not finite at this point"
    )
