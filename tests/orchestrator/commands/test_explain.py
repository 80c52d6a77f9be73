"""What `explain` says, and what `plan` finds before a worker is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.kind import kinds
from tests.support.cli import LOCAL, command, write_spec

SPEC = {
    "kind": "function",
    "function": "mine:train",
    "axes": {"rate": [0.1, 0.2], "width": {"range": [8, 80, 8]}, "seed": {"range": 3}},
    "fixed": {"steps": 5},
}
MODULE = "print('imported')\ndef train(rate, width, seed, steps): return {'loss': rate}\n"
OWN_NET = {"net": "own", "function": "mine:net"}


def explained(*words: str, folder: Path) -> str:
    return " ".join(command("explain", *words, cwd=folder).stdout.split())


def test_units_axes_repeats_place_and_cost_are_said(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE, encoding="utf-8")
    write_spec(tmp_path, SPEC, "grid.yaml")
    write_spec(tmp_path, {"base": "grid.yaml", "fixed": {"steps": 6}, "description": "A grid."}, "long.yaml")
    text = explained("long.yaml", "axes.rate=[0.1,0.2,0.4]", *LOCAL, folder=tmp_path)
    for sentence in (
        "long is a sweep of the kind function: any Python callable",
        "A grid.",
        "It builds on grid.yaml.",
        "Each unit calls mine:train(rate, seed, width, steps).",
        "There are 81 units, over: rate: 0.1, 0.2, 0.4 seed: 0, 1, 2 (the same settings again",
        "width: 9 values from 8 to 72",
        "whatever the unit gives",
        "All is computed in this process",
        "Results go to results/long",
        "Time: unknown, because no unit has run yet",
        "Run it: landsweep run long.yaml 'axes.rate=[0.1,0.2,0.4]' --site local site.tracking=off",
    ):
        assert sentence in text, text
    command("run", "grid.yaml", *LOCAL, cwd=tmp_path)
    text = explained("grid.yaml", "axes.width.range=[8,88,8]", *LOCAL, folder=tmp_path)
    assert "54 units have rows already" in text and "There are 60 units" in text


@pytest.mark.parametrize("name", kinds())
def test_every_kind_says_what_a_unit_does(name: str) -> None:
    kind = kinds()[name]
    spec = kind.example()
    sentences = kind.in_words(spec)
    assert sentences and all(len(sentence) > 20 for sentence in sentences)


def test_shipped_specs_are_explained(tmp_path: Path) -> None:
    text = explained("zoo_digits_hyper", "samples.count=100", folder=tmp_path)
    assert "mlp on digits by sgd, for 600 steps, 32 samples a step" in text
    assert "There are 100 units" in text and "(the same settings again" not in text
    assert "how many are best is measured first" in text and "samples.count=100" in text
    text = explained("search_digits", folder=tmp_path)
    assert "There are at most 256 units; results decide which." in text and "to minimise validation_loss" in text


@pytest.mark.parametrize(
    ("module", "change", "says"),
    [
        (None, {}, "there is no module 'mine'"),
        ("def trian(): pass", {}, "has no 'train'"),
        (MODULE, {"fixed": {"stps": 5}}, "stps"),
        pytest.param("import sys; sys.exit(3)", {}, "calls sys.exit(3)", marks=pytest.mark.slow),
        pytest.param("1 / 0", {}, "ZeroDivisionError", marks=pytest.mark.slow),
        pytest.param("import not_there_at_all", {}, "not_there_at_all", marks=pytest.mark.slow),
    ],
)
def test_a_plan_finds_what_a_run_would_refuse(
    tmp_path: Path, module: str | None, change: dict[str, Any], says: str
) -> None:
    if module is not None:
        (tmp_path / "mine.py").write_text(module, encoding="utf-8")
    write_spec(tmp_path, {**SPEC, **change})
    done = command("plan", "spec.yaml", "--json", cwd=tmp_path, check=2)
    assert says in json.loads(done.stdout)["problem"] and says in done.stderr
    assert json.loads(done.stdout)["total"] == 54  # the plan itself is there


def test_where_a_plan_is_looked_at(tmp_path: Path) -> None:
    write_spec(tmp_path, SPEC)  # without its module
    assert command("run", "spec.yaml", "--dry-run", cwd=tmp_path, check=2).stdout.startswith("results: results/spec")
    assert json.loads(command("plan", "spec.yaml", "--json", "--no-check", cwd=tmp_path).stdout)["problem"] is None
    elsewhere = ["site.address=10.0.0.1:6379", "--json"]  # workers there may have other modules
    assert json.loads(command("plan", "spec.yaml", *elsewhere, cwd=tmp_path).stdout)["problem"] is None
    command("plan", "spec.yaml", *elsewhere, "--check", cwd=tmp_path, check=2)


def test_what_a_module_prints_is_not_part_of_json(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE, encoding="utf-8")
    write_spec(tmp_path, SPEC)
    done = command("plan", "spec.yaml", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["problem"] is None and "imported" in done.stderr


def test_programs_and_searches_are_looked_for_too(tmp_path: Path) -> None:
    program = {"run": ["python", "absent.py", "{x}"], "metrics": {"pattern": "(?P<y>.*)"}}
    write_spec(tmp_path, {"kind": "command", "command": program, "axes": {"x": [1]}})
    assert "absent.py" in command("plan", "spec.yaml", cwd=tmp_path, check=2).stderr
    space = {"space": {"x": {"uniform": [0, 1]}}, "goals": [{"minimise": "y"}], "budget": {"units": 4}}
    write_spec(tmp_path, {"kind": "search", "function": "mine:train", **space})
    assert "there is no module 'mine'" in command("plan", "spec.yaml", cwd=tmp_path, check=2).stderr


def test_networks_are_built_where_it_is_asked_for(tmp_path: Path) -> None:
    recipe = {"data": {"source": "digits"}, "net": OWN_NET, "optimizer": {"method": "sgd"}, "steps": 1}
    write_spec(tmp_path, {"kind": "zoo", "recipe": recipe, "seeds": [0]})
    assert "units: 1 in all" in command("plan", "spec.yaml", cwd=tmp_path).stdout
    assert "there is no module 'mine'" in command("plan", "spec.yaml", "--check", cwd=tmp_path, check=2).stderr
