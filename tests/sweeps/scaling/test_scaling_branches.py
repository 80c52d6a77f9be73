"""Branches in a study: the longest run of each size is trained, shorter horizons leave it, and no number changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from torch import Tensor

from landsweep.orchestrator.commands.forecast import forecast
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.lab.checkpoints.source import Stacked
from landsweep.sweeps.lab.training import Training
from landsweep.sweeps.scaling.ladder import Ladder
from tests.support.studies import BRANCHED_RECIPE, KIND, WSD, branched_study
from tests.sweeps.lab.training.cases import distance

pytestmark = pytest.mark.rotating

ADAM = {"name": "torch.optim:Adam", "learning_rate": 0.03}
GPT: dict[str, Any] = {
    "data": {"source": "markov", "states": 16, "context": 8, "train": 512, "test": 32},
    "net": {"net": "gpt", "depth": 1, "heads": 2},
    "optimizer": {"method": "adamw", "learning_rate": 0.02},
    "batch_size": 16,
}


def horizons(units: Sequence[Any]) -> set[tuple[int, int]]:
    return {(u.params["width"], u.params["steps"]) for u in units}


def weights(folder: Path) -> dict[tuple[Any, ...], dict[str, Tensor]]:
    files = Stacked(Artifacts(str(folder)))
    names = ["width", "steps", "learning_rate", "seed"]
    rows = Sweep.at(folder).rows().to_dict("records")
    return {tuple(r[n] for n in names): files.state(r, "last") for r in rows}


def test_the_longest_horizon_of_each_size_comes_first_and_the_others_once_it_has_rows() -> None:
    whole = KIND.planner(branched_study(horizons=None)).ask(99)
    planner = KIND.planner(branched_study())
    mains = planner.ask(99)
    longest = {w: max(s for v, s in horizons(whole) if v == w) for w in (2, 4, 8)}
    assert horizons(mains) == set(longest.items()) and len(mains) == 6 and planner.total == len(whole)
    assert planner.ask(99) == [] and not planner.exhausted
    first, second = (u for u in mains if u.params["width"] == 4)
    planner.tell({"key": first.key, **first.params})
    assert planner.ask(99) == []
    planner.tell({"key": second.key, **second.params})
    released = planner.ask(99)
    assert horizons(released) == {(w, s) for w, s in horizons(whole) if w == 4} - set(longest.items())
    for unit in mains:
        planner.tell({"key": unit.key, **unit.params})
    rest = planner.ask(99)
    assert {str(u.params) for u in [*mains, *released, *rest]} == {str(u.params) for u in whole}
    assert len(mains) + len(released) + len(rest) == len(whole)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param(
            {"recipe": {**BRANCHED_RECIPE, "schedule": {**WSD, "cooldown_steps": 4, "decay": "linear", "final": 0.1}}},
            marks=pytest.mark.slow,
        ),
        {
            "recipe": {**BRANCHED_RECIPE, **GPT},
            "shape": {"head_width": 2},
            "budgets": [3e6, 6e6, 12e6],
            "backend": "loop",
        },
    ],
    ids=["mlp", "fixed cool-down", "gpt"],
)
def test_every_run_has_the_bits_of_one_that_is_trained_alone(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    really = Training.start_from

    def start_from(training: Training, points: Sequence[Any]) -> None:
        really(training, points)
        begun.append(training.step)

    monkeypatch.setattr(Training, "start_from", start_from)
    spec = branched_study(**changes)
    assert run_example(KIND, spec, tmp_path / "branched").phase == "done"
    branches = len(begun)
    run_example(KIND, branched_study(**changes, horizons="runs", name="alone"), tmp_path / "alone")
    assert min(begun) > 0 and len(begun) == branches, "runs that are trained alone begin at no point"
    ours, theirs = weights(tmp_path / "branched"), weights(tmp_path / "alone")
    assert ours.keys() == theirs.keys()
    assert all(distance(state, theirs[mark]) == 0 for mark, state in ours.items())
    both = [Sweep.at(tmp_path / n).rows().sort_values(["width", "steps", "seed"]) for n in ("branched", "alone")]
    for name in ("test_loss", "flops", "tokens", "steps_done", "epochs_done"):
        assert both[0][name].tolist() == both[1][name].tolist(), name
    assert both[1]["flops_spent"].tolist() == both[1]["flops"].tolist()


def test_plan_report_and_rows_say_what_is_spent(tmp_path: Path) -> None:
    spec = branched_study(validate={"budgets": [1e6]})
    plan = forecast(KIND, spec, Site(), str(tmp_path), Workbench())
    assert plan.costs is not None
    lines = plan.costs.table.lines
    spent = whole = 0
    for _, width, _, _, _, steps, _, runs, _, at in lines:
        size = Ladder(spec).size(width)
        assert at == "-" or at == steps - round(0.25 * (steps - 5))
        spent += runs * (steps - (0 if at == "-" else at)) * size.step_flops
        whole += runs * steps * size.step_flops
    assert sum(line[-1] == "-" for line in lines) == 3
    assert f"{spent:.3g} FLOPs in all; {whole:.3g} without branches: {1 - spent / whole:.0%} are saved" in plan.text()
    alone = forecast(KIND, branched_study(horizons=None), Site(), str(tmp_path / "alone"), Workbench())
    assert f"{whole:.3g} FLOPs in all" in alone.text() and "branches" not in alone.text()
    run_example(KIND, spec, tmp_path)
    rows = Sweep.at(tmp_path).rows()
    fitted, test = rows[rows["role"] != "validate"], rows[rows["role"] == "validate"]
    assert (fitted["flops"].sum(), fitted["flops_spent"].sum()) == (whole, spent)
    assert len(test) == 1 and (test["flops"] == test["flops_spent"]).all(), (
        "what tests the fit is trained from its start"
    )
    report = KIND.report(spec, rows, Sweep.at(tmp_path).series())
    said = next(p for p in report.sections[0].parts if "branches" in str(p))
    assert f"{len(fitted) - 6} runs are branches" in str(said)
    assert report.summary["flops_spent"] == rows["flops_spent"].sum()


@pytest.mark.slow
def test_a_study_grows_by_a_horizon_between_those_that_it_has(tmp_path: Path) -> None:
    """Its own point was not kept, so it starts from the nearest one before, and ends with the same bits."""
    run_example(KIND, branched_study(), tmp_path / "grown")
    more = branched_study(budgets=[1e5, 2e5, 3e5, 4e5])
    run_example(KIND, more, tmp_path / "grown")
    run_example(KIND, more, tmp_path / "fresh")
    ours, fresh = weights(tmp_path / "grown"), weights(tmp_path / "fresh")
    assert ours.keys() == fresh.keys() and all(distance(s, fresh[mark]) == 0 for mark, s in ours.items())
    table: pd.DataFrame = Sweep.at(tmp_path / "grown").rows()
    new = table[table["budget"] == 3e5]
    assert len(new) == 6 and (new["flops_spent"] < 0.7 * new["flops"]).all()


def scheduled(**changes: Any) -> dict[str, Any]:
    return {"recipe": {**BRANCHED_RECIPE, "schedule": changes}}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"recipe": None, "features": {"ambient": 64}}, ["horizons", "random-feature model has none"]),
        (scheduled(shape="cosine"), ["recipe.schedule is cosine", "shape: wsd"]),
        (scheduled(shape="wsd", warmup=0.1), ["share of each horizon", "warmup_steps"]),
        ({"rate": {"horizon": -0.3, "at_horizon": 1e4}}, ["rate.horizon must be 0"]),
        (scheduled(shape="wsd", warmup_steps=30), ["width 8", "10 steps", "no room for a warm-up of 30"]),
        (scheduled(shape="wsd", warmup_steps=5, cooldown=0.05), ["no room for a warm-up of 5 and a cool-down"]),
        ({"recipe": {**BRANCHED_RECIPE, "optimizer": {**ADAM, "method": "class"}}}, ["can't branch"]),
        ({"horizons": "branch"}, ["horizons", "runs", "branches"]),
    ],
    ids=lambda v: str(v)[:60] if isinstance(v, dict) else "",
)
def test_what_can_not_branch_is_refused(changes: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(UsageError) as e:
        KIND.planner(branched_study(**changes))
    assert all(name in str(e.value) for name in names), e.value
