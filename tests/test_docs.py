"""What the documents say is true: links, commands, shipped specs, and the kind that CONTRIBUTING shows."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
from click import Group

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.run.sweep import load_spec
from landsweep.orchestrator.testing import kind_suite
from tests.support.app import app
from tests.support.paths import ROOT, SHIPPED_SPECS

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SPECS = sorted(SHIPPED_SPECS.glob("*.yaml"))
COMMANDS = typer.main.get_command(app)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_link_is_dead(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_programs_that_it_names_are_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for module in re.findall(r"python (?:-P )?-m ((?:landsweep|tests)[.\w]*)", text):
        assert find_spec(module) is not None, module
    for script in re.findall(r"python ([\w./-]+\.py)", text):
        assert (ROOT / script).is_file() or "/" not in script, script


@pytest.mark.parametrize(
    "name", sorted(COMMANDS.commands if isinstance(COMMANDS, Group) else vars(COMMANDS)["commands"])
)
def test_every_command_has_help_with_an_example_and_stands_in_the_readme(name: str) -> None:
    command = vars(COMMANDS)["commands"][name]
    assert command.help and "Example: landsweep" in command.epilog
    assert f"landsweep {name}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", SPECS, ids=lambda p: p.stem)
def test_every_shipped_spec_is_valid_and_its_header_says_what_one_gets(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if sweeps := re.findall(r"sweep: results/(\w+)", text):  # its models are those of other shipped specs
        assert all((SHIPPED_SPECS / f"{name}.yaml").is_file() for name in sweeps)
        fields = read_yaml(file)
        spec = kind_named(fields["kind"]).parse({"name": file.stem, **fields}, file.name)
    else:
        kind, spec = load_spec(file)
        assert kind.planner(spec).ask(1)
    assert spec.name == file.stem
    header = text[: text.index("kind:")]
    for word in (f"landsweep run {file.stem}", "cores", "see"):
        assert word in header, f"the header lacks {word!r}"


def test_the_kind_in_contributing_passes_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    module = ModuleType("coin_of_contributing")
    sys.modules[module.__name__] = module
    source = re.findall(r"```python\n(.*?)```", text, re.S)[0]
    exec(compile(source, "CONTRIBUTING.md", "exec"), vars(module))
    kind: Any = vars(module)["CoinKind"]()
    for place in ("landsweep.orchestrator.run.worker", "landsweep.orchestrator.run.sweep"):
        monkeypatch.setattr(f"{place}.kind_named", lambda name: kind)  # as the entry point would
    kind_suite.run_example(kind, kind.example(), tmp_path)
    heads = sorted(r["heads"] for r in kind_suite.metrics_of(tmp_path).values())
    assert heads == [0.0, 25.0, 50.0, 75.0, 100.0]
