"""Specs: what is read, what is refused and how, and what makes the identity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from landsweep.orchestrator.assignments import override
from landsweep.orchestrator.axes import AxisLike
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.spec import IsAxis, IsNamedAxis, Section, Spec, differences, parse


class Net(Section):
    width: int = 8
    skip: bool = True


class Plain(Section):
    shape: Literal["plain"] = "plain"
    width: int = 8


class Deep(Section):
    shape: Literal["deep"] = "deep"
    depth: int = 2


class Example(Spec):
    nets: Annotated[dict[str, Net], IsNamedAxis()]
    axes: Annotated[dict[str, AxisLike], IsAxis()]
    rate: float = 0.1
    inner: Net = Net()
    form: Annotated[Plain | Deep, Field(discriminator="shape")] | None = Field(None, exclude=True)

    @model_validator(mode="after")
    def _skips_only_what_is_wide(self) -> Example:
        if self.inner.skip and self.inner.width < 2:
            raise ValueError("inner: a width of 1 has nothing to skip")
        return self


GOOD = {"kind": "example", "name": "n", "nets": {"a": {"width": 4}}, "axes": {"x": [1, 2]}}


def test_context_is_all_but_axes_and_labels() -> None:
    spec = parse(Example, GOOD, "spec")
    assert spec.context() == {"rate": 0.1, "inner": {"width": 8, "skip": True}}
    assert spec.definitions() == {"nets": {"a": {"width": 4, "skip": True}}}
    renamed = parse(Example, {**GOOD, "name": "m", "axes": {"x": [1, 2, 3]}, "nets": {"b": {}}}, "spec")
    assert renamed.fingerprint() == spec.fingerprint()
    assert parse(Example, {**GOOD, "rate": 0.2}, "spec").fingerprint() != spec.fingerprint()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rat": 1}, ["rat: unknown field", "did you mean 'rate'", "nets"]),
        ({"inner": {"widht": 3}}, ["inner.widht: unknown field", "did you mean 'width'", "skip"]),
        ({"nets": {"a": {"wide": 3}}}, ["nets.a.wide: unknown field", "width, skip"]),
        ({"form": {"shape": "plain", "depth": 3}}, ["form.depth: unknown field; did", "? known here: shape, width"]),
        ({"form": {"shape": "deep", "depht": 3}}, ["did you mean 'depth'? known here: shape, depth"]),
        ({"form": {"shape": "deep", "depth": "x"}}, ["form.depth: give a whole number (given: 'x')"]),
        ({"rate": "fast"}, ["rate:", "give a number", "given: 'fast'"]),
        ({"rate": float("inf")}, ["rate:", "finite"]),
        ({"axes": {"x": []}}, ["axes.x", "empty"]),
        ({"axes": {"x": {"lin": [0, 1, 2]}}}, ["axes.x.lin: unknown field", "linear"]),
        ({"name": "../up"}, ["name:", "given: '../up'"]),
    ],
)
def test_errors_name_field_value_and_what_is_allowed(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        parse(Example, {**GOOD, **change}, "my.yaml")
    text = str(caught.value)
    assert text.startswith("my.yaml:")
    assert all(word in text for word in words), text


def test_a_complaint_about_several_fields_stands_alone() -> None:
    with pytest.raises(SpecError) as caught:
        parse(Example, {**GOOD, "inner": {"width": 1}}, "my.yaml")
    assert str(caught.value) == "my.yaml:\n  - inner: a width of 1 has nothing to skip"


def test_a_missing_field_is_named() -> None:
    with pytest.raises(SpecError, match="axes: missing"):
        parse(Example, {k: v for k, v in GOOD.items() if k != "axes"}, "spec")


def test_yaml_reads_numbers_as_json_does(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("a: 1e-3\nb: 1.5E+2\nc: .5\nd: 10\ne: yes\nf: 1.\ng: '1e-3'\nh: -2e4\ni: 1e5m\n")
    read = read_yaml(file)
    assert read == {"a": 1e-3, "b": 150.0, "c": 0.5, "d": 10, "e": True, "f": 1.0, "g": "1e-3", "h": -2e4, "i": "1e5m"}
    assert isinstance(read["d"], int)


@pytest.mark.parametrize(("text", "words"), [("- a", "field: value"), ("a: [", "not valid YAML"), ("", "NoneType")])
def test_files_that_hold_no_fields(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=words):
        read_yaml(file)
    file.write_bytes(b"a: \xff")
    with pytest.raises(SpecError, match=r"not text in UTF-8 .* at byte 3"):
        read_yaml(file)
    with pytest.raises(SpecError, match="no file"):
        read_yaml(tmp_path / "none.yaml")


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(SpecError, match="not valid YAML"):
        read_yaml(file)


def test_overrides_reach_into_mappings_and_lists() -> None:
    data = {"a": {"b": [1, 2]}, "c": 1}
    assert override(data, ["a.b.1=5", "d.e=[x, 1e-2]", "c=null"]) == {
        "a": {"b": [1, 5]},
        "c": None,
        "d": {"e": ["x", 0.01]},
    }
    assert data == {"a": {"b": [1, 2]}, "c": 1}, "the original stays as it was"


def test_an_override_changes_one_place_of_a_yaml_anchor(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("a: &x {n: 1}\nb: *x\n")
    assert override(read_yaml(file), ["a.n=2"]) == {"a": {"n": 2}, "b": {"n": 1}}


@pytest.mark.parametrize("bad", ["a", "=1", "c.d=1", "a.b.7=1", "a.b.x=1", "a=["])
def test_overrides_that_can_not_be(bad: str) -> None:
    with pytest.raises(SpecError):
        override({"a": {"b": [1, 2]}, "c": 1}, [bad])


def test_differences_name_each_field() -> None:
    old = {"rate": 0.1, "inner": {"width": 8, "skip": True}, "gone": 1}
    new = {"rate": 0.2, "inner": {"width": 8, "skip": False}, "here": 2}
    assert differences(old, new) == [
        "rate: was 0.1, is 0.2",
        "inner.skip: was true, is false",
        "gone: was 1, is no longer there",
        "here: was not there, is 2",
    ]
    assert differences({"x": 1}, {"x": 1.0}) == []
