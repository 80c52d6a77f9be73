"""A zoo with `bisect`: its limits against a grid, growth, the report, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from landsweep import plan, run
from landsweep.orchestrator.errors import UsageError
from tests.support.cli import command

LOCAL = {"executor": "local", "tracking": False}
RATE = "optimizer.learning_rate"
SPEC: dict[str, Any] = {
    "kind": "zoo",
    "name": "rates",
    "recipe": {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [8]},
        "optimizer": {"method": "sgd", "learning_rate": 0.1},
        "steps": 40,
        "batch_size": 64,
        "evaluate": {"splits": ["train"]},
        "checkpoints": {"last": False},
    },
    "axes": {"net.hidden.0": [8, 32]},
    "seeds": {"range": 2},
    "backend": "bmm",
}
BISECT = {"over": f"recipe.{RATE}", "between": [0.05, 100.0], "holds": "train_accuracy > 0.3"}


def test_limits_are_those_of_the_whole_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = {**SPEC, "bisect": {**BISECT, "resolution": 0.5, "agree": 1}}
    assert plan(spec, site="local").total is None
    found = run(spec, site=LOCAL)
    rows, limits = found.rows, found.tables["combinations"].set_index("net.hidden.0")
    assert set(limits["search"]) == {"bracketed"} and (limits["fails at"] <= 1.5 * limits["holds at"]).all()
    grid = {**SPEC, "name": "grid", "axes": {**SPEC["axes"], RATE: sorted(set(rows[RATE]))}}
    whole = run(grid, site=LOCAL, report=False).rows
    assert set(rows["key"]) <= set(whole["key"]), "a model has the key that it has in a grid"
    for width in (8, 32):
        best = whole[whole["net.hidden.0"] == width].groupby(RATE)["train_accuracy"].max()
        holds, fails = limits.loc[width, ["holds at", "fails at"]]
        assert best[holds] > 0.3 >= best[fails]
    assert "train_accuracy > 0.3 ceases to hold along optimizer.learning_rate in 2 of 2 combinations" in (
        found.report.answer
    )
    assert found.summary["limits_bracketed"] == 2 and next(iter(found.figures)) == "limits"
    more = run(spec, "axes={net.hidden.0: [8, 16, 32]}", site=LOCAL, report=False).rows
    assert set(rows["key"]) < set(more["key"]) and set(more["net.hidden.0"]) == {8, 16, 32}
    assert "sound" in command("verify", "results/rates", cwd=tmp_path).stdout


def test_one_combination_has_its_limit_in_the_summary_with_the_bracket_as_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    claim = {"says": "rates up to 0.1 train", "holds": "limit > 0.1"}
    whole = {"over": "steps", "between": [40, 1], "holds": "train_accuracy > 0.15"}
    spec = {**SPEC, "axes": {}, "seeds": [0], "claims": [claim], "bisect": BISECT}
    report = run(spec, site=LOCAL).report
    low, high = report.intervals["limit"]
    assert low < report.summary["limit"] < high <= 1.1 * low * (1 + 1e-5)
    assert [v.outcome.value for v in report.verdicts] == ["held"]
    steps = run({**spec, "name": "steps", "claims": [], "bisect": whole}, site=LOCAL)
    assert steps.tables["combinations"].iloc[0][["holds at", "fails at"]].diff().iloc[1] == -1, "two steps in a row"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {RATE: [0.1]}}, r"\['optimizer.learning_rate'\] are swept twice"),
        ({"bisect": {**BISECT, "over": "optimizer.rate"}}, "optimizer.rate: unknown field"),
        ({"bisect": {**BISECT, "agree": 3}}, "3 seeds can't agree, each value is tried with 2"),
        ({"bisect": {**BISECT, "holds": "accuracy > 0.3"}}, "there is no column 'accuracy'"),
        ({"bisect": {**BISECT, "between": [0, 1]}}, "must be above 0; or give scale: linear"),
        (
            {"axes": {"net.hidden.0": {"values": [8, 32], "default": 8}}},
            "axes.net.hidden.0: default: a zoo with bisect can't take one",
        ),
        ({"bisect": BISECT, "branches": {"b": {"at": 10, "steps": 10}}}, "a zoo with branches can't have it"),
    ],
)
def test_what_can_not_be_searched_is_refused_before_any_work(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan({**SPEC, "bisect": BISECT, **changes}, site="local")
