"""A search that drives the flags of a program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.search.best import best_text
from landsweep.sweeps.search.spec import SearchSpec
from tests.support.searches import KIND

SOURCE = """
import sys
given = dict(word.split("=", 1) for word in sys.argv[1:])
x, seed = float(given["x"]), int(given.get("seed", 0))
for step in range(1, 6):
    print(f"step {step} loss {x * x + seed + 1 / step + (0.5 if given['method'] == 'adam' else 0)!r}", flush=True)
if given["method"] == "sgd":
    print(f"momentum {given['momentum']}")
assert ("momentum" in given) == (given["method"] == "sgd"), given
"""
PATTERN = r"step (?P<step>\d+) loss (?P<loss>\S+)"


@pytest.fixture
def make(tmp_path: Path) -> Any:
    (tmp_path / "flags.py").write_text(SOURCE)
    run = [sys.executable, "-I", "-S", str(tmp_path / "flags.py"), "x={x}", "method={method}", ["momentum={momentum}"]]

    def spec(*words: str, **changes: Any) -> SearchSpec:
        given: dict[str, Any] = {
            "kind": "search",
            "name": "s",
            "command": {"run": [*run, *words], "metrics": {"pattern": PATTERN}},
            "space": {
                "x": {"uniform": [-2, 2]},
                "method": {"choice": {"sgd": {"momentum": {"uniform": [0, 0.9]}}, "adam": {}}},
            },
            "goals": [{"minimise": "loss"}],
            "budget": {"units": 8},
            "generation": 4,
        }
        return KIND.parse(given | changes, "test")

    return spec


def test_trials_get_their_settings_and_conditional_words_are_left_out(make: Any, tmp_path: Path) -> None:
    spec = make("seed={seed}", seeds=2, target={"metric": "loss", "at_most": 3.3})
    run_example(KIND, spec, tmp_path / "r", Site(executor="local"))
    rows = Sweep.at(tmp_path / "r").rows()
    assert set(rows["status"]) == {"ok"}, rows["error"].tolist()
    expected = rows["x"] ** 2 + rows["seed"] + 0.2 + 0.5 * (rows["method"] == "adam")
    assert rows["loss"].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    assert rows["target_reached"].tolist() == (expected <= 3.3).tolist()


# The sixth program, of the second generation, is the worst by far, and waits in its middle until it is stopped.
POOR = """
import pathlib, time
begun = pathlib.Path(__file__).with_name("begun")
poor = begun.exists() and len(begun.read_text()) == 5
with begun.open("a") as file:
    file.write("x")
"""


def test_a_pruner_stops_a_program_by_what_it_prints(make: Any, tmp_path: Path) -> None:
    spec = make(pruner={"method": "median", "n_startup_trials": 2})
    source = SOURCE.replace("{x * x", "{100 * poor + x * x").replace("\nif", "\n    time.sleep(60 * poor)\nif", 1)
    (tmp_path / "flags.py").write_text(POOR + source)
    run_example(KIND, spec, tmp_path / "r", Site(executor="local"))
    rows = Sweep.at(tmp_path / "r").rows()
    assert set(rows["status"]) == {"ok", "pruned"}, rows["error"].tolist()
    assert rows.loc[rows["loss"] > 90, "status"].tolist() == ["pruned"]


def test_the_best_trial_is_a_sweep_that_gives_the_same(make: Any, tmp_path: Path) -> None:
    run_example(KIND, make("seed={seed}"), tmp_path / "r", Site(executor="local"))
    sweep = Sweep.at(tmp_path / "r")
    rows = sweep.rows()
    for method in ("sgd", "adam"):
        row = rows[rows["method"] == method].iloc[0]
        data = yaml.safe_load(best_text(sweep.spec, rows, int(row["trial"])))  # type: ignore[arg-type]
        kind = kind_named(data["kind"])
        run_example(kind, kind.parse(data, "best"), tmp_path / method, Site(executor="local"))
        (again,) = Sweep.at(tmp_path / method).rows()["loss"]
        assert again == row["loss"]


@pytest.mark.parametrize(
    ("words", "changes", "complaint"),
    [
        (("lr={lr}",), {}, "there is no placeholder {lr}"),
        ((), {"seeds": 2}, "write {seed} into its command"),
        (("m={momentum}",), {}, "{momentum} has no value where space.method: the value 'adam' is chosen"),
        (
            (),
            {"space": {"x": {"uniform": [0, 1]}, "method": {"choice": ["a"]}, "y": {"uniform": [0, 1]}}},
            "{momentum}",
        ),
        ((), {"fixed": {"a": 1}}, "belong to a function; this search has a command"),
        ((), {"function": "a:b"}, "given are function and command"),
    ],
)
def test_settings_and_words_must_fit(make: Any, words: tuple[str, ...], changes: Any, complaint: str) -> None:
    with pytest.raises(SpecError) as e:
        make(*words, **changes)
    assert complaint in str(e.value)


@pytest.mark.parametrize(
    ("metrics", "changes", "complaint"),
    [
        ({"pattern": r"(?P<los>\d+)"}, {}, "the goal loss is not among them"),
        ({"pattern": r"loss (?P<loss>\S+)"}, {"pruner": {"method": "median"}}, "a pruner or target needs loss while"),
    ],
)
def test_a_goal_that_the_program_does_not_give_fails_the_trial(
    make: Any, tmp_path: Path, metrics: Any, changes: Any, complaint: str
) -> None:
    base = make().command.model_dump(mode="json")
    spec = make(command={**base, "metrics": metrics}, budget={"units": 1}, **changes)
    run_example(KIND, spec, tmp_path / "r", Site(executor="local"))
    assert complaint in Sweep.at(tmp_path / "r").rows()["error"].iloc[0]
