"""Landscapes of quantisation scales: against rounding by hand, and against the network itself."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor
from torch.func import functional_call

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.lab.weight_space.quantisation import quantised
from landsweep.sweeps.landscape.kind import LandscapeSpec
from tests.support.landscapes import KIND, landscape_rows, model_state, prepare

pytestmark = pytest.mark.usefixtures("torch_threads")

NET = {"net": "mlp", "hidden": [8, 8], "norm": "batch", "train": {"epochs": 1}}
TWO = {"x": ["hidden.0.linear.weight"], "y": ["hidden.1.linear.weight", "out.weight"]}


def spec_of(space: Mapping[str, Any], axes: Mapping[str, Any], **fields: Any) -> LandscapeSpec:
    base = {"kind": "landscape", "name": "t", "data": {"source": "digits"}, "models": {"net": NET}}
    evaluators = {"test": {"split": "test"}}
    given = {**base, "evaluators": evaluators, "space": {"kind": "quantisation", **space}, "axes": axes, **fields}
    return parse(LandscapeSpec, copy.deepcopy(given), "test")


def rows_of(spec: LandscapeSpec) -> pd.DataFrame:
    KIND.check(spec, Workbench(folder=Path()))
    return landscape_rows(spec, prepare(spec))


def nearest(weight: Tensor, bits: int, factor: float, unit: bool) -> Tensor:
    """Each weight becomes the nearest of all values that are allowed, found by looking at every one of them."""
    rows = weight if unit else weight.reshape(1, -1)
    levels = torch.arange(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1)).double() / (2 ** (bits - 1) - 1)
    allowed = factor * rows.double().abs().amax(1, keepdim=True) * levels  # [rows, levels]
    chosen = (rows.double().unsqueeze(2) - allowed.unsqueeze(1)).abs().argmin(2)
    return allowed.gather(1, chosen).reshape(weight.shape)


@pytest.mark.parametrize("per", ["tensor", "unit"])
@pytest.mark.parametrize("others", ["quantised", "as_they_are"])
def test_each_weight_becomes_the_nearest_value_that_is_allowed(per: str, others: str) -> None:
    space = {"bits": 3, "tensors": {"x": TWO["x"], "y": ["out.weight"]}, "per": per, "others": others}
    spec = spec_of(space, {"x": [0.4, 1, 1.3], "y": [0.5, 1]})
    made = prepare(spec)
    state = model_state(made)
    module = spec.models["net"].make((1, 8, 8), 10, Path()).eval()
    test = Digits(source="digits").load(Path()).splits["test"]
    for _, row in landscape_rows(spec, made).iterrows():
        factors = {"hidden.0.linear.weight": row["x"], "out.weight": row["y"]}
        factors |= {"hidden.1.linear.weight": 1.0} if others == "quantised" else {}
        rounded = {k: nearest(state[k], 3, c, per == "unit").float() for k, c in factors.items()}
        with torch.no_grad():
            told = float(F.cross_entropy(functional_call(module, {**state, **rounded}, test.inputs), test.targets))
        assert row["test_loss"] == pytest.approx(told, rel=1e-5)


def test_at_factor_one_nothing_is_clipped_and_the_network_comes_back_to_the_last_bit() -> None:
    fields = {"kind": "landscape", "name": "t", "data": {"source": "digits"}, "models": {"net": NET}}
    plain = parse(LandscapeSpec, copy.deepcopy({**fields, "axes": {"x": [0]}}), "test")
    itself = landscape_rows(plain, prepare(plain)).iloc[0]
    rows = rows_of(spec_of({"bits": None, "tensors": TWO}, {"x": [0.3, 1, 2], "y": [1, 1.5]}))
    for _, row in rows.iterrows():
        equal = row["test_loss"] == itself["test_loss"] and row["test_loss_se"] == itself["test_loss_se"]
        assert equal == (row["x"] >= 1)


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_weights_that_are_values_already_stay(bits: int) -> None:
    source = torch.Generator().manual_seed(bits)
    top = 2 ** (bits - 1) - 1
    whole = torch.randint(-top, top + 1, (6, 5), generator=source)
    whole[0, 0] = top
    weight = whole * 2.0**-7
    assert torch.equal(quantised(weight, bits), weight)
    zero = torch.zeros(3, 4)
    assert torch.equal(quantised(zero, bits), zero) and torch.equal(quantised(zero, bits, units=True), zero)


def test_an_axis_can_be_the_bits() -> None:
    spec = spec_of({"bits": "width"}, {"x": [0.7, 1], "width": [2, 5, 16]})
    rows = rows_of(spec).set_index(["width", "x"])["test_loss"]
    for bits in (2, 5, 16):
        alone = rows_of(spec_of({"bits": bits}, {"x": [0.7, 1]})).set_index("x")["test_loss"]
        assert rows[bits].to_dict() == alone.to_dict()
    only = rows_of(spec_of({"bits": "width"}, {"width": [2, 5]}))
    assert only["test_loss"].tolist() == [rows[2, 1], rows[5, 1]]
    report = KIND.report(spec, rows_of(spec), pd.DataFrame())
    at_center = report.summary["net.test_loss_at_centre"]
    assert at_center == rows[16, 1]  # the centre: most bits, whole range


def test_points_do_not_depend_on_those_before_them_and_statistics_can_be_taken_anew() -> None:
    space = {"bits": 2, "tensors": TWO}
    axes = {"x": [0.3, 1], "y": [0.3, 1]}
    whole = rows_of(spec_of(space, axes))
    last = rows_of(spec_of(space, {"x": [1], "y": [1]}))
    assert whole["test_loss"].iloc[-1] == last["test_loss"].iloc[0]
    assert whole["key"].iloc[-1] == last["key"].iloc[0]
    anew = rows_of(spec_of(space, {"x": [1], "y": [1]}, batch_norm="reestimate"))
    assert anew["batch_norm"].tolist() == ["reestimate"] and anew["test_loss"].iloc[0] != last["test_loss"].iloc[0]


def test_a_grid_of_scales_can_be_refined_and_reported() -> None:
    axes = {"x": {"linear": [0.2, 1, 17]}, "y": {"linear": [0.2, 1, 17]}}
    spec = spec_of({"bits": None, "tensors": TWO}, axes, refine={"tolerance": 0.2, "checks": 2})
    rows = rows_of(spec)
    assert len(rows) < 17 * 17
    report = KIND.report(spec, rows, pd.DataFrame())
    assert " loss below 1 around " in report.answer or " loss at the centre is " in report.answer
    assert report.lead.startswith("surface-")


@pytest.mark.parametrize(
    ("space", "axes", "fields", "says"),
    [
        ({"bits": 1}, {"x": [1]}, {}, "space.bits: Input should be greater than or equal to 2"),
        ({"bits": "b"}, {"x": [1]}, {}, "space.bits: there is no axis 'b'; there are ['x']"),
        ({"bits": "b"}, {"x": [1], "b": [2, 17]}, {}, "axes.b: bits are whole numbers from 2 to 16, not 17"),
        ({"bits": "b", "others": "as_they_are"}, {"b": [2]}, {}, "space.others: no axis is a factor"),
        ({"tensors": {"z": ["*"]}}, {"x": [1]}, {}, "space.tensors: there is no axis 'z' of factors; there are ['x']"),
        ({"tensors": {"x": ["*"]}}, {"x": [1], "y": [1]}, {}, "with 2 axes each needs patterns, but y has none"),
        ({}, {"x": [0, 1]}, {}, "axes.x: a factor of the clipping range is above 0, not 0"),
        ({}, {"x": [-0.5]}, {}, "axes.x: a factor of the clipping range is above 0, not -0.5"),
        ({}, {"x": [1]}, {"draws": {"range": 2}}, "scales of quantisation have nothing to draw; leave `draws` out"),
        ({}, {"x": [1]}, {"path": {"checkpoints": 3}}, "path: a landscape of quantisation makes no use of it"),
        (
            {},
            {"x": [1]},
            {"batch_norm": "interpolate"},
            "batch_norm: interpolate needs directions of kind interpolation",
        ),
    ],
)
def test_what_is_no_scale_is_refused(
    space: dict[str, Any], axes: dict[str, Any], fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        spec_of(space, axes, **fields)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (
            {"x": ["head"], "y": ["out.weight"]},
            "space.tensors.x: 'head' is the name of no trained parameter; there are ",
        ),
        (
            {"x": ["out.*"], "y": ["*.weight"]},
            "space.tensors: out.weight belongs to x and to y; each parameter has one",
        ),
    ],
)
def test_tensors_that_do_not_fit_the_network_are_refused(tensors: dict[str, list[str]], says: str) -> None:
    spec = spec_of({"tensors": tensors}, {"x": [1], "y": [1]})
    with pytest.raises(SpecError) as refusal:
        KIND.check(spec, Workbench(folder=Path()))
    assert says in str(refusal.value)
