"""Errors of spec files: in words that say what to do, with the line of the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.reading import line_in, read_yaml
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.function.kind import FunctionSpec
from landsweep.sweeps.search.spec import SearchSpec
from landsweep.sweeps.zoo.spec import ZooSpec

ZOO = """# a zoo
kind: zoo
name: bad
recipe:
  data: {source: digits}
  net: &net
    net: mlp
    hidden: 16
  optimizer:
    method: sdg
    learning_rate: fast
  loss: [a]
  arithmetic: bf61
axes:
  optimizer.learning_rate: [0.1,
    0.2]
seeds: {range: 2}
"""


def refused(text: str, folder: Path, model: type = ZooSpec) -> list[str]:
    file = folder / "bad.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as e:
        parse(model, read_yaml(file), str(file))
    first, *lines = str(e.value).splitlines()
    assert first == f"{file}:"
    return [line.removeprefix("  - ") for line in lines]


def test_each_error_has_the_line_of_its_field_and_says_what_to_do(tmp_path: Path) -> None:
    hidden, *_ = lines = refused(ZOO, tmp_path)
    (optimizer,) = (line for line in lines if line.startswith("recipe.optimizer"))
    assert hidden == "recipe.net.hidden: give a list, such as [16] (given: 16) (line 8)"
    assert optimizer.startswith("recipe.optimizer: there is no method 'sdg'; did you mean 'sgd'? known here: sgd, ")
    assert optimizer.endswith("(line 9)")
    lines = refused(ZOO.replace("    method: sdg\n", ""), tmp_path)
    assert "recipe.optimizer: say which by `method: NAME` (given: {'learning_rate': 'fast'}) (line 9)" in lines
    hidden, *_ = lines = refused(ZOO.replace("sdg", "sgd"), tmp_path)
    assert "recipe.optimizer.learning_rate: give a number (given: 'fast') (line 11)" in lines
    assert sorted(line.rpartition(" (line ")[2] for line in lines) == ["11)", "12)", "13)", "8)"]


def test_names_of_functions_are_asked_for_as_they_are_written(tmp_path: Path) -> None:
    text = "kind: function\nname: f\nfunction: train\naxes:\n  x: [1]\n"
    (line,) = refused(text, tmp_path, FunctionSpec)
    assert line == "function: give a name in a module, such as my_package.module:function (given: 'train') (line 3)"
    missing = refused("kind: function\nname: f\naxes: {x: [1]}\n", tmp_path, FunctionSpec)
    assert missing == ["function: missing; this field is required"], "no line of the file lacks it"


def test_a_value_that_was_changed_since_has_no_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("a: {b: [1, 2]}\nc: 3\nd: &x {e: 4}\nf:\n  <<: *x\n  g: 5\n")
    assert line_in(str(file), ("a", "b"), [1, 2]) == 1 and line_in(str(file), ("a", "b", 1), 2) == 1
    assert line_in(str(file), ("c",), 3) == 2
    assert line_in(str(file), ("c",), 4) is None, "changed on the command line"
    assert line_in(str(file), ("z",), 4) is None
    assert line_in(str(file), ("f", "g"), 5) == 6
    assert line_in(str(file), ("f", "e"), 4) is None, "of an anchor"
    assert line_in(str(file), ("variant", "c"), 3) == 2
    for source in ("sweep.json", str(tmp_path / "none.yaml"), "spec", "s3://bucket/a.yaml", "\0.yaml"):
        assert line_in(source, ("c",), 3) is None
    file.write_text("a: [")
    assert line_in(str(file), ("a",), 3) is None


def test_a_field_of_a_section_is_looked_for_inside_of_sections(tmp_path: Path) -> None:
    good = "kind: zoo\nname: z\nrecipe:\n  data: {source: digits}\n  net: {net: mlp, hidden: [8]}\n"
    good += "  optimizer: {method: sgd}\n"
    (line,) = refused(f"{good}  steps: 9\nbatch_size: 3\n", tmp_path)
    assert line.startswith("batch_size: unknown field; did you mean 'recipe.batch_size'? known here: kind, ")
    (line,) = refused(f"{good}  steps: 9\n  momentum: 0.9\n", tmp_path)
    assert line.startswith("recipe.momentum: unknown field; did you mean 'optimizer.momentum'? known here: ")


def test_a_list_whose_items_are_wrong_is_not_called_too_short_as_well(tmp_path: Path) -> None:
    text = "kind: search\nname: s\nfunction: 'm:f'\nspace: {x: {uniform: [0, 1]}}\nbudget: {units: 2}\n"
    (line,) = refused(f"{text}goals: [{{minimize: loss}}]\n", tmp_path, SearchSpec)
    assert line.startswith("goals.0.minimize: unknown field; did you mean 'minimise'?")
    (line,) = refused(f"{text}goals: []\n", tmp_path, SearchSpec)
    assert line.startswith("goals: give at least 1")


def test_of_many_errors_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    wrong = ", ".join(["x"] * 300)
    lines = refused(ZOO.replace("hidden: 16", f"hidden: [{wrong}]").replace("sdg", "sgd"), tmp_path)
    assert lines[0] == "recipe.net.hidden.0: give a whole number (given: 'x') (line 8)"
    assert len(lines) == 21 and lines[-1].startswith("... and 28")
    (line,) = refused(ZOO.replace("hidden: 16", "hidden: [4]").replace("sdg", "s" * 100_000), tmp_path)[:1]
    assert len(line) < 3000
