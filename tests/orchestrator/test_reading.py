"""YAML: what is read, with which types, and what is refused in bounded time and memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.assignments import override
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.reading import load_yaml, read_yaml, write_yaml
from tests.support.cli import command
from tests.support.values import ODD_VALUES

AXES = {"kind": "function", "function": "m:f", "axes": {"x": [1]}}
FUNCTION = kind_named("function").spec


def deep(levels: int) -> str:
    return "a: " + "[" * levels + "]" * levels


def bomb(levels: int, merged: bool) -> str:
    lines = ["a0: &a0 {k: v}" if merged else "a0: &a0 [lol]"]
    for i in range(levels):
        inside = ", ".join(f"*a{i}" for _ in range(10))
        lines.append(f"a{i + 1}: &a{i + 1} {{<<: [{inside}]}}" if merged else f"a{i + 1}: &a{i + 1} [{inside}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3", r"the key 'a' is already in line 1\n.*line 3"),
        ("a:\n  x: {n: 1,\n      n: 2}", r"the key 'n' is already in line 2\n.*line 3"),
        ("a: {'b': 1, b: 2}", "the key 'b' is already in line 1"),
        (deep(100_000), "more than 64 lists and mappings inside each other"),
        ("\n".join("  " * i + f"k{i}:" for i in range(100)), "more than 64"),
        (bomb(9, merged=False), "more than 4,194,304 characters"),
        (bomb(9, merged=True), "more than 4,194,304 characters"),
        (f"a: &t {'x' * 100_000}\nb: [{'*t, ' * 100}]", "more than 4,194,304 characters"),
        ("a: " + "x" * 5_000_000, "5,000,003 characters"),
        ("a: &f {b: *f}", "an anchor contains itself"),
        ("a: &f [1, [*f]]", "an anchor contains itself"),
        (r'a: "\ud800"', "half of a surrogate pair"),
        (r'"\udc00x": 1', "half of a surrogate pair"),
        ("a: " + "7" * 5000, "5,000 digits; 1,000 are allowed"),
        ("a: 010", "010 begins with 0"),
        ("a: 1e999", "1e999 is too large or too small for a float"),
        ("a: 1e-999", "is too large or too small for a float"),
        ("a: {1: x}", "keys are text, and 1 is none; write '1'"),
        ("a: {no: x}", "keys are text, and no is none; write 'no'"),
        ("a: {[1]: x}", "keys are text"),
        ("a: !!binary aGk=", "a spec can't hold !!binary"),
        ("a: !!set {b, c}", "can't hold !!set"),
        ("a: !!int abc", "not valid YAML: ValueError"),
        ("a: !!python/object/apply:os.system ['true']", "a spec can't hold !!"),
        ("a: 1\n---\nb: 2", "expected a single document"),
    ],
)  # fmt: skip
def test_what_no_spec_can_hold_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=rf"(?s)^it .*{complaint}"):
        load_yaml(text, "it")


def test_values_are_those_of_json_and_text_stays_as_written() -> None:
    text = "{d: 2024-01-01, t: 2001-12-14 21:59:43.10, s: 12:30, u: 190:20:30.15, e: =, "
    assert load_yaml(text + "i: .inf, n: -.inf, k: 1_000, x: 0x1F}", "it") == {
        "d": "2024-01-01", "t": "2001-12-14 21:59:43.10", "s": "12:30", "u": "190:20:30.15", "e": "=",
        "i": math.inf, "n": -math.inf, "k": 1000, "x": 31,
    }  # fmt: skip
    assert load_yaml(r'a: "\ud83d\ude00"', "it") == {"a": "😀"}, "JSON writes it in two halves"
    assert load_yaml("a: " + "7" * 41, "it") == {"a": int("7" * 41)}
    assert load_yaml("a: &x {n: 1}\nb: {<<: *x, n: 2}", "it")["b"] == {"n": 2}, "a merge is no second key"


@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
def test_what_is_written_is_read_back_as_the_same_value(value: Any) -> None:
    back = load_yaml(write_yaml({"a": value, "b": [value]}), "it")
    assert repr(back) == repr({"a": value, "b": [value]})
    assert math.isnan(load_yaml(write_yaml({"a": math.nan}), "it")["a"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#ff0000", "#ff0000"), ("foo #bar", "foo #bar"), ("#", "#"), ("'#a' ", "#a"), ('"a #b"', "a #b"),
        ("['#a', b#c]", ["#a", "b#c"]), ("{a: 'x #y'}", {"a": "x #y"}), ("1", 1), ("'1'", "1"), ("", None),
        ("null", None), ("1 #2", "1 #2"), ("a\n#b", "a"), ("2024-01-01", "2024-01-01"),
    ],
)  # fmt: skip
def test_no_override_has_a_comment(text: str, value: object) -> None:
    assert override({}, [f"fixed.a={text}"]) == {"fixed": {"a": value}}


@pytest.mark.parametrize("text", ["'a' #b", "[1, 2] # two", "[a #b]", '"a" b#'])
def test_text_after_the_end_of_an_override_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"the value of fixed\.a"):
        override({}, [f"fixed.a={text}"])


@pytest.mark.parametrize(
    ("assignment", "axes"),
    [
        ("axes.optimizer.learning_rate=[0.1, 0.2]", {"x": [1], "optimizer.learning_rate": [0.1, 0.2]}),
        ("axes.net.args.width=[4]", {"x": [1], "net.args.width": [4]}),
        ("axes.a.b.linear=[0, 1, 5]", {"x": [1], "a.b": {"linear": [0, 1, 5]}}),
        ("axes.x=[[1, 2], [3]]", {"x": [[1, 2], [3]]}),
        ("axes.x.values=[2]", {"x": {"values": [2]}}),
        ("axes.values=[2]", {"x": [1], "values": [2]}),
    ],
)
def test_axes_are_named_by_whole_paths(assignment: str, axes: dict[str, Any]) -> None:
    data = {**AXES, "axes": {"x": {} if assignment.startswith("axes.x.") else [1]}}
    assert override(data, [assignment], FUNCTION)["axes"] == axes


def test_settings_and_keys_with_dots_are_found() -> None:
    search = kind_named("search").spec
    data = {"space": {"a.b": {"uniform": [0, 1]}}, "fixed": {"c.d": 1, "e": {"f": 1}}}
    changes = ["space.a.b.uniform=[0, 2]", "space.net.hidden.0={integer: [1, 4]}", "fixed.c.d=2", "fixed.e.g=3"]
    assert override(data, changes, search) == {
        "space": {"a.b": {"uniform": [0, 2]}, "net.hidden.0": {"integer": [1, 4]}},
        "fixed": {"c.d": 2, "e": {"f": 1, "g": 3}},
    }


def test_a_spec_with_a_long_name_is_refused_before_it_becomes_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(f"kind: function\nname: {'n' * 300}\nfunction: m:f\naxes: {{x: [1]}}\n")
    assert "name: String should have at most 200 characters" in command("plan", file.name, cwd=tmp_path, check=2).stderr
    file.write_bytes(b" " * (20 * 2**20))
    with pytest.raises(SpecError, match="20,971,520 bytes"):
        read_yaml(file)


@pytest.mark.parametrize(
    "assignment", ["fixed.a=#\udcff", "fixed.\udcff=1", "fixed.a=\udcff", ".".join("a" * 5000) + "=1"]
)
def test_overrides_that_no_spec_can_hold_are_refused(assignment: str) -> None:
    with pytest.raises(SpecError, match=r"UTF-8|not of the form|not valid YAML"):
        override({}, [assignment])


@pytest.mark.parametrize("text", ["[abc", "{x", "[", "{"])
def test_a_text_that_begins_like_a_list_is_a_text(text: str) -> None:
    data = {
        "name": "z",
        "recipe": {"data": {"source": "digits"}, "net": {"net": "mlp"}, "steps": 9},
        "axes": {"net.hidden": [text]},
    }
    with pytest.raises(SpecError, match=r"net\.hidden"):
        kind_named("zoo").parse(data, "test")
