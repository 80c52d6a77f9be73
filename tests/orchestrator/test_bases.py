"""Specs that build on specs: what the merged spec is, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.reading import write_yaml
from landsweep.orchestrator.run.sweep import load_spec, spec_from
from landsweep.orchestrator.spec_files import spec_path
from tests.support.cli import LOCAL, command

FUNCTION = "landsweep.sweeps.function.examples:descend"
GRID = {
    "kind": "function",
    "name": "grid",
    "description": "of the base",
    "function": FUNCTION,
    "fixed": {"function": "himmelblau", "steps": 10},
    "axes": {"start": {"range": 2}, "lr": {"linear": [0.01, 0.03, 3]}},
}
ZOO = {
    "kind": "zoo",
    "recipe": {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [16], "norm": "layer"},
        "optimizer": {"method": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "steps": 4,
    },
    "axes": {"optimizer.learning_rate": [0.1, 0.2]},
    "seeds": {"range": 1},
}


def write(folder: Path, name: str, fields: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(write_yaml(fields), encoding="utf-8")
    return folder / name


def same(file: Path, whole: dict[str, Any], *changes: str) -> None:
    """The spec in a file is the one with these fields: the same spec, identity and units."""
    (kind, spec), (_, other) = load_spec(file, changes), spec_from(whole, (), "whole", file.parent, file.stem)
    assert spec == other and spec.fingerprint() == other.fingerprint()
    assert kind.planner(spec).ask(100) == kind.planner(other).ask(100)


def refusal(file: Path, *changes: str) -> str:
    with pytest.raises(SpecError) as raised:
        load_spec(file, changes)
    return str(raised.value)


def test_fields_are_merged_and_the_name_is_the_files_own(tmp_path: Path) -> None:
    write(tmp_path, "grid.yaml", GRID)
    file = write(tmp_path, "finer.yaml", {"base": "grid.yaml", "fixed": {"steps": 20}, "axes": {"start": {"range": 4}}})
    whole = {**GRID, "name": "finer", "fixed": {"function": "himmelblau", "steps": 20}}
    whole["axes"] = {"start": {"range": 4}, "lr": {"linear": [0.01, 0.03, 3]}}
    same(file, whole)
    assert load_spec(file)[1].description == "of the base"
    same(file, {**whole, "fixed": {"function": "himmelblau", "steps": 5}}, "fixed.steps=5")


@pytest.mark.parametrize("axis", [[0.5], {"geometric": [0.01, 0.1, 2]}, {"values": [0.1, 0.2]}])
def test_another_form_of_an_axis_replaces_it(tmp_path: Path, axis: Any) -> None:
    write(tmp_path, "grid.yaml", GRID)
    file = write(tmp_path, "other.yaml", {"base": "grid.yaml", "axes": {"lr": axis}})
    same(file, {**GRID, "name": "other", "axes": {"start": {"range": 2}, "lr": axis}})


def test_another_variant_replaces_a_section_and_the_same_one_is_merged(tmp_path: Path) -> None:
    write(tmp_path, "zoo.yaml", ZOO)
    adam = {"method": "adam", "learning_rate": 0.01}
    file = write(
        tmp_path, "adam.yaml", {"base": "zoo.yaml", "recipe": {"optimizer": adam}, "axes": {"net.hidden.0": [4]}}
    )
    axes = {"optimizer.learning_rate": [0.1, 0.2], "net.hidden.0": [4]}
    same(file, {**ZOO, "recipe": {**ZOO["recipe"], "optimizer": adam}, "axes": axes})
    file = write(tmp_path, "sgd.yaml", {"base": "zoo.yaml", "recipe": {"optimizer": {"nesterov": True}}})
    sgd = {**ZOO["recipe"]["optimizer"], "nesterov": True}
    same(file, {**ZOO, "recipe": {**ZOO["recipe"], "optimizer": sgd}})
    file = write(tmp_path, "cnn.yaml", {"base": "zoo.yaml", "recipe": {"net": {"net": "cnn"}}})
    same(file, {**ZOO, "recipe": {**ZOO["recipe"], "net": {"net": "cnn"}}})


def test_fields_of_a_base_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, "zoo.yaml", {**ZOO, "axes": {**ZOO["axes"], "steps": [2, 3]}})
    base = {"file": "zoo.yaml", "without": ["axes.optimizer.learning_rate", "recipe.net.norm"]}
    file = write(tmp_path, "less.yaml", {"base": base})
    net = {"net": "mlp", "hidden": [16]}
    same(file, {**ZOO, "axes": {"steps": [2, 3]}, "recipe": {**ZOO["recipe"], "net": net}})
    write(tmp_path, "wrong.yaml", {"base": {"file": "zoo.yaml", "without": ["axes.nothing"]}})
    assert "base.without: the base has no field 'nothing'" in refusal(tmp_path / "wrong.yaml")


def test_a_base_may_have_a_base_in_another_folder(tmp_path: Path) -> None:
    write(tmp_path / "common", "grid.yaml", GRID)
    write(tmp_path / "common", "long.yaml", {"base": "grid.yaml", "fixed": {"steps": 30}})
    file = write(tmp_path / "mine", "mine.yaml", {"base": "../common/long.yaml", "axes": {"start": [7]}})
    fixed = {"function": "himmelblau", "steps": 30}
    same(file, {**GRID, "name": "mine", "fixed": fixed, "axes": {**GRID["axes"], "start": [7]}})


def test_a_shipped_spec_may_be_a_base_and_the_command_line_may_name_one(tmp_path: Path) -> None:
    file = write(tmp_path, "few.yaml", {"base": "function_minima", "axes": {"start": {"range": 2}, "lr": [0.01]}})
    kind, spec = load_spec(file)
    assert spec.name == "few" and kind.planner(spec).total == 6
    write(tmp_path, "grid.yaml", GRID)
    empty = write(tmp_path, "empty.yaml", {"fixed": {"steps": 3}})
    assert load_spec(empty, ["base=grid.yaml"])[1].model_dump()["fixed"] == {"function": "himmelblau", "steps": 3}


def test_results_hold_the_merged_spec_alone(tmp_path: Path) -> None:
    write(tmp_path, "grid.yaml", GRID)
    file = write(tmp_path, "mine.yaml", {"base": "grid.yaml", "axes": {"lr": [0.01]}})
    command("run", str(file), *LOCAL, cwd=tmp_path)
    (tmp_path / "grid.yaml").unlink()
    assert "sound" in command("verify", "results/mine", cwd=tmp_path).stdout
    assert '"base"' not in (tmp_path / "results/mine/sweep.json").read_text(encoding="utf-8")
    with pytest.raises(SpecError, match="base: unknown field"):  # a results folder reads no other file
        kind_named("function").parse({**GRID, "base": "grid.yaml"}, "sweep.json")


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_spec_that_builds_on_itself_is_refused(tmp_path: Path, length: int) -> None:
    for i in range(length):
        write(tmp_path, f"{i}.yaml", {**GRID, "base": f"{(i + 1) % length}.yaml"})
    assert "builds on itself" in refusal(tmp_path / "0.yaml")


def test_a_link_hides_no_circle(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", {**GRID, "base": "b.yaml"})
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    assert "builds on itself" in refusal(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"base": "nothing.yaml"}, "base: there is no file"),
        ({"base": "functon_minima"}, "did you mean function_minima?"),
        ({"base": "https://example.org/a.yaml"}, "a base is a file"),
        ({"base": ["grid.yaml"]}, "base: give the path of a spec file"),
        ({"base": {"file": "grid.yaml", "wihout": []}}, "base: give the path of a spec file"),
        ({"base": "grid.yaml", "kind": "zoo"}, "leave `kind` out"),
        ({"base": "twice.yaml"}, "already in line 1"),
        ({"base": "."}, "is a folder, not a spec"),
        ({"base": "pipe"}, "there is no file"),
        ({"base": "grid.yaml", "fxed": {}}, "fxed: unknown field"),
        ({"base": None}, "base: give the path of a spec file"),
    ],
)
def test_what_can_be_no_base_is_refused(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    write(tmp_path, "grid.yaml", GRID)
    (tmp_path / "twice.yaml").write_text("kind: function\nkind: zoo\n", encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    assert says in refusal(write(tmp_path, "mine.yaml", fields))


def test_a_base_elsewhere_that_names_files_beside_it_is_refused(tmp_path: Path) -> None:
    """Paths are relative to the spec that is run: silently another file of the same name would be taken."""
    program = {"run": ["python", "train.py", "{lr}"], "metrics": {"pattern": r"loss (?P<loss>\S+)"}}
    base = {"kind": "command", "command": program, "axes": {"lr": [0.1]}}
    write(tmp_path / "common", "base.yaml", base)
    (tmp_path / "common/train.py").touch()
    file = write(tmp_path / "mine", "mine.yaml", {"base": "../common/base.yaml"})
    assert "command.run: 'train.py' is beside this base" in refusal(file)
    (tmp_path / "mine/train.py").touch()
    assert "command.run: 'train.py' is beside this base" in refusal(file)
    load_spec(write(tmp_path / "common", "beside.yaml", {"base": "base.yaml"}))
    (tmp_path / "mine/train.py").unlink()
    (tmp_path / "mine/train.py").symlink_to("../common/train.py")  # the same file
    load_spec(file)


@pytest.mark.parametrize("name", ["x" * 5000, "y/" * 3000, "z" * 300 + ".yaml"])
def test_a_base_that_no_file_can_be_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no file"):
        load_spec(write(tmp_path, "a.yaml", {"base": name, "name": "a"}))
    with pytest.raises(SpecError, match="there is no file"):
        spec_path(name)
