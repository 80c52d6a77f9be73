"""Verdicts on claims: against numbers worked out by hand, and how often an interval is right."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from landsweep.orchestrator.claim import Claim, Outcome, Verdict
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.verdicts import check_claims, in_short, judge
from landsweep.orchestrator.row import Column

ROWS = pd.DataFrame(
    {
        "status": ["ok"] * 11 + ["failed"],
        "method": ["sgd"] * 6 + ["sam"] * 6,
        "seed": [0, 1, 2, 3, 4, 5] * 2,
        "rate": [0.1, 0.2, 0.3] * 4,
        "loss": [3.0, 2.9, 3.1, 3.0, 3.2, 2.8, 2.0, 2.1, 1.9, 2.0, 2.2, np.nan],
        "on": [True, False] * 6,
    }
)


def judged(holds: str, rows: pd.DataFrame = ROWS, **fields: Any) -> Verdict:
    (verdict,) = judge([Claim(says="it is so", holds=holds, **fields)], rows, {"best.loss": 1.9, "models": 11.0})
    return verdict


@pytest.mark.parametrize(
    ("holds", "value"),
    [
        ("mean(loss, method == 'sgd')", 3.0),
        ("median(loss, method == 'sam')", 2.0),
        ("min(loss)", 1.9),
        ("max(loss, method == 'sam')", 2.2),
        ("count(loss)", 11),
        ("share(loss < 2.05, method == 'sam')", 0.6),
        ("share(method == 'sgd')", 6 / 11),
        ("quantile(loss, 0.5, method == 'sgd')", 3.0),
        ("mean(loss, method == 'sgd' and seed >= 4)", 3.0),
        ("mean(loss, method != 'sgd' and on == True)", (2.0 + 1.9 + 2.2) / 3),
        ("mean(2 * loss + 1, method == 'sgd')", 7.0),
        ("mean(log10(10 ** loss), method == 'sgd')", 3.0),
        ("abs(-mean(loss, seed == 0))", 2.5),
        ("slope(loss + 2 * seed, seed, method == 'sgd')", 2 - 0.2 / 35),  # sum of (seed - 2.5) (loss - 3), by 17.5
        ("at_min(rate, loss, method == 'sgd')", 0.1 + 0.1),  # means 3.0, 3.05, 2.95
        ("lowest_mean(loss, rate, method == 'sgd')", 2.95),
        ("lowest_mean(-loss, rate, method == 'sgd')", -3.05),
        ("lowest_mean(loss, seed, method == 'sgd')", 2.8),
        ("best.loss", 1.9),
        ("2 * `models` - 1", 21),
    ],
)
def test_numbers_are_those_worked_out_by_hand(holds: str, value: float) -> None:
    if holds.startswith("at_min"):
        means = {0.1: (3.0 + 3.0) / 2, 0.2: (2.9 + 3.2) / 2, 0.3: (3.1 + 2.8) / 2}
        value = min(means, key=lambda rate: means[rate])
    near = f"{value!r} - 1e-9 < {holds} and {holds} < {value!r} + 1e-9"
    assert judged(near, exact=True).outcome is Outcome.held
    assert judged(f"{holds} < {value!r} - 1e-9", exact=True).outcome is Outcome.not_held


def test_spearman_is_that_of_scipy() -> None:
    some = ROWS[ROWS.loss.notna()]
    value = float(spearmanr(some.loss, some.rate).statistic)
    assert judged(f"abs(spearman(loss, rate) - {value!r}) < 1e-12".replace("--", "+ "), exact=True).outcome == "held"


@pytest.mark.parametrize(
    ("holds", "outcome"),
    [
        ("mean(loss, method == 'sam') < mean(loss, method == 'sgd')", Outcome.held),
        ("mean(loss, method == 'sam') > mean(loss, method == 'sgd')", Outcome.not_held),
        ("mean(loss, method == 'sgd') < 3.02", Outcome.undecided),
        ("2.5 < mean(loss, method == 'sgd') < 3.5", Outcome.held),
        ("2.5 < mean(loss, method == 'sgd') < 2.6", Outcome.not_held),
        ("mean(loss, method == 'sgd') < 3.5 and mean(loss, method == 'sgd') < 3.02", Outcome.undecided),
        ("mean(loss, method == 'sgd') < 3.02 and mean(loss, method == 'sgd') < 1", Outcome.not_held),
        ("mean(loss, seed == 1 and method == 'sgd') < 9", Outcome.undecided),  # one seed alone
        ("best.loss < 2", Outcome.undecided),  # a number without a spread
        ("mean(loss, method == 'none') < 9", Outcome.undecided),
        ("mean(loss) / models < 9", Outcome.undecided),  # of `models` the spread is not known
        ("mean(loss) / (models - models) < 9", Outcome.undecided),
        ("(mean(loss) - mean(loss)) / (mean(loss) - mean(loss)) < 9", Outcome.undecided),
    ],
)
def test_an_interval_decides(holds: str, outcome: Outcome) -> None:
    verdict = judged(holds)
    assert verdict.outcome is outcome, verdict
    assert verdict.reason


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by much more than methods do; drawn together, the difference is known all the same."""
    rng = np.random.default_rng(0)
    seeds = np.repeat(np.arange(12), 2)
    loss = rng.normal(0, 5, 12)[seeds] + np.tile([0.0, 0.5], 12) + rng.normal(0, 0.05, 24)
    rows = pd.DataFrame({"seed": seeds, "method": ["a", "b"] * 12, "loss": loss})
    assert judged("mean(loss, method == 'a') < mean(loss, method == 'b')", rows).outcome is Outcome.held
    alone = judged("mean(loss, method == 'a') < mean(loss, method == 'b')", rows.assign(run=range(24)), over="run")
    assert alone.outcome is Outcome.undecided


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Claims that a mean lies below the true one are true and false at once: nearly all must be undecided."""
    rng = np.random.default_rng(1)
    decided = 0
    for _ in range(100):
        rows = pd.DataFrame({"seed": range(30), "loss": rng.normal(1, 1, 30)})
        decided += judged("mean(loss) < 1", rows).outcome is not Outcome.undecided
    assert decided <= 15, "5 of 100 are expected; with 30 values a percentile interval is a little short"


def test_the_same_rows_give_the_same_verdict_twice() -> None:
    assert judged("mean(loss) < 2.6") == judged("mean(loss) < 2.6")


@pytest.mark.parametrize(
    ("holds", "message"),
    [
        ("mean(los) < 1", "no column 'los'; the rows have .*loss"),
        ("best.los < 1", "no number 'best.los' in the summary.*best.loss"),
        ("loss < 1", r"'loss' is a column.*mean\(loss\)"),
        ("mean(method) < 1", "'method' holds text"),
        ("mean(loss, method < 'sgd') < 1", "only == and != compare text"),
        ("mean(loss, seed == '1') < 1", "holds no text, but is compared with '1'"),
        ("mean(loss, method) < 1", "a condition compares a column"),
        ("mean(loss, seed, rate) < 1", "mean takes a column"),
        ("open('x') < 1", "allowed are numbers"),
        ("mean(loss).real < 1", "allowed are numbers"),
    ],
)
def test_what_can_not_be_computed_says_why(holds: str, message: str) -> None:
    verdict = judged(holds)
    assert verdict.outcome is Outcome.undecided and verdict.numbers == "-"
    assert re.search(message, verdict.reason), verdict.reason


COLUMNS = (Column("method", "m", type="text"), Column("loss", "l"), Column("seed", "s", type="int"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"holds": "mean(accuracy) < 1"},
            r"claims\.0\.holds: .* no column 'accuracy'; the rows have method, loss",
        ),
        ({"holds": "mean(loss, method == 3) < 1"}, "'method' holds text"),
        ({"holds": "mean(loss, loss == 'low') < 1"}, "'loss' holds no text"),
        ({"holds": "mean(loss) < 1", "over": "lane"}, "over: there is no column 'lane'"),
    ],
)
def test_before_any_work_a_claim_about_absent_columns_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_claims([Claim(says="so", **fields)], COLUMNS)


def test_before_any_work_the_summary_may_hold_any_name() -> None:
    check_claims([Claim(says="so", holds="best.anything < 3 and mean(loss, method == 'a') < best.more")], COLUMNS)


@pytest.mark.parametrize("holds", ["mean(loss) / 0 < 9", "1 < mean(loss) / -0.0", "a / (b / 0) < 1"])
def test_a_division_by_zero_is_refused_where_it_is_written(holds: str) -> None:
    with pytest.raises(ValueError, match="divides by zero"):
        Claim(says="so", holds=holds)


@pytest.mark.parametrize(
    "holds", ["", "mean(loss)", "mean(loss) == 1", "a < b or c < d", "a <", "x" * 2000, "not a < b"]
)
def test_what_is_no_comparison_is_refused_where_it_is_written(holds: str) -> None:
    with pytest.raises(ValueError, match=r"comparison|can't be read|characters"):
        Claim(says="so", holds=holds)


def test_verdicts_are_counted() -> None:
    assert (
        in_short([judged("mean(loss) < 9"), judged("mean(loss) < 1"), judged("mean(loss) < 8")]) == "2 held, 1 not held"
    )


@pytest.mark.parametrize(
    ("holds", "outcome"),
    [
        ("0.4 < slope < 0.7", Outcome.held),
        ("slope < 0.55", Outcome.undecided),
        ("slope > 0.61", Outcome.not_held),
        ("slope - other > 0", Outcome.undecided),  # 0.5 [0.49, 0.6] - 0.45 [0.3, 0.6]
        ("slope > fixed", Outcome.undecided),
    ],
)
def test_numbers_of_the_summary_are_judged_by_their_intervals(holds: str, outcome: Outcome) -> None:
    claim = Claim(says="so", holds=holds)
    intervals = {"slope": (0.49, 0.6), "other": (0.3, 0.6)}
    (verdict,) = judge([claim], ROWS, {"slope": 0.5, "other": 0.45, "fixed": 0.1}, intervals)
    assert verdict.outcome is outcome, verdict


def test_draws_of_a_number_with_an_interval_give_that_interval() -> None:
    (verdict,) = judge([Claim(says="so", holds="slope < 9")], ROWS, {"slope": 0.5}, {"slope": (0.3, 0.6)})
    low, high = (float(x) for x in re.findall(r"\[(.*), (.*)\]", verdict.numbers)[0])
    assert low == pytest.approx(0.3, abs=0.02) and high == pytest.approx(0.6, abs=0.01)
    assert verdict.reason == "intervals of the report"
