"""The report of a measuring sweep: rank correlations and their intervals, what its sections say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from landsweep.orchestrator.report.parts import Figure, PageSection, Table
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.sweeps.measure.correlation import rank_correlation
from tests.support.measures import KIND, measure_spec, measured, small_zoo


@pytest.mark.parametrize("seed", range(20))
def test_the_rank_correlation_is_that_of_scipy_ties_included(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 6, 30).astype(float)
    y = x + rng.normal(size=30).round()
    correlation = rank_correlation(x, y)
    assert correlation is not None
    assert correlation.value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert correlation.low is not None and correlation.high is not None
    assert correlation.low < correlation.value < correlation.high


def test_the_interval_of_independent_columns_holds_zero_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        correlation = rank_correlation(rng.normal(size=40), rng.normal(size=40))
        assert correlation is not None and correlation.low is not None and correlation.high is not None
        hits += correlation.low <= 0 <= correlation.high
    assert 180 <= hits <= 198  # 95 % of 200, within three standard deviations


@pytest.mark.parametrize(
    ("x", "y"), [([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2], [1, 2]), ([np.nan, np.inf, 1, 2], [1, 2, 3, 4])]
)
def test_what_has_no_rank_correlation_is_none(x: list[float], y: list[float]) -> None:
    assert rank_correlation(np.array(x, float), np.array(y, float)) is None


def test_few_points_have_no_interval() -> None:
    correlation = rank_correlation(np.arange(4.0), -np.arange(4.0))
    assert correlation is not None
    assert (correlation.value, correlation.low, correlation.in_words()) == (-1.0, None, "-1.00 (n = 4)")


def _section(sections: list[PageSection], title: str) -> PageSection:
    return next(s for s in sections if s.title.lower() == title)


def test_the_report_answers_first_and_shows_settings_metrics_and_pairs(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", rates=(0.003, 0.01, 0.1))
    spec = measure_spec(
        tmp_path,
        subjects=["each", {"choose": "pairs", "within": [], "over": "key"}],
        measures={"fit": {"measure": "losses", "evaluator": "train"}, "far": {"measure": "distance"}},
    )
    rows, _ = measured(spec, tmp_path)
    sweep = Sweep.at(tmp_path / "out")
    report = KIND.report(spec, rows, sweep.series())
    assert [s.title for s in report.sections] == ["Models", "Fit", "Far"]
    fit = _section(list(report.sections), "fit")
    answer = fit.parts[0]
    assert isinstance(answer, str) and report.answer == answer
    assert report.question == "How do these models differ by fit, far, and what goes with it?"
    assert answer.startswith("Loss is ") and "at the median of 6 subjects" in answer
    assert "Its median goes from" in answer and "at optimizer.learning_rate 0.003" in answer
    assert "rank correlation with" in answer
    figures = [part.name for part in fit.parts if isinstance(part, Figure)]
    assert figures == ["fit_by_setting", "fit_against_metrics"]
    correlations = next(p for p in fit.parts if isinstance(p, Table) and p.name == "fit_correlations")
    line = next(x for x in correlations.lines if x[:2] == ["loss", "train loss"])
    assert line[2] == pytest.approx(1.0)
    pairs = [part.name for part in _section(list(report.sections), "far").parts if isinstance(part, Figure)]
    assert "far_pairs" in pairs
    matrix = next(p for p in _section(list(report.sections), "far").parts if getattr(p, "name", "") == "far_pairs")
    assert isinstance(matrix, Figure)
    names = [text.get_text() for text in matrix.picture.axes[0].get_yticklabels()]
    assert len(names) == 6 and not any("none" in name for name in names)  # also of pairs that share a rate
    assert report.summary["fit.loss_median"] == pytest.approx(rows["loss"].median())


def test_several_checkpoints_of_each_model_are_medians_by_step_and_setting(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo", rates=(0.003, 0.1))
    of = [{"sweep": "zoo", "checkpoints": ["step-000000", "last"]}]
    spec = measure_spec(tmp_path, of=of, measures={"fit": {"measure": "losses", "evaluator": "train"}})
    rows, _ = measured(spec, tmp_path)
    report = KIND.report(spec, rows, Sweep.at(tmp_path / "out").series())
    fit = _section(list(report.sections), "fit")
    medians = next(p for p in fit.parts if isinstance(p, Table) and p.name == "fit_medians")
    assert list(medians.header[:3]) == ["step", "optimizer.learning_rate", "subjects"]
    assert [line[2] for line in medians.lines] == [2, 2, 2, 2]  # seeds; a key is no setting
    losses = rows.groupby(["of_step", "optimizer.learning_rate"])["loss"].median()
    assert [line[3] for line in medians.lines] == pytest.approx(losses.tolist())
