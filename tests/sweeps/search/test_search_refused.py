"""What a search refuses before any work, each with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import run_example
from tests.support.searches import KIND, RATE, TINY_RECIPE, WALK, function_search, tiny_search


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"space": {"optimizer.learning_rate": {"log_uniform": [1, 1]}}}, "range is empty"),
        ({"space": {**RATE, "clip": {"uniform": [1, 2], "when": {"method": "sgd"}}}}, "there is no setting 'method'"),
        ({"space": {**RATE, "clip": {"uniform": [1, 2], "when": {"optimizer.learning_rate": 9}}}}, "is never 9"),
        ({"space": {"optimizer.rate": {"uniform": [0, 1]}}}, r"space\.optimizer\.rate: the value 0\.0.*unknown field"),
        ({"space": {"batch_size": {"integer": [0, 64]}}}, "batch_size.*greater than or equal to 1"),
        ({"space": {"optimizer": {"choice": {"adamm": {}}}}}, "adamm"),
        ({"goals": [{"minimise": "tset_loss"}]}, "no metric 'tset_loss'; there are .*test_loss"),
        ({"goals": [{"minimise": "steps_to_target"}]}, "needs a `target`"),
        ({"goals": [{"minimise": "seconds"}]}, "set `deterministic: false`"),
        ({"goals": [{"minimise": "test_loss"}, {"maximise": "test_loss"}]}, "twice"),
        ({"goals": [{"minimise": "test_loss", "maximise": "x"}]}, "either `minimise"),
        ({"goals": []}, "at least 1 item"),
        (
            {"recipe": {**TINY_RECIPE, "evaluate": {}}, "pruner": {"method": "median"}},
            "evaluated only at its end; set evaluate.every_steps",
        ),
        (
            {"goals": [{"minimise": "parameters"}], "pruner": {"method": "median"}},
            "parameters.*not reported; reported are",
        ),
        (
            {"goals": [{"minimise": "test_loss"}, {"minimise": "parameters"}], "pruner": {"method": "median"}},
            "with several goals no trial is worse half-way",
        ),
        ({"pruner": {"method": "hyperband", "min_resource": 9, "max_resource": 9}}, "must be below"),
        ({"sampler": {"method": "cmaes"}}, "cmaes needs"),
        (
            {"goals": [{"minimise": "test_loss"}, {"minimise": "parameters"}], "sampler": {"method": "explore"}},
            "explore learns the surface of one goal",
        ),
        ({"sampler": {"method": "tpe", "n_startup": 3}}, "did you mean 'n_startup_trials'"),
        ({"sampler": {"method": "bayes"}}, "tpe"),
        ({"budget": {}}, "at least one of units, seconds and flops"),
        ({"budget": {"units": 3}, "seeds": 4}, "not enough for one trial of 4 seeds"),
        (
            {"enqueue": [{"optimizer.momentum": 0.5}]},
            "no setting 'optimizer.momentum'; there are optimizer.learning_rate",
        ),
        ({"enqueue": [{"optimizer.learning_rate": 7.0}]}, "can't be drawn"),
        ({"function": WALK}, "either a `recipe`, a `function` or a `command`; given are recipe and function"),
        ({"fixed": {"a": 1}}, "belong to a function"),
    ],
)
def test_input_that_can_not_be_is_said_before_any_work(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=f"(?s){complaint}"):
        tiny_search(**changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"space": {"x": {"uniform": [0, 1]}}}, r"needs \['method'\]"),
        ({"space": {"y": {"uniform": [0, 1]}}}, "takes no argument 'y'"),
        ({"function": "tests.support.searches:plain", "space": {"x": {"uniform": [0, 1]}}, "seed_argument": None,
          "pruner": {"method": "median"}}, "a pruner needs metrics while the function runs: let .*plain yield them"),
        ({"function": "tests.support.searches:nothing"}, "has no 'nothing'"),
    ],
)  # fmt: skip
def test_functions_that_do_not_fit_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        KIND.check(function_search(**changes), Workbench(folder=Path.cwd()))


def test_functions_with_seeds_need_an_argument_for_them() -> None:
    with pytest.raises(SpecError, match="name its argument under `seed_argument`"):
        function_search(seeds=2, seed_argument=None)
    with pytest.raises(SpecError, match="no metric 'lss'; there are loss"):
        function_search(columns={"loss": {}}, goals=[{"minimise": "lss"}])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"goals": ({"minimise": "seconds"},)}, "goals: seconds differs from run to run"),
        (
            {"enqueue": ({"optimizer.learning_rate": 9.0},)},
            r"enqueue\.0\.optimizer\.learning_rate: 9\.0 can't be drawn",
        ),
        ({"seeds": 17}, r"budget\.units: 16 are not enough for one trial of 17 seeds"),
    ],
)
def test_a_search_that_was_made_in_python_is_refused_before_its_folder_is_made(
    changes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    """Fields that do not fit together are refused by whoever runs a spec, also where no file was read."""
    spec = type(tiny_search()).model_validate({**tiny_search().model_dump(), **changes})
    with pytest.raises(SpecError, match=f"^{complaint}"):
        run_example(KIND, spec, tmp_path / "sweep", Site(executor="local"))
    assert not (tmp_path / "sweep").exists()
