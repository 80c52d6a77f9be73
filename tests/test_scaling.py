"""The scaling kind: fits of known laws, predictions, the exact random-feature model, resume, forecast, bad input."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from orchestrator.errors import UsageError
from orchestrator.forecast import forecast
from orchestrator.kind import Workbench
from orchestrator.site import Site
from orchestrator.sweep import Sweep, load_spec
from orchestrator.testing.kind_suite import run_example
from sweeps.lab.scaling.features import Features
from sweeps.lab.scaling.forecast import predict
from sweeps.lab.scaling.ladder import Ladder
from sweeps.lab.scaling.study import Study, best_sizes, exponent, minima, points
from sweeps.lab.streams import stream
from sweeps.scaling import ScalingKind, ScalingSpec
from tests.lab.scaling.test_plan import spec_of
from tests.test_house_rules import ROOT

KIND = ScalingKind()
E, A, B, ALPHA, BETA = 2.0, 300.0, 400.0, 0.8, 0.6


def law(n: Any, d: Any) -> Any:
    return E + A / n**ALPHA + B / d**BETA


def rows_of(spec: ScalingSpec, noise: float = 0.0) -> pd.DataFrame:
    """Rows as training would leave them if the law were true, with relative noise."""
    ladder, random, rows = Ladder(spec), np.random.default_rng(0), []
    for unit in KIND.planner(spec).ask(10_000):
        size, steps = ladder.size(int(unit.params["width"] or 0)), int(unit.params["steps"] or 0)
        tokens = steps * size.step_tokens
        loss = law(size.parameters, tokens) * math.exp(noise * random.standard_normal())
        rows.append(
            {"key": unit.key, **unit.params, "status": "ok", "test_loss": loss, "parameters": size.parameters,
             "body_parameters": size.body, "tokens": tokens, "flops": float(steps * size.step_flops)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def wide(**changes: Any) -> ScalingSpec:
    return spec_of(**{"widths": [4, 8, 12, 16, 24, 32, 48], "budgets": {"geometric": [1e9, 1e11, 5]}, **changes})


def test_a_true_law_is_found_again_and_the_best_size_is_the_one_that_a_search_finds() -> None:
    spec = wide(bootstrap=0)
    study = Study.of(spec, rows_of(spec))
    assert study.fit is not None
    for name, value in (("E", E), ("A", A), ("B", B), ("alpha", ALPHA), ("beta", BETA)):
        assert study.fit[name] == pytest.approx(value, rel=1e-4)
    budgets, steps_between_sizes = [1e10, 1e13], [2e-3, 1e-5]  # small networks can't have the very best size
    found = best_sizes(Ladder(spec), study.fit, budgets, "all")
    for budget, line, near in zip(budgets, found.to_dict("records"), steps_between_sizes, strict=True):
        ladder = Ladder(spec)  # an independent search over every width that the family has
        every = [ladder.size(w) for w in range(4, 4000, 4)]
        losses = [law(s.parameters, budget / s.step_flops * s.step_tokens) for s in every]
        place = int(np.argmin(losses))
        best = every[place]
        assert line["loss"] == pytest.approx(min(losses), rel=near)
        assert every[place - 1].parameters < line["N"] < every[place + 1].parameters
        assert abs(line["width"] - best.width) <= max(4, 0.05 * best.width)
        assert line["steps"] == round(budget / ladder.size(int(line["width"])).step_flops)


def test_intervals_hold_the_truth_and_widen_with_distance() -> None:
    spec = wide(seeds={"range": 3}, bootstrap=300)
    study = Study.of(spec, rows_of(spec, noise=0.003))
    assert study.fit is not None
    found = best_sizes(Ladder(spec), study.fit, [1e11, 1e14, 1e17], "all")
    true = wide(bootstrap=0)
    exact = best_sizes(Ladder(true), Study.of(true, rows_of(true)).fit, [1e11, 1e14, 1e17], "all")  # type: ignore[arg-type]
    for name in ("N", "D", "loss"):
        assert (found[f"{name}_low"] <= exact[name]).all() and (exact[name] <= found[f"{name}_high"]).all()
    width = np.log(found["N_high"] / found["N_low"])
    assert width.is_monotonic_increasing
    assert found["warning"][0] == "" and "x the largest fitted value" in found["warning"][2]


def test_parabolas_find_the_minima_and_their_power_law_has_the_laws_exponent() -> None:
    spec = wide(widths=[4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64], shape={"head_width": 2}, bootstrap=0)
    rows = rows_of(spec)
    found = minima(points(rows, "all"))
    study = Study.of(spec, rows)
    assert study.fit is not None and len(found) == 5 and all(m.size is not None for m in found)
    best = best_sizes(Ladder(spec), study.fit, [m.budget for m in found], "all")
    assert [m.size for m in found] == pytest.approx(list(best["N"]), rel=0.1)
    assert [m.loss for m in found] == pytest.approx(list(best["loss"]), rel=2e-3)
    power = exponent(found, "size")
    slope = np.polyfit(np.log(best["flops"]), np.log(best["N"]), 1)[0]
    assert power is not None and power["p"] == pytest.approx(slope, abs=0.03)


def test_a_budget_whose_lowest_size_is_the_last_is_not_bracketed() -> None:
    spec = wide(widths=[4, 6, 8], shape={"head_width": 2}, budgets=[1e11, 3e11], law="chinchilla", bootstrap=0)
    found = minima(points(rows_of(spec), "all"))
    assert [m.size for m in found] == [None, None], "larger sizes would be better still"


def test_the_best_learning_rate_of_a_cell_is_fitted_and_bad_runs_are_left_out() -> None:
    spec = wide(rates=[0.5, 1, 2], seeds={"range": 2}, bootstrap=0)
    rows = rows_of(spec)
    base = rows["learning_rate"].median()
    rows["test_loss"] *= 1 + 0.1 * np.log(rows["learning_rate"] / base) ** 2
    rows.loc[rows["learning_rate"] > base, "status"] = "diverged"
    table = points(rows, "all")
    assert set(table["learning_rate"]) == {base} and (table.groupby("cell").size() == 2).all()
    assert len(table) == (rows["status"] == "ok").sum() / 2


def test_losses_that_are_not_positive_are_told_not_fitted() -> None:
    spec = wide(bootstrap=0)
    rows = rows_of(spec)
    rows.loc[3, "test_loss"] = -0.1
    study = Study.of(spec, rows)
    assert study.fit is None and "positive" in study.reason
    assert any("No law was fitted" in str(p) for s in KIND.report(spec, rows, pd.DataFrame()).sections for p in s.parts)


def test_the_random_feature_risk_is_the_mean_of_simulated_sgd() -> None:
    model = Features(alpha=1.0, beta=0.3, ambient=48, batch=2, rate=0.5)
    spectrum = model.spectrum(6, 0)
    told = list(itertools.islice(spectrum.risks(0.5), 61))
    random, runs = np.random.default_rng(1), 20_000
    rank = np.arange(1, 49, dtype=float)
    deviation, target = rank**-1.0, rank**-0.3
    draws = np.random.Generator(np.random.PCG64(stream(0, "features"))).standard_normal((6, 48))
    projection = draws.T / math.sqrt(6)
    step = 0.5 / np.trace(projection.T @ (deviation[:, None] ** 2 * projection))
    weights = np.zeros((runs, 6))
    for t in range(60):
        x = random.standard_normal((runs, 2, 48)) * deviation
        features = x @ projection
        error = np.einsum("rbd,rd->rb", features, weights) - x @ target
        weights -= step * np.einsum("rb,rbd->rd", error, features) / 2
        if t + 1 in (1, 10, 60):
            risk = (deviation**2 * (weights @ projection.T - target) ** 2).sum(1)
            assert told[t + 1] == pytest.approx(risk.mean(), abs=4.5 * risk.std() / math.sqrt(runs))
    assert told[0] == pytest.approx(float(deviation**2 @ target**2)), "zero weights predict nothing"
    assert spectrum.floor < min(told)


def test_the_floor_of_the_features_has_the_exponent_of_theory() -> None:
    """The floor falls as d^-(2 alpha + 2 beta - 1): arXiv 2405.15074."""
    widths = np.array([64, 128, 256])
    model = Features(alpha=1.0, beta=0.3, ambient=4096)
    floors = [np.mean([model.spectrum(int(w), s).floor for s in range(3)]) for w in widths]
    assert np.polyfit(np.log(widths), np.log(floors), 1)[0] == pytest.approx(-1.6, abs=0.15)


def feature_spec(**changes: Any) -> ScalingSpec:
    base = {"recipe": None, "features": {"ambient": 128}, "shape": None, "widths": [4, 8, 16, 32], "bootstrap": 50}
    return spec_of(**{**base, "budgets": [1e4, 4e4], "limits": {"least_steps": 50}, **changes})


def test_a_study_of_features_runs_tests_its_fit_and_predicts(tmp_path: Path) -> None:
    spec = feature_spec(validate={"budgets": [4e5]}, seeds={"range": 2})
    end = run_example(KIND, spec, tmp_path)
    assert end.phase == "done" and end.counts == {"ok": 8 * 2 + 1} and end.total == 17
    rows = Sweep.at(tmp_path).rows()
    (test,) = rows[rows["role"] == "validate"].to_dict("records")
    assert test["flops"] == pytest.approx(4e5, rel=0.02) and test["steps_done"] == test["steps"]
    spectrum = Features(ambient=128).spectrum(int(test["width"]), int(test["seed"]))
    risk = next(itertools.islice(spectrum.risks(test["learning_rate"]), test["steps"], None))
    assert test["test_loss"] == risk
    told = json.loads(predict(str(tmp_path), [1e6]).json())
    (line,) = told["budgets"]
    assert told["points"] == 16 and line["N_low"] <= line["N"] <= line["N_high"] and line["width"] < 128
    assert "1e+06" in predict(str(tmp_path), [1e6]).text()
    report = KIND.report(spec, rows, Sweep.at(tmp_path).series())
    assert report.summary["prediction_error"] == pytest.approx(abs(_error(report)), abs=1e-4)


def _error(report: Any) -> float:
    table = next(p for s in report.sections if s.title.startswith("Predicted") for p in s.parts if hasattr(p, "lines"))
    return float(table.lines[0][8].rstrip("%")) / 100


def test_predict_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        predict(str(tmp_path / "none"), [1e6])
    run_example(KIND, feature_spec(), tmp_path)
    for budget, words in ((-1.0, "positive number of FLOPs"), (5.0, "smallest sizes")):
        with pytest.raises(UsageError, match=words):
            predict(str(tmp_path), [budget])


def test_plan_tells_flops_and_seconds_and_is_quick_without_them(tmp_path: Path) -> None:
    kind, spec = load_spec(ROOT / "sweeps" / "recipes" / "scaling_markov.yaml", ["recipe.data.train=200"])
    told = forecast(kind, spec, Site(workers=2), str(tmp_path), Workbench())
    assert told.costs is not None and told.costs.seconds is not None and told.costs.seconds > 0
    assert told.seconds == told.costs.seconds / 2
    assert "FLOPs in all" in told.text() and "s per run" in told.text()
    runs = sum(int(line[7]) for line in told.costs.table.lines)
    assert runs == told.total - 1, "all but the one that tests the fit"  # type: ignore[operator]
    json.dumps(told.fields())
    assert forecast(kind, spec, Site(), str(tmp_path)).costs is None


def test_units_with_rows_cost_nothing_more(tmp_path: Path) -> None:
    spec = feature_spec()
    run_example(KIND, spec, tmp_path)
    told = forecast(KIND, spec, Site(), str(tmp_path), Workbench())
    assert (told.done, told.to_run) == (8, 0) and told.costs is not None and told.costs.table.lines == []
