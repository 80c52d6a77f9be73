"""Scores of optimizers by time to target: closed form, censoring, and what the field does to a score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.report.parts import Report, Table
from landsweep.sweeps.zoo.algoperf import (
    WorkloadTarget,
    best_times,
    intervals,
    leave_one_out,
    profile,
    ratios,
    score,
    time_to_target,
    trial_times,
)
from landsweep.sweeps.zoo.algoperf_report import benchmark_section, with_targets
from landsweep.sweeps.zoo.kind import ZooKind

INF = math.inf
EXAMPLE = pd.DataFrame([[1.0, 2.0, 2.4, 3.0, INF]], index=["one"])
times_of = st.lists(st.one_of(st.floats(1, 1000), st.just(INF)), min_size=4, max_size=4)


def trapezoids(of: pd.DataFrame, points: int) -> float:
    """The score as AlgoPerf's code computes it."""
    taus = np.linspace(1, 4, points)
    return float(np.trapezoid(profile(of, taus).to_numpy()[0], taus)) / 3


def test_the_closed_form_and_what_trapezoids_make_of_it() -> None:
    assert score(EXAMPLE)["one"] == pytest.approx(0.50667, abs=5e-6)
    assert trapezoids(EXAMPLE, 100) == pytest.approx(0.50808, abs=5e-6)
    assert trapezoids(EXAMPLE, 300_001) == pytest.approx(score(EXAMPLE)["one"], abs=1e-5)


@given(st.lists(times_of, min_size=1, max_size=5))
def test_scores_are_areas_under_profiles(lines: list[list[float]]) -> None:
    found = ratios(pd.DataFrame(lines))
    scores = score(found)
    assert ((scores >= 0) & (scores <= 1)).all()
    taus = np.linspace(1, 4, 3_001)
    areas = np.trapezoid(profile(found, taus).to_numpy(), taus, axis=1) / 3
    np.testing.assert_allclose(scores, areas, atol=1e-3)


def test_what_is_more_than_four_times_as_slow_counts_as_missed() -> None:
    best = pd.DataFrame({"a": [100, 400, 401, INF], "b": [50, 25, INF, 100], "c": [INF] * 4}, index=list("wxyz"))
    found = ratios(best)
    assert found["a"].tolist() == [1, 4, INF, INF]
    assert found["b"].tolist() == [2, 1, INF, 4]
    assert found["c"].tolist() == [INF] * 4  # nobody reached it: nobody gains by it
    assert score(found)["w"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_the_median_over_studies_of_the_best_trial() -> None:
    lines = [("w", "adam", study, time, 500.0) for study, each in enumerate(STUDIES) for time in each]
    times = pd.DataFrame(lines, columns=["workload", "optimizer", "study", "time", "budget"])
    assert best_times(times).loc["adam", "w"] == 80
    missed = times.assign(time=[INF] * 4 + [60.0, 90.0])
    assert best_times(missed).loc["adam", "w"] == INF  # two of three studies missed


STUDIES = [[100.0, 80.0], [INF, 40.0], [INF, INF]]


def test_first_evaluation_that_meets_the_target() -> None:
    loss, accuracy = WorkloadTarget(metric="test_loss", value=0.3), WorkloadTarget(metric="test_accuracy", value=0.9)
    assert time_to_target([10, 20, 30], [math.nan, 0.3, 0.1], loss) == 20
    assert time_to_target([10, 20, 30], [0.2, 0.95, 0.5], accuracy) == 20
    assert time_to_target([10, 20], [INF, math.nan], loss) == INF
    assert time_to_target([], [], loss) == INF


def rows_and_series() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two optimizers on two workloads, of which one takes two gradients a step; three seeds, two settings."""
    rows, series = [], []
    for workload in ("mlp", "gpt"):
        for optimizer, gradients, speed in (("sgd", 1, 3), ("sam", 2, 1)):
            for seed in range(3):
                for setting in range(2):
                    key = f"{workload}{optimizer}{seed}{setting}"
                    name = f"{workload}/{optimizer}"
                    rows.append({"key": key, "recipe": name, "seed": seed, "steps_done": 40})
                    rows[-1]["gradient_evaluations"] = 40 * gradients
                    for step in (10, 20, 30, 40):
                        reached = step >= 10 * speed + 10 * setting
                        series.append({"key": key, "step": step, "metric": "test_loss", "value": 0.1 if reached else 1})
    return pd.DataFrame(rows), pd.DataFrame(series)


def test_rows_of_a_sweep() -> None:
    rows, series = rows_and_series()
    target = WorkloadTarget(metric="test_loss", value=0.5)
    targets = {"mlp": target, "gpt": target}
    steps = best_times(trial_times(rows, series, targets))
    assert steps.loc["sam"].tolist() == [10, 10] and steps.loc["sgd"].tolist() == [30, 30]
    gradients = trial_times(rows, series, targets, "gradients")
    assert best_times(gradients).loc["sam"].tolist() == [20, 20]
    assert set(gradients["budget"]) == {40.0, 80.0}
    found = intervals(gradients, draws=50)
    assert (found["low"] <= score(ratios(best_times(gradients)))).all() and (found["high"] <= 1).all()
    field = leave_one_out(best_times(gradients))
    assert field.loc["sgd", "sam"] == 1 and math.isnan(field.loc["sam", "sam"])


def test_the_report_says_what_was_not_reached() -> None:
    rows, series = rows_and_series()
    hard = {"mlp": WorkloadTarget(metric="test_loss", value=0.5), "gpt": WorkloadTarget(metric="test_loss", value=0.05)}
    section = benchmark_section(rows, series, hard)
    tables = [part for part in section.parts if isinstance(part, Table)]
    steps, gradients, scores = (list(map(list, t.lines)) for t in tables[:3])
    assert steps == [["sam", "not in 40", "10"], ["sgd", "not in 40", "30"]]
    assert gradients == [["sam", "not in 80", "20"], ["sgd", "not in 40", "30"]]
    assert [line[0] for line in scores] == ["sam", "sgd"] and scores[0][1] == "0.500"
    assert scores[1][1] == f"{(4 - 1.5) / 3 / 2:.3f}" and scores[1][4] == "1 of 2"
    report = with_targets(Report([]), rows, series, hard)
    assert report.answer.startswith("sam has the highest score and reaches 1 of 2 targets. Scores, in gradient ")
    assert "sam 0.50 (" in report.answer and report.lead == "profiles" and len(report.sections) == 1


@pytest.mark.parametrize(
    ("recipes", "said"),
    [({"sgd": {}}, "WORKLOAD/OPTIMIZER"), ({"gpt/sgd": {}}, "workloads are \\['gpt'\\]")],
)
def test_a_benchmark_names_its_workloads(recipes: dict[str, Any], said: str) -> None:
    targets = {"mlp": {"metric": "test_loss", "value": 0.5}}
    spec = {**ZooKind().example().model_dump(mode="json"), "recipes": recipes, "targets": targets}
    with pytest.raises(SpecError, match=said):
        ZooKind().parse(spec, "spec")


def test_names_and_targets_that_are_missing() -> None:
    rows, series = rows_and_series()
    target = WorkloadTarget(metric="test_loss", value=0.5)
    with pytest.raises(SpecError, match="none for the workload 'gpt'"):
        trial_times(rows, series, {"mlp": target})
    with pytest.raises(SpecError, match="called WORKLOAD/OPTIMIZER"):
        trial_times(rows.assign(recipe="sgd"), series, {"mlp": target})
