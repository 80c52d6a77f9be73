"""The landscape kind without an engine: planner, preparations and sessions by hand, against independent evaluation."""

import copy
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.func import functional_call

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.report.parts import Figure, Report
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.data import Digits
from landsweep.sweeps.landscape.kind import LandscapeSession, LandscapeSpec
from tests.support.landscapes import (
    KIND,
    directions_of,
    landscape_rows,
    landscape_spec,
    model_state,
    prepare,
)

pytestmark = pytest.mark.usefixtures("torch_threads")


def module_of(spec: LandscapeSpec, made: Mapping[str, Any], name: str = "net") -> nn.Module:
    module: nn.Module = spec.models[name].make((1, 8, 8), 10, Path())
    module.load_state_dict(model_state(made, name))
    return module.eval()


def test_a_non_square_grid_equals_direct_evaluation() -> None:
    """Every cell against deep copies and functional_call; a transposed grid would not pass."""
    spec = landscape_spec()
    made = prepare(spec)
    rows = landscape_rows(spec, made)
    module, base, d = module_of(spec, made), model_state(made), directions_of(made, "xy")
    test = Digits(source="digits").load(Path()).splits["test"]
    assert [(r.x, r.y) for r in rows.itertuples()] == [(x, y) for x in (-1, 0, 0.5) for y in (-0.25, 0.75)]
    for row in rows.itertuples():
        weights = {k: v + row.x * d["x"][k] + row.y * d["y"][k] if k in d["x"] else v for k, v in base.items()}
        outputs = functional_call(copy.deepcopy(module), weights, test.inputs).detach()
        wanted = nn.functional.cross_entropy(outputs.double(), test.targets)
        assert row.test_loss == pytest.approx(float(wanted), rel=1e-5)
        assert row.test_accuracy == pytest.approx(float((outputs.argmax(1) == test.targets).float().mean()))
    assert set(rows["status"]) == {"ok"}
    assert set(rows["batch_norm"]) == {"fixed"}
    assert rows["norm_x"].iloc[0] == pytest.approx(
        math.sqrt(sum(float((v.double() ** 2).sum()) for k, v in base.items() if v.ndim > 1))
    )


@pytest.mark.parametrize("axes", [{"t": [0, 1]}, {"a": [0, 1], "b": [0], "c": [-1, 0, 2]}], ids=["1-D", "3-D"])
def test_one_and_three_dimensions(axes: dict[str, Any]) -> None:
    spec = landscape_spec(axes=axes)
    made = prepare(spec)
    rows = landscape_rows(spec, made)
    assert len(rows) == math.prod(len(v) for v in axes.values())
    center = rows[(rows[list(axes)] == 0).all(axis=1)]
    test = Digits(source="digits").load(Path()).splits["test"]
    with torch.no_grad():
        wanted = nn.functional.cross_entropy(module_of(spec, made)(test.inputs), test.targets)
    assert float(center["test_loss"].iloc[0]) == pytest.approx(float(wanted), rel=1e-5)
    assert rows["test_loss"].nunique() == len(rows)


def test_rows_do_not_depend_on_order_or_company() -> None:
    spec = landscape_spec("draws={range: 2}")
    made = prepare(spec)
    units = KIND.planner(spec).ask(100)
    session = KIND.open(spec, made, Workbench())
    forward = {o.key: o.metrics for o in session.evaluate(units)}
    backward = {o.key: o.metrics for o in session.evaluate(units[::-1])}
    alone = {k: m for u in units[::5] for k, m in ((o.key, o.metrics) for o in session.evaluate([u]))}
    assert forward == backward
    assert alone.items() <= forward.items()
    assert len({m["test_loss"] for m in forward.values()}) == len(units) == 12


def test_points_judged_together_share_their_time() -> None:
    spec = landscape_spec(axes={"x": {"linear": [0, 1, 90]}})
    session = KIND.open(spec, prepare(spec), Workbench())
    wall, cpu = time.perf_counter(), time.process_time()
    outcomes = list(session.evaluate(KIND.planner(spec).ask(100)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert outcomes[0].seconds is None  # alone
    shared = [o for o in outcomes if o.seconds is not None]
    assert len(shared) > 2
    assert 0 < sum(o.seconds or 0 for o in shared) <= wall
    assert 0 < sum(o.cpu_seconds or 0 for o in shared) <= cpu
    assert len({o.seconds for o in shared}) < len(shared)


def test_keys_and_directions_survive_growth() -> None:
    small, large = landscape_spec(), landscape_spec("axes.x=[-1, -0.5, 0, 0.5]", "draws={range: 3}")
    keys = [{u.key for u in KIND.planner(s).ask(1000)} for s in (small, large)]
    assert keys[0] <= keys[1]
    steps = [{p.name: p.file for p in KIND.preparations(s)} for s in (small, large)]
    assert steps[0].items() <= steps[1].items()


@pytest.mark.parametrize(
    "change", ["models.net.train.epochs=2", "models.net.hidden=[9]", "batch_norm=reestimate", "directions.seed=1"]
)
def test_what_rows_depend_on_is_in_their_keys(change: str) -> None:
    old, new = (
        KIND.planner(s).ask(100)
        for s in (landscape_spec(directions={"kind": "random"}), landscape_spec(change, directions={"kind": "random"}))
    )
    assert not {u.key for u in old} & {u.key for u in new}


_SHARED = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10))


def shared_module() -> nn.Module:
    """The user's function may give the same object again and again."""
    return _SHARED


@pytest.mark.parametrize("mode", ["fixed", "reestimate"])
def test_the_users_module_comes_back_unchanged(mode: str) -> None:
    spec = landscape_spec(f"batch_norm={mode}", models={"net": {"net": "own", "build": f"{__name__}:shared_module"}})
    _SHARED.train()
    before = {k: v.clone() for k, v in _SHARED.state_dict().items()}
    made = prepare(spec)
    session = KIND.open(spec, made, Workbench())
    units = KIND.planner(spec).ask(100)
    stream = session.evaluate(units)
    next(stream)
    moved = _SHARED.state_dict()
    assert not torch.equal(moved["1.weight"], before["1.weight"])
    stream.close()  # what an exception in the middle of a shard comes to
    centred = _SHARED.state_dict()
    assert all(torch.equal(centred[k], v) for k, v in before.items())
    session.close()
    assert _SHARED.training
    assert all(torch.equal(v, before[k]) for k, v in _SHARED.state_dict().items())


def test_batch_norm_modes_against_independent_computation() -> None:
    train_inputs = Digits(source="digits").load(Path()).splits["train"].inputs
    test = Digits(source="digits").load(Path()).splits["test"]
    spec = landscape_spec("batch_norm=reestimate", "reestimate_batches=2", "batch_size=100", axes={"x": [0.7]})
    made = prepare(spec)
    module, d = module_of(spec, made), directions_of(made, "x")
    with torch.no_grad():
        for k, p in module.named_parameters():
            p += 0.7 * d["x"][k]
        layer: Any = module.hidden[0]  # type: ignore[index]
        hidden = [layer.linear(b.flatten(1)) for b in (train_inputs[:100], train_inputs[100:200])]
        bn = layer.norm
        bn.running_mean.copy_(torch.stack([h.mean(0) for h in hidden]).mean(0))
        bn.running_var.copy_(torch.stack([h.var(0) for h in hidden]).mean(0))
        wanted = nn.functional.cross_entropy(module(test.inputs), test.targets)
    row = landscape_rows(spec, made).iloc[0]
    assert row["test_loss"] == pytest.approx(float(wanted), rel=1e-4)
    fixed = landscape_spec(axes={"x": [0.7]})
    assert landscape_rows(fixed, prepare(fixed)).iloc[0]["test_loss"] != pytest.approx(row["test_loss"], rel=1e-3)


PAIR = {
    name: {"net": "mlp", "hidden": [8], "norm": "batch", "train": {"epochs": 1, "seed": seed}}
    for name, seed in (("a", 0), ("b", 1), ("c", 2))
}


@pytest.mark.parametrize("mode", ["fixed", "interpolate"])
def test_interpolation_reaches_both_ends(mode: str) -> None:
    spec = landscape_spec(
        f"batch_norm={mode}",
        models=PAIR,
        directions={"kind": "interpolation", "ends": ["a", "b", "c"]},
        axes={"s": [0, 1], "t": [0, 0.5, 1]},
    )
    made = prepare(spec)
    rows = landscape_rows(spec, made).set_index(["s", "t"])["test_loss"]
    test = Digits(source="digits").load(Path()).splits["test"]
    a, b, c = (model_state(made, name) for name in "abc")
    for (s, t), loss in rows.items():
        mixed = {k: (1 - s - t) * a[k] + s * b[k] + t * c[k] for k in a if a[k].is_floating_point()}
        if mode == "fixed":
            mixed |= {k: v for k, v in a.items() if "running" in k}
        with torch.no_grad():
            outputs = functional_call(module_of(spec, made, "a"), mixed, test.inputs)
        wanted = float(nn.functional.cross_entropy(outputs, test.targets))
        assert loss == pytest.approx(wanted, rel=1e-4) or math.isnan(wanted)


def test_not_finite_is_a_row_with_its_values() -> None:
    spec = landscape_spec(axes={"x": [0, 1e30]})
    made = prepare(spec)
    outcomes = list(KIND.open(spec, made, Workbench()).evaluate(KIND.planner(spec).ask(10)))
    assert [o.status for o in outcomes] == [Status.ok, Status.diverged]
    assert "test_loss" in (outcomes[1].error or "")
    assert not np.isfinite(float(outcomes[1].metrics["test_loss"]))  # type: ignore[arg-type]
    assert outcomes[1].metrics["test_n"] == 397


def test_checkpoints_and_paths(tmp_path: Path) -> None:
    """Same content elsewhere is the same sweep; a checkpoint gives the loss of the module it was saved from."""
    trained = landscape_spec()
    made = prepare(trained)
    (tmp_path / "elsewhere").mkdir()
    torch.save(model_state(made), tmp_path / "a.pt")
    shutil.copy(tmp_path / "a.pt", tmp_path / "elsewhere" / "b.pt")  # torch writes the file's name into the file
    specs = [
        landscape_spec(models={"net": {"net": "mlp", "hidden": [8], "norm": "batch", "checkpoint": p}}).pinned(tmp_path)
        for p in ("a.pt", "elsewhere/b.pt")
    ]
    keys = [[u.key for u in KIND.planner(s).ask(10)] for s in specs]
    assert keys[0] == keys[1]
    assert specs[0].definitions() == specs[1].definitions()
    again = parse(LandscapeSpec, specs[0].model_dump(mode="json"), "sweep.json")
    assert again == specs[0]
    rows = landscape_rows(specs[0], prepare(specs[0], tmp_path), tmp_path)
    pd.testing.assert_series_equal(rows["test_loss"], landscape_rows(trained, made)["test_loss"])


def no_tensor() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 10))


class Careless(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {"weights": x}["wieghts"]


BAD: list[tuple[dict[str, Any], list[str], str]] = [
    (
        {"models": {"net": {"net": "own", "build": f"{__name__}:no_tensor"}}},
        [],
        "models.net: own can.t take the data.s images .*shapes",
    ),
    (
        {"models": {"net": {"net": "own", "build": f"{__name__}:Careless"}}},
        [],
        r"models.net: .*:Careless raised KeyError: 'wieghts' \(.*test_landscape.py, line \d+\)",
    ),
    ({}, ["evaluators.test.first=398"], "only 397"),
    ({}, ["evaluators.test.split=valid"], "no split 'valid'"),
    ({}, ["models.net.train.split=x"], "models.net.train.split: there is no split 'x'"),
    ({}, ['directions={kind: random, rules: {"nothing.*": {}}}'], "fits no parameter"),
    ({"models": {"net": {"net": "own", "build": f"{__name__}:nowhere"}}}, [], "has no 'nowhere'"),
    (
        {
            "models": {**PAIR, "b": {"net": "mlp", "hidden": [9], "norm": "batch", "train": {"epochs": 0}}},
            "directions": {"kind": "interpolation", "ends": ["a", "b"]},
            "axes": {"t": [0]},
        },
        [],
        "differ in shape or name",
    ),
]


@pytest.mark.parametrize(("fields", "assignments", "message"), BAD)
def test_check_finds_what_can_not_work(fields: dict[str, Any], assignments: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        KIND.check(landscape_spec(*assignments, **fields), Workbench())


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["axes.test_loss=[0]"], "are names of other columns"),
        (["axes.x=[a]"], "axes.x must hold numbers"),
        (["axes.x=[]"], "empty"),
        (["draws=[0.5]"], "draws must hold whole numbers"),
        (["batch_norm=interpolate"], "needs directions of kind interpolation"),
        (["directions={kind: interpolation, ends: [net, other]}"], "there is no model 'other'"),
        (["models.net.skipp=true"], "models.*skipp: unknown field"),
        (["axes={a: [0], b: [0], c: [0], d: [0]}"], "at most 3"),
    ],
)
def test_bad_specs_say_why(assignments: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        landscape_spec(*assignments)


def figures(report: Report) -> list[Figure]:
    return [p for s in report.sections for p in s.parts if isinstance(p, Figure)]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"axes": {"x": [-1, 0, 1]}, "draws": [0, 1, 2]}, ["curves-test"]),
        ({"axes": {"x": [-1, 0, 1], "y": [0, 1e30]}}, ["map-test", "surface-test"]),
        ({"axes": {"x": [-1, 0], "y": [0, 1], "z": [0, 1]}}, ["map-test-x-y", "map-test-x-z", "map-test-y-z"]),
    ],
)
def test_reports_are_drawn_from_rows(fields: dict[str, Any], names: list[str], tmp_path: Path) -> None:
    spec = landscape_spec(**fields)
    rows = landscape_rows(spec, prepare(spec))
    report = KIND.report(spec, rows.sample(frac=0.9, random_state=0), pd.DataFrame())
    drawn = figures(report)
    assert set(names) <= {f.name for f in drawn}
    for f in drawn:
        f.picture.savefig(tmp_path / f"{f.name}.png")
        assert f.interactive is None or f.interactive.to_json()
        if f.name.startswith(("curves-", "map-", "surface-")):
            assert "directions: Gaussian, normalise filter" in f.caption
    assert "net.test_loss_at_centre" in report.summary
    assert KIND.report(spec, rows.iloc[:0], pd.DataFrame()).sections


@pytest.mark.parametrize("harm", ["absent", "null", "text"])
def test_rows_without_a_place_are_named(harm: str) -> None:
    spec = landscape_spec(axes={"x": [-1, 0, 1], "y": [0, 1]})
    rows = landscape_rows(spec, prepare(spec))
    rows = (
        rows.drop(columns="y") if harm == "absent" else rows.assign(y=[None, *rows["y"][1:]] if harm == "null" else "a")
    )
    with pytest.raises(UsageError, match="no number in the column 'y', an axis"):
        KIND.report(spec, rows, pd.DataFrame())


def test_example_runs() -> None:
    spec = KIND.example()
    KIND.check(spec, Workbench())
    rows = landscape_rows(spec, prepare(spec))
    assert len(rows) == 15
    center = rows[(rows["x"] == 0) & (rows["y"] == 0)].iloc[0]
    assert center["test_loss"] == rows["test_loss"].min()
    assert isinstance(KIND.open(spec, {}, Workbench()), LandscapeSession)
