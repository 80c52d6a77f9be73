"""The page about JSON names exactly the fields that commands print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.app import app
from tests.support.cli import write_spec
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
SPEC = {
    "kind": "function",
    "name": "j",
    "function": "landsweep.sweeps.function.examples:no_op",
    "axes": {"x": [0.0, 1.0], "y": [0.0]},
    "claims": [{"says": "two", "holds": "count(x) >= 2"}],
}
WORDS = {
    "run": ["run", "spec.yaml", "--site", "local", "site.tracking=off"],
    "status": ["status", "results/j"],
    "plan": ["plan", "spec.yaml", "--site", "local"],
    "verify": ["verify", "results/j"],
    "claims": ["claims", "results/j"],
    "doctor": ["doctor"],
}
TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "whole number": (int,),
    "number": (int, float),
    "true or false": (bool,),
    "mapping": (dict,),
    "null": (type(None),),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("json")
    write_spec(folder, SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, ["run", "spec.yaml", "--site", "local", "site.tracking=off"])
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("command", WORDS)
def test_fields_and_types_are_those_of_the_page(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    fields = fields_of(command)
    done = CliRunner().invoke(app, [*WORDS[command], "--json"])
    printed = json.loads(done.stdout)
    if command == "claims":
        printed = printed["results/j"]
    for document in printed if isinstance(printed, list) else [printed]:
        assert list(document) == list(fields)
        for name, value in document.items():
            assert isinstance(value, types(fields[name])), (name, value, fields[name])


def fields_of(command: str) -> dict[str, str]:
    """Name to type, as the page has it."""
    section = PAGE.split(f"\n## {command}\n")[1].split("\n## ")[0]
    first = fields_of("status") if "| all fields of `status` |" in section else {}
    return first | dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE))


def types(text: str) -> tuple[type, ...]:
    """The Python types of a type as the page names it."""
    if text.startswith("list of"):
        return (list,)
    names = [text] if text in TYPES else text.split(" or ")
    return tuple(t for name in names for t in TYPES[name])
