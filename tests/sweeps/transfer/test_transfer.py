"""The transfer kind: what it finds on real networks, that its planner goes on where it was, and bad input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.report.parts import Report, Table
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.chaos import StoppingExecutor
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of, run_example, same
from landsweep.sweeps.transfer.curve import drift
from landsweep.sweeps.transfer.session import score
from tests.support.transfers import ADAPTIVE, KIND, PERCEPTRON, run_transfer, transfer_recipe, transfer_spec

pytestmark = pytest.mark.rotating

ARMS = {n: {"parametrization": {"scheme": n, "base_width": 64, "zero": ["output"]}} for n in ("standard", "mup")}


@pytest.mark.slow
def test_the_best_rate_halves_with_each_doubling_of_the_width_and_stays_under_mup(tmp_path: Path) -> None:
    """Three hidden layers on the digits, Adam; and the adaptive planner finds it with half of the models."""
    fields = {
        "recipe": PERCEPTRON,
        "values": [64, 128, 256],
        "rates": {"log2": [-10, -3, 15]},
        "seeds": {"range": 3},
        "recipes": ARMS,
        "coordinates": None,
        "sharpness": None,
    }
    found, rows = run_transfer(transfer_spec(**fields), tmp_path / "grid")
    slopes = {arm: drift(found.curves(arm)) for arm in ("standard", "mup")}
    assert all(d.sizes == 3 for d in slopes.values())
    assert slopes["standard"].slope == pytest.approx(-1, abs=0.35)
    assert slopes["standard"].interval[1] < -0.5
    assert abs(slopes["mup"].slope) <= 0.25
    fewer, chosen = run_transfer(transfer_spec(**fields, planner="adaptive"), tmp_path / "adaptive")
    assert len(chosen) <= len(rows) / 2
    for arm in slopes:
        for size, curve in found.curves(arm).items():
            full, short = curve.optimum(), fewer.curves(arm)[size].optimum()
            assert short.rate == pytest.approx(full.rate, abs=1e-6), (arm, size)
            assert short.loss == pytest.approx(full.loss, rel=1e-6)


BROKEN = {
    "mup": {},
    "rate": {"form": "rate"},
    "standard": {"scheme": "standard"},
    "hidden_rate": {"omit": ["hidden_rate"]},
    "output": {"omit": ["output"]},
}


@pytest.mark.parametrize("method", ["adam", pytest.param("sgd", marks=pytest.mark.slow)])
def test_the_coordinate_check_passes_mup_and_nothing_else(method: str, tmp_path: Path) -> None:
    base = {"scheme": "mup", "base_width": 128, "zero": ["output"]}
    names = [n for n in BROKEN if (method, n) != ("sgd", "hidden_rate")]  # SGD's rule for hidden layers is no change
    recipe = {**PERCEPTRON, "batch_size": 256, "optimizer": {"method": method}}
    spec = transfer_spec(
        recipe=recipe,
        values=[128],
        rates=[0.001, 0.01, 0.1],
        recipes={n: {"parametrization": {**base, **BROKEN[n]}} for n in names},
        coordinates={"learning_rate": 0.01 if method == "adam" else 0.5, "values": [128, 256, 512, 1024]},
        sharpness=None,
        seeds=[0],
    )
    found, _ = run_transfer(spec, tmp_path)
    checks = {n: found.check(n) for n in names}
    for name, check in checks.items():
        assert check is not None and check.steps == (1, 2, 3, 4) and len(check.layers) == 4
        if name in ("mup", "rate"):
            assert check.verdict == "pass" and check.largest <= 0.10
        else:
            assert check.verdict == "fail" and check.largest > 0.5


CNN = {"net": "cnn", "channels": [32, 32, 32], "activation": "tanh", "init": {"method": "lecun_normal"}}
FAMILIES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "cnn": (CNN, [32, 64, 128, 256]),
    "resnet": ({"net": "resnet", "depth": 8, "width": 16}, [16, 32, 64, 128]),
    "vit": ({"net": "vit", "width": 64, "heads": 2}, [64, 128, 256, 512]),
    "gpt": ({"net": "gpt", "width": 64, "heads": 2, "qk_norm": True}, [64, 128, 256]),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes_the_coordinate_check_under_mup_alone(family: str, tmp_path: Path) -> None:
    net, widths = FAMILIES[family]
    markov = {"source": "markov", "states": 16, "context": 16, "train": 256, "test": 16}
    data = markov if family == "gpt" else {"source": "digits"}
    recipe = {**PERCEPTRON, "data": data, "net": net, "batch_size": 64}
    scheme = {"base_width": widths[0], "zero": ["output", "query"] if family == "vit" else ["output"]}
    arms = {n: {"parametrization": {**scheme, "scheme": n}} for n in ("standard", "mup")}
    coordinates = {"learning_rate": 0.005, "values": widths, "first": 64, "seeds": [0, 1]}
    fields = {"values": widths[:1], "rates": [1e-4, 1e-3, 1e-2], "seeds": [0], "sharpness": None, "backend": "loop"}
    found, _ = run_transfer(transfer_spec(recipe=recipe, recipes=arms, coordinates=coordinates, **fields), tmp_path)
    checks = [found.check(n) for n in ("standard", "mup")]
    assert [c.verdict for c in checks if c is not None] == ["fail", "pass"]


def test_rows_judge_a_rate_by_at_most_the_initial_loss(tmp_path: Path) -> None:
    """Gradient descent on a regression at far too large a rate overflows."""
    recipe = transfer_recipe(
        data={"source": "teacher_student", "features": 4, "train": 128, "test": 16}, optimizer={"method": "sgd"}
    )
    rates = [0.001, 0.01, 1e6]
    spec = transfer_spec(recipe=recipe, rates=rates, recipes=None, coordinates=None, sharpness=None, target=0.5)
    found, rows = run_transfer(spec, tmp_path)
    assert (rows["status"] == "diverged").sum() == 4
    bad = rows[rows["status"] == "diverged"]
    assert (bad["loss"] == bad["initial_loss"]).all() and (bad["learning_rate"] == 1e6).all()
    good = rows[rows["learning_rate"] == 0.01]
    assert (good["loss"] == good["train_loss"]).all() and (good["loss"] < good["initial_loss"]).all()
    series = found.series[found.series["metric"] == "train_loss"]
    for row in rows.itertuples():
        lines = series[series["key"] == row.key].sort_values("step")
        assert lines["value"].iloc[0] == row.initial_loss
        below = lines.loc[lines["value"] <= 0.5, "step"]
        assert (len(below) == 0 and math.isnan(row.target_step)) or row.target_step == below.iloc[0]
    assert found.curves("")[8].losses.shape == (3, 2)


def test_scores() -> None:
    assert score(None, 2.0, diverged=True) == 2.0
    assert score(math.nan, 2.0, diverged=False) == 2.0
    assert score(1.0, None, diverged=False) is None


def test_an_adaptive_sweep_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """It hears the ledger's rows first, so it ends with the same rows, those at the best rate of the first size too."""
    spec = transfer_spec(**ADAPTIVE)
    found, rows = run_transfer(spec, tmp_path / "whole")
    assert not rows["key"].duplicated().any()
    assert (rows["part"] == "sharpness").sum() == 4
    for arm in spec.recipes:
        best = found.curves(arm)[8].optimum().point
        sharp = found.part(arm, "sharpness")
        assert np.log2(sharp["learning_rate"]).tolist() == pytest.approx([best, best])
        assert all(len(lines) == 2 for lines in found.along(arm, "sharpness").values())

    stood = [0]
    for shards in (3, 4):
        executor = StoppingExecutor(shards)
        site = Site(executor="local", shard_seconds=1e-9)
        options: dict[str, Any] = {"folder": Path.cwd(), "executor": executor, "stop": executor.enough}
        run_sweep(KIND, spec, site, tmp_path / "parts", watch=QuietWatch(), **options)
        stood.append(len(metrics_of(tmp_path / "parts")))
    assert stood == sorted({*stood}) and stood[-1] < len(rows)
    run_example(KIND, spec, tmp_path / "parts")
    assert same(metrics_of(tmp_path / "parts"), metrics_of(tmp_path / "whole"))
    again = run_example(KIND, spec, tmp_path / "parts")
    assert again.new == 0


@pytest.mark.parametrize("planner", ["adaptive", "grid"])
def test_asking_whether_a_plan_is_exhausted_does_not_change_it(planner: str) -> None:
    """One planner is asked again and again, its twin never: both propose the same units in the same order."""
    spec = transfer_spec(**{**ADAPTIVE, "planner": planner, "sharpness": {"times": 3}})
    read, twin = KIND.planner(spec), KIND.planner(spec)
    losses = {rate: (math.log2(rate) + 6.3) ** 2 for rate in spec.rate_values}
    proposed: list[str] = []
    while not read.exhausted:
        assert not read.exhausted
        units = read.ask(3)
        assert [u.key for u in twin.ask(3)] == [u.key for u in units] and units
        proposed += [u.key for u in units]
        for unit in units:
            row = {"key": unit.key, "loss": losses[float(unit.params["learning_rate"] or 0)]}
            read.tell(row)
            twin.tell(row)
            assert read.exhausted in (True, False)
    assert twin.exhausted and twin.ask(3) == [] and len(proposed) == len(set(proposed))


def test_a_grid_keeps_the_rows_of_an_adaptive_sweep(tmp_path: Path) -> None:
    fields = {**ADAPTIVE, "seeds": [0], "sharpness": None}
    _, few = run_transfer(transfer_spec(**fields), tmp_path)
    grid = transfer_spec(**{**fields, "planner": "grid"})
    end = run_example(KIND, grid, tmp_path)
    assert end.new == 2 * 2 * 11 - len(few) > 0


def assert_notes(report: Report) -> None:
    """Each best rate and each penalty that is not known has its reason beside it, and no other has one."""
    (optima,) = (p for s in report.sections for p in s.parts if isinstance(p, Table) and p.name == "optima")
    cells = [dict(zip(optima.header, line, strict=True)) for line in optima.lines]
    for cell in cells:
        unknown = not cell["bracketed"], np.isnan(cell["penalty"])
        assert ("not bracketed: " in cell["note"], "no penalty: " in cell["note"]) == unknown
    assert ("largest_penalty" in report.summary) == any(np.isfinite(cell["penalty"]) for cell in cells)


def test_other_sizes_than_the_width(tmp_path: Path) -> None:
    """Horizon, batch size and depth give curves, laws and, with a target, a critical batch size."""
    for over, values in (("steps", [4, 8]), ("batch_size", [32, 128]), ("depth", [1, 3])):
        spec = transfer_spec(over=over, values=values, recipes=None, coordinates=None, sharpness=None, target=2.0)
        found, rows = run_transfer(spec, tmp_path / over)
        assert sorted(set(rows[over])) == values and len(found.curves("")) == 2
        report = KIND.report(spec, rows, found.series)
        text = str(report.sections)
        assert "per doubling" in text and ("Critical batch size" in text) == (over == "batch_size")
        assert_notes(report)
        if over == "steps":
            assert set(rows.loc[rows["steps"] == 8, "steps_done"]) == {8}
        if over == "depth":
            assert rows.groupby("depth")["parameters"].first().tolist() == [8 * 65 + 90, 8 * 65 + 2 * 72 + 90]


def test_a_transformers_stability_is_in_series_and_report(tmp_path: Path) -> None:
    recipe = {
        "data": {"source": "markov", "states": 6, "context": 5, "train": 48, "test": 16},
        "net": {"net": "gpt", "width": 8, "depth": 1, "heads": 2, "qk_norm": True},
        "optimizer": {"method": "adamw"},
        "schedule": {"shape": "cosine", "warmup": 0.25},
        "z_loss": 1e-4,
        "steps": 6,
        "batch_size": 16,
        "evaluate": {"splits": ["train"], "every_steps": 2, "probes": [{"probe": "logits"}, {"probe": "attention"}]},
        "checkpoints": {"last": False},
    }
    arms = {"mup": {"parametrization": {"scheme": "mup", "base_width": 8}}}
    spec = transfer_spec(recipe=recipe, recipes=arms, seeds=[0], rates=[1e-4, 1e-3, 1e-2], backend="vmap")
    found, rows = run_transfer(spec, tmp_path)
    grown = found.along("mup", "attention_max")
    assert list(grown) == [8, 16] and grown[8]["step"].tolist() == [0, 2, 4, 6]
    titles = [s.title for s in KIND.report(spec, rows, found.series).sections]
    assert {"Stability", "Coordinate check", "Sharpness"} <= set(titles)
    check = found.check("mup")
    assert check is not None and "blocks.0.scores" in check.layers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": [0.1, 0.2]}, "at least 3: one below and one above"),
        ({"rates": [0.2, 0.1, 0.3]}, "rates must rise"),
        ({"rates": [0, 0.1, 0.3]}, "rates must be above 0"),
        ({"values": [8, 16.5]}, "values must be whole numbers from 1"),
        ({"seeds": [-1]}, "seeds must be whole numbers from 0"),
        ({"recipes": {"mup": {"parametrization": {"scheme": "mup"}}}}, "base_width: missing"),
        ({"recipes": {"mup": {"parametrization": {"scheme": "nup", "base_width": 8}}}}, "'mup'"),
        ({"over": "depth", "recipe": transfer_recipe(net={"net": "cnn"}), "recipes": None}, "no depth"),
        ({"recipe": transfer_recipe(net={"net": "mlp", "hidden": [8, 6]}), "values": [8, 10]}, "6 would become 7.5"),
        ({"recipe": transfer_recipe(net={"net": "vit"}), "values": [8, 18], "recipes": None}, "multiple of heads"),
        ({"recipe": transfer_recipe(steps=None, epochs=1)}, "sharpness: give the recipe its length in steps"),
        ({"objective": "test_accuracy"}, "objective"),
    ],
)
def test_what_can_not_work_is_refused_when_the_spec_is_read(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        transfer_spec(**changes)


def test_an_objective_that_is_not_evaluated_is_refused_before_any_work() -> None:
    with pytest.raises(SpecError, match="test_loss is of no evaluated split; evaluated are \\['train'\\]"):
        KIND.check(transfer_spec(objective="test_loss"), Workbench())


def build_own(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def test_over_an_argument_of_an_own_network(tmp_path: Path) -> None:
    recipe = transfer_recipe(net={"net": "own", "build": f"{__name__}:build_own", "args": {"width": 3}})
    more = {"recipes": None, "coordinates": None, "sharpness": None}
    spec = transfer_spec(over="net.args.width", values=[4, 8], recipe=recipe, **more)
    found, rows = run_transfer(spec, tmp_path)
    assert rows.groupby("net.args.width")["parameters"].first().tolist() == [4 * 75 + 10, 8 * 75 + 10]
    assert sorted(found.curves("")) == [4, 8]
    assert "per doubling" in str(KIND.report(spec, rows, found.series).sections)
    with pytest.raises(SpecError, match=r"over: net\.args\.width is an argument of an own network; mlp has a width"):
        transfer_spec(over="net.args.width", **more)
    with pytest.raises(SpecError, match=r"over: should be width, depth, batch_size or steps, or net\.args\.NAME"):
        transfer_spec(over="height")
