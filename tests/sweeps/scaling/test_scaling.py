"""The scaling kind: fits of known laws, predictions, the exact random-feature model, resume, forecast, bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.commands.forecast import forecast
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.sweep import Sweep, load_spec
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example, same
from landsweep.sweeps.lab.data import Markov
from landsweep.sweeps.lab.schedules import Cosine, WarmupStableDecay
from landsweep.sweeps.lab.streams import stream
from landsweep.sweeps.laws.annealing import areas
from landsweep.sweeps.laws.random_features_model import draw_model
from landsweep.sweeps.scaling.curves import MOMENTUM, annealed
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.predict import predict
from landsweep.sweeps.scaling.report import larger_runs
from landsweep.sweeps.scaling.study import Study, best_sizes, exponent, minima, points
from tests.support.paths import SHIPPED_SPECS
from tests.support.studies import (
    ALPHA,
    BETA,
    BRANCHED_STUDY,
    GPT_RECIPE,
    KIND,
    A,
    B,
    E,
    feature_study,
    rows_of_the_law,
    study_spec,
    true_loss,
    wide_study,
)


def test_a_true_law_is_found_again_and_the_best_size_is_the_one_that_a_search_finds() -> None:
    spec = wide_study(bootstrap=0)
    study = Study.of(spec, rows_of_the_law(spec))
    assert study.fit is not None
    for name, value in (("E", E), ("A", A), ("B", B), ("alpha", ALPHA), ("beta", BETA)):
        assert study.fit[name] == pytest.approx(value, rel=1e-4)
    budgets, steps_between_sizes = [1e10, 1e13], [2e-3, 1e-5]  # small networks can't have the very best size
    found = best_sizes(Ladder(spec), study.fit, budgets, "all")
    for budget, line, near in zip(budgets, found.to_dict("records"), steps_between_sizes, strict=True):
        ladder = Ladder(spec)  # an independent search over every width that the family has
        every = [ladder.size(w) for w in range(4, 4000, 4)]
        losses = [true_loss(s.parameters, budget / s.step_flops * s.step_tokens) for s in every]
        place = int(np.argmin(losses))
        best = every[place]
        assert line["loss"] == pytest.approx(min(losses), rel=near)
        assert every[place - 1].parameters < line["N"] < every[place + 1].parameters
        assert abs(line["width"] - best.width) <= max(4, 0.05 * best.width)
        assert line["steps"] == round(budget / ladder.size(int(line["width"])).step_flops)


def test_intervals_hold_the_truth_and_widen_with_distance() -> None:
    spec = wide_study(seeds={"range": 3}, bootstrap=300)
    study = Study.of(spec, rows_of_the_law(spec, noise=0.003))
    assert study.fit is not None
    found = best_sizes(Ladder(spec), study.fit, [1e11, 1e14, 1e17], "all")
    true = wide_study(bootstrap=0)
    exact = best_sizes(Ladder(true), Study.of(true, rows_of_the_law(true)).fit, [1e11, 1e14, 1e17], "all")  # type: ignore[arg-type]
    for name in ("N", "D", "loss"):
        assert (found[f"{name}_low"] <= exact[name]).all() and (exact[name] <= found[f"{name}_high"]).all()
    width = np.log(found["N_high"] / found["N_low"])
    assert width.is_monotonic_increasing
    assert found["warning"][0] == "" and "x the largest fitted value" in found["warning"][2]


def test_parabolas_find_the_minima_and_their_power_law_has_the_laws_exponent() -> None:
    spec = wide_study(widths=[4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64], shape={"head_width": 2}, bootstrap=0)
    rows = rows_of_the_law(spec)
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
    spec = wide_study(widths=[4, 6, 8], shape={"head_width": 2}, budgets=[1e11, 3e11], law="chinchilla", bootstrap=0)
    found = minima(points(rows_of_the_law(spec), "all"))
    assert [m.size for m in found] == [None, None], "larger sizes would be better still"


def test_the_best_learning_rate_of_a_cell_is_fitted_and_bad_runs_are_left_out() -> None:
    spec = wide_study(rates=[0.5, 1, 2], seeds={"range": 2}, bootstrap=0)
    rows = rows_of_the_law(spec)
    base = rows["learning_rate"].median()
    rows["test_loss"] *= 1 + 0.1 * np.log(rows["learning_rate"] / base) ** 2
    rows.loc[rows["learning_rate"] > base, "status"] = "diverged"
    table = points(rows, "all")
    assert set(table["learning_rate"]) == {base} and (table.groupby("cell").size() == 2).all()
    assert len(table) == (rows["status"] == "ok").sum() / 2


def test_losses_that_are_not_positive_are_told_not_fitted() -> None:
    spec = wide_study(bootstrap=0)
    rows = rows_of_the_law(spec)
    rows.loc[3, "test_loss"] = -0.1
    study = Study.of(spec, rows)
    assert study.fit is None and "positive" in study.reason
    assert any("No law was fitted" in str(p) for s in KIND.report(spec, rows, pd.DataFrame()).sections for p in s.parts)


def test_a_study_of_features_runs_tests_its_fit_and_predicts(tmp_path: Path) -> None:
    spec = feature_study(validate={"budgets": [4e5]}, seeds={"range": 2})
    end = run_example(KIND, spec, tmp_path)
    assert end.phase == "done" and end.counts == {"ok": 8 * 2 + 1} and end.total == 17
    rows = Sweep.at(tmp_path).rows()
    fewer = feature_study(validate={"budgets": [4e5]})
    smaller = forecast(KIND, fewer, Site(), str(tmp_path))
    assert (smaller.total, smaller.done, smaller.to_run) == (9, 9, 0) and "weights" not in smaller.text()
    (test,) = rows[rows["role"] == "validate"].to_dict("records")
    assert test["flops"] == pytest.approx(4e5, rel=0.02) and test["steps_done"] == test["steps"]
    model = draw_model(1.0, 0.3, int(test["width"]), 128, stream(int(test["seed"]), "features"))
    simulated = model.train(min(int(test["steps"]), 200), 0.5 * model.largest_rate, runs=400, seed=0)[:, -1]
    series = Sweep.at(tmp_path).series()
    curve = series[(series["key"] == test["key"]) & (series["step"] <= 200)].sort_values("step")
    told = np.interp(200, curve["step"], curve["value"])
    assert told == pytest.approx(simulated.mean(), rel=0.1), "of SGD on data that are really drawn"
    assert test["test_loss"] > test["floor"] == model.floor
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
    run_example(KIND, feature_study(), tmp_path)
    for budget, words in ((-1.0, "positive number of FLOPs"), (5.0, "smallest sizes")):
        with pytest.raises(UsageError, match=words):
            predict(str(tmp_path), [budget])


def test_plan_tells_flops_and_seconds_and_is_quick_without_them(tmp_path: Path) -> None:
    kind, spec = load_spec(SHIPPED_SPECS / "scaling_markov.yaml", ["recipe.data.train=200"])
    told = forecast(kind, spec, Site(workers=2), str(tmp_path), Workbench())
    assert told.costs is not None and told.costs.seconds is not None and told.costs.seconds > 0
    assert told.seconds == told.costs.seconds / 2
    assert "FLOPs in all" in told.text() and "s per run" in told.text()
    runs = sum(int(line[7]) for line in told.costs.table.lines)
    assert runs == told.total - 1, "all but the one that tests the fit"  # type: ignore[operator]
    json.dumps(told.fields())
    assert forecast(kind, spec, Site(), str(tmp_path)).costs is None


def test_a_study_of_files_that_are_absent_can_be_planned_with_seconds(tmp_path: Path) -> None:
    data, net = {"source": "mnist", "folder": "absent"}, {"net": "mlp", "hidden": [8]}
    recipe = {**GPT_RECIPE, "data": data, "net": net}
    changes = {"recipe": recipe, "shape": None, "widths": [4, 8, 16], "budgets": [1e8, 3e8]}
    told = forecast(KIND, study_spec(**changes), Site(), str(tmp_path), Workbench())
    assert told.costs is not None and told.costs.seconds is not None and told.costs.seconds > 0


def test_the_report_says_why_no_larger_run_could_be_proposed() -> None:
    changes = {"recipe": None, "features": {"ambient": 1500}, "shape": None, "bootstrap": 0}
    spec = study_spec(**changes, widths=[512, 1024], budgets=[1e6, 3e6, 1e7, 3e7], validate={"budgets": [1e8]})
    rows, planner = rows_of_the_law(spec), KIND.planner(spec)
    for row in rows.to_dict("records"):
        planner.tell({str(k): v for k, v in row.items()})
    assert planner.ask(99) == []
    told = str(KIND.report(spec, rows, pd.DataFrame()).sections)
    assert "No larger run has tested the fit, and none could be proposed: the best size is looked for among at" in told
    assert "the family has 2: multiples of 512, which all widths share, below `ambient`" in told


def test_units_with_rows_cost_nothing_more(tmp_path: Path) -> None:
    spec = feature_study()
    run_example(KIND, spec, tmp_path)
    told = forecast(KIND, spec, Site(), str(tmp_path), Workbench())
    assert (told.done, told.to_run) == (8, 0) and told.costs is not None and told.costs.table.lines == []


def test_the_annealing_law_foretells_the_longest_curve_where_it_is_true() -> None:
    """Curves made by the law itself, with rates that a cosine gives: fitted to the short ones, exact on the longest."""
    schedule, peak, rows, lines = Cosine(shape="cosine", warmup_steps=10), 0.02, [], []
    for key, steps in (("a", 200), ("b", 500), ("c", 1200)):
        rates = [peak * (1.0 if s < 10 else schedule.multiplier(s, steps)) for s in range(steps)]
        forward, held, annealing = 0.0, 0.0, 0.0
        for s, rate in enumerate(rates):
            held = MOMENTUM * held + (rates[s - 1] - rate if s else 0.0)
            forward, annealing = forward + rate, annealing + held
            if (s + 1) % 20 == 0:
                loss = 2.5 + 0.4 * forward**-0.7 - 0.8 * annealing
                lines.append({"key": key, "step": s + 1, "metric": "test_loss", "value": loss})
        rows.append(
            {"key": key, "role": "isoflop", "width": 8, "steps": steps, "learning_rate": peak, "seed": 0, "N": 99.0}
        )
    found = annealed(pd.DataFrame(rows), pd.DataFrame(lines), schedule)
    assert found is not None and [c.fitted for c in found.curves] == [True, True, False]
    assert found.rmse is not None and found.rmse < 1e-4
    assert [found.fit[n] for n in ("L0", "A", "C", "alpha")] == pytest.approx([2.5, 0.4, 0.8, 0.7], rel=1e-3)
    steps, losses = found.line(found.curves[-1], schedule)
    assert np.interp(600, steps, losses) == pytest.approx(
        next(x["value"] for x in lines if (x["key"], x["step"]) == ("c", 600)), rel=1e-4
    )
    assert annealed(pd.DataFrame(rows), pd.DataFrame(lines[:2]), schedule) is None


FEATURES = {"features": {"ambient": 512}, "widths": [8, 16, 32, 64], "budgets": [1e5, 1e6, 1e7],
            "limits": {"least_steps": 50}, "validate": {"budgets": [4e7]}}  # fmt: skip
BRANCHED = {**{k: v for k, v in BRANCHED_STUDY.items() if k not in ("seeds", "name", "kind")}, "widths": [2, 4, 8],
            "budgets": [2e6, 4e6, 8e6], "validate": {"budgets": [1.6e7]}, "backend": "loop"}  # fmt: skip


def test_the_curve_of_a_branch_is_that_of_its_main_run_up_to_where_it_leaves() -> None:
    """Curves made by the law itself; branches have evaluations of their cool-down alone, some five of them."""
    schedule, peak = WarmupStableDecay(shape="wsd", warmup_steps=10, cooldown=0.2), 0.02
    rows, lines = [], []
    for key, steps in (("a", 300), ("b", 600), ("c", 1500)):
        rates = peak * np.array([1.0 if s < 10 else schedule.multiplier(s, steps) for s in range(steps)])
        forward, annealing = areas(rates, MOMENTUM)
        losses = 2.5 + 0.4 * forward**-0.7 - 0.8 * annealing
        for step in range(20, steps + 1, 20):
            if key == "c" or step > steps - schedule.falls(steps):
                lines.append({"key": key, "step": step, "metric": "test_loss", "value": losses[step - 1]})
        rows.append(
            {"key": key, "role": "isoflop", "width": 8, "steps": steps, "learning_rate": peak, "seed": 0, "N": 99.0}
        )
    found = annealed(pd.DataFrame(rows), pd.DataFrame(lines), schedule, branches=True)
    assert found is not None and [c.table["step"].iloc[0] for c in found.curves] == [20, 40, 80]
    assert found.rmse is not None and found.rmse < 1e-4
    assert [found.fit[n] for n in ("L0", "A", "C", "alpha")] == pytest.approx([2.5, 0.4, 0.8, 0.7], rel=1e-3)
    assert len(found.fit.residuals) == 29 + 1 + 3, (
        "those of b, the first of a, and its cool-down: what is shared counts once"
    )


@pytest.mark.slow
@pytest.mark.parametrize("study", [FEATURES, BRANCHED], ids=["features", "branches"])
def test_a_killed_study_goes_on_and_ends_with_the_same_rows(study: dict[str, Any], tmp_path: Path) -> None:
    """SIGKILL in the middle, of the command itself: then the same command again."""
    spec = tmp_path / "study.yaml"
    spec.write_text(json.dumps({"kind": "scaling", "name": "study", "bootstrap": 0, **study}), encoding="utf-8")
    code = "from landsweep.orchestrator.commands.cli import main; main()"
    site = ["--site", "local", "site.tracking=false", "site.commit_seconds=0.01", "site.shard_seconds=0.001"]

    def begun(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", code, "run", str(spec), "--out", str(out), *site]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    killed = begun(tmp_path / "killed")
    until = time.monotonic() + 120
    while not list((tmp_path / "killed" / "rows").glob("*.parquet")) and killed.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, "it was still at work"
    before = len(Sweep.at(tmp_path / "killed").rows())
    assert begun(tmp_path / "killed").wait() == 0 and begun(tmp_path / "whole").wait() == 0
    rows = metrics_of(tmp_path / "killed")
    assert 0 < before < len(rows) and same(rows, metrics_of(tmp_path / "whole"))
    assert sum(r["role"] == "validate" for r in rows.values()) == 1


@pytest.mark.slow
def test_the_study_on_a_markov_source_finds_the_entropy_and_predicts_a_larger_run(tmp_path: Path) -> None:
    kind, spec = load_spec(SHIPPED_SPECS / "scaling_markov.yaml", ["bootstrap=200"])
    assert run_example(kind, spec, tmp_path).counts == {"ok": 39}
    rows = Sweep.at(tmp_path).rows()
    study = Study.of(spec, rows)  # type: ignore[arg-type]
    entropy = Markov(source="markov", states=64, concentration=0.2).entropy_rate()
    assert study.fit is not None and study.fit.converged
    assert study.fit["E"] == pytest.approx(entropy, rel=0.05)
    tested = larger_runs(study)
    assert tested["C"][0] > 4.9 * rows.loc[rows["role"] != "validate", "flops"].max()
    assert tested["run_low"][0] <= tested["measured"][0] <= tested["run_high"][0]
