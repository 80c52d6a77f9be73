"""JSON schemas for editors: they take every spec that is right, as people write it, and mark what is wrong."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from landsweep.orchestrator.editor_schema import editor_schema, site_schema
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import kind_named, kinds
from landsweep.orchestrator.reading import load_yaml, read_yaml
from landsweep.orchestrator.shipped import shipped_files
from landsweep.orchestrator.site import SITES, site_names
from tests.examples.blocks import all_blocks
from tests.support.app import app
from tests.support.cli import command
from tests.support.paths import SHIPPED_SPECS

SPECS = sorted(SHIPPED_SPECS.rglob("*.yaml"))
BLOCKS = {
    f"{i}-{block.document}": block.yaml
    for i, block in enumerate(all_blocks())
    if block.language == "yaml" and block.yaml.startswith(("kind:", "base:"))
}
NET = {"net": "mlp", "hidden": [8]}
RECIPE = {"data": {"source": "digits"}, "net": NET, "steps": 3, "optimizer": {"method": "sgd"}}
ZOO = {"kind": "zoo", "recipe": RECIPE, "axes": {"steps": [2, 3]}, "seeds": {"range": 2}}


@cache
def validator(kind: str) -> Draft202012Validator:
    schema = json.loads(json.dumps(editor_schema(kind_named(kind).spec, kind)))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def complaints(fields: dict[str, Any], kind: str = "") -> list[str]:
    return [error.message for error in validator(kind or fields["kind"]).iter_errors(fields)]


@pytest.mark.parametrize("file", SPECS, ids=lambda file: file.stem)
def test_every_shipped_spec_fits(file: Path) -> None:
    assert not complaints(read_yaml(file))


@pytest.mark.parametrize("name", BLOCKS)
def test_every_spec_of_the_documents_fits(name: str) -> None:
    fields = load_yaml(BLOCKS[name], name)
    if fields.get("name") == "coin":  # a kind that CONTRIBUTING makes up
        pytest.skip("no kind of this package")
    wrong = complaints(fields, fields.get("kind", "function"))
    assert not [text for text in wrong if "is a required property" not in text]  # a document shows only a part


@pytest.mark.parametrize("name", kinds())
def test_the_example_of_a_kind_and_the_spec_of_new_fit(name: str) -> None:
    example = kind_named(name).example()
    assert not complaints(example.given())
    assert not complaints(json.loads(example.model_dump_json()))


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [1, 2]},
        {"axes": {"optimizer.learning_rate": {"geometric": [0.1, 1, 3]}}},
        {"base": "other.yaml"},
        {"base": {"file": "other.yaml", "without": ["axes.steps"]}},
        {"recipe": {**RECIPE, "devices": 2}},
        {"recipe": {**RECIPE, "net": {"net": "own", "function": "mine:net", "args": {"any": [1]}}}},
    ],
)
def test_short_forms_fit(change: dict[str, Any]) -> None:
    fields = {**ZOO, **change}
    if "devices" in fields["recipe"]:  # a field of the spec, not of the recipe
        fields = {**ZOO, "devices": 2}
    assert not complaints(fields)


@pytest.mark.parametrize(
    "change",
    [
        {"sedes": [1]},
        {"seeds": "many"},
        {"recipe": {**RECIPE, "steps": "many"}},
        {"recipe": {**RECIPE, "optimizer": {"method": "sdg"}}},
        {"recipe": {**RECIPE, "optimizer": {"method": "sgd", "momentun": 0.9}}},
        {"recipe": {**RECIPE, "net": {**NET, "channels": 3}}},
        {"recipe": {name: value for name, value in RECIPE.items() if name != "data"}},
        {"backend": "fastest"},
        {"base": 3},
        {"kind": "zo"},
    ],
)
def test_what_is_wrong_is_marked(change: dict[str, Any]) -> None:
    assert complaints({**ZOO, **change}, "zoo")


def test_a_spec_with_a_base_may_leave_anything_out_but_has_no_unknown_fields() -> None:
    assert not complaints({"base": "zoo.yaml"}, "zoo")
    assert not complaints({"base": "zoo.yaml", "recipe": {"optimizer": {"learning_rate": 0.1}}}, "zoo")
    assert complaints({"base": "zoo.yaml", "recipe": {"optimizer": {"learning_rte": 0.1}}}, "zoo")
    assert complaints({"recipe": {"optimizer": {"learning_rate": 0.1}}}, "zoo")


def test_networks_may_stand_beside_their_weights() -> None:
    spec = read_yaml(SHIPPED_SPECS / "landscape_skip.yaml")
    model = {"net": "mlp", "hidden": [8]}
    for source in ({"train": {"epochs": 0}}, {"checkpoint": "a.safetensors"}, {"checkpoint": {"sweep": "results/zoo"}}):
        assert not complaints({**spec, "models": {"a": {**model, **source}}})
    assert complaints({**spec, "models": {"a": {**model, "trian": {"epochs": 0}}}})


def test_the_command_prints_it(tmp_path: Path) -> None:
    printed = json.loads(command("kinds", "command", "--json-schema", cwd=tmp_path).stdout)
    assert printed == json.loads(json.dumps(editor_schema(kind_named("command").spec, "command")))
    assert "name one kind" in command("kinds", "--json-schema", cwd=tmp_path, check=2).stderr
    assert "name one kind" in command("kinds", "zoo", "recipe", "--json-schema", cwd=tmp_path, check=2).stderr
    text = command("new", "zoo", cwd=tmp_path).stdout
    assert not complaints(yaml.safe_load(text))


SITE_SCHEMA = Draft202012Validator(site_schema())


@pytest.mark.parametrize("name", site_names())
def test_sites_that_come_with_landsweep_are_valid(name: str) -> None:
    assert not [*SITE_SCHEMA.iter_errors(read_yaml(shipped_files(SITES)[name]))]


@pytest.mark.parametrize(
    "change",
    [
        {"wrkers": 4},
        {"workers": 0},
        {"executor": "dask"},
        {"budgets": {"oom": -1}},
        {"end_when": {"row": 3}},
        {"launcher": {"type": "slurm", "ndoes": 3}},
        {"launcher": {"type": "pbs"}},
    ],
)
def test_what_is_wrong_with_a_site_is_marked(change: dict[str, Any]) -> None:
    site = read_yaml(shipped_files(SITES)["slurm"])
    assert not [*SITE_SCHEMA.iter_errors(site)] and [*SITE_SCHEMA.iter_errors({**site, **change})]


def test_the_command_lists_sites_and_prints_one() -> None:
    def sites(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["sites", *words])
        assert done.exit_code == code, done.output
        return done.stdout

    assert [line.split()[0] for line in sites().splitlines()[1:] if line[:1].strip()] == site_names()
    assert sites("slurm") == shipped_files(SITES)["slurm"].read_text(encoding="utf-8")
    assert json.loads(sites("--json-schema")) == json.loads(json.dumps(site_schema()))
    with pytest.raises(SpecError, match="the names are aws, "):
        CliRunner().invoke(app, ["sites", "slrum"], catch_exceptions=False)
    with pytest.raises(UsageError, match="is the same for all sites"):
        CliRunner().invoke(app, ["sites", "slurm", "--json-schema"], catch_exceptions=False)
