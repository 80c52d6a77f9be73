"""Programs that a results folder names are started when its user says so, and not before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from landsweep.orchestrator.errors import Untrusted
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Outcome
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.trust import foreign_code, reading, refuse_new_code
from landsweep.sweeps.command.kind import CommandKind, CommandSpec
from tests.attack.folders import command, ran, stranger

FAILING = {"kind": "command", "name": "small", "command": ["false", "{x}"], "axes": {"x": [1]}}
SEARCH = {
    "kind": "search",
    "name": "small",
    "command": ["false", "{x}"],
    "space": {"x": {"uniform": [0, 1]}},
    "goals": [{"minimise": "loss"}],
    "budget": {"units": 1},
}
KIND = CommandKind()


@pytest.mark.parametrize("spec", [FAILING, SEARCH], ids=["command", "search"])
def test_rerun_of_a_strangers_sweep_starts_no_program(spec: dict[str, object], tmp_path: Path) -> None:
    trace = tmp_path / "it-has-run"
    own = ran(tmp_path, {**spec, "command": ["sh", "-c", f"touch {trace}; exit 1", "{x}"]})
    trace.unlink()
    copy = stranger(own, "copy")
    local = ("site.executor=local", "site.tracking=false")
    done = command("rerun", copy, *local, cwd=tmp_path)
    assert done.returncode == 2 and f"the program 'sh -c touch {trace}" in done.stderr and "--trust" in done.stderr
    for words in (("report", copy), ("status", copy), ("verify", copy)):
        command(*words, cwd=tmp_path)
    assert not trace.exists()
    done = command("rerun", copy, "--trust", *local, cwd=tmp_path)
    assert trace.exists(), (done.stdout, done.stderr)


def test_a_session_in_a_strangers_name_starts_nothing(tmp_path: Path) -> None:
    spec = parse(CommandSpec, {**FAILING, "command": [sys.executable, "{x}"]}, "test")
    bench = Workbench(folder=tmp_path)
    with reading("their_sweep"):
        for what in (lambda: KIND.check(spec, bench), lambda: KIND.open(spec, {}, bench)):
            with pytest.raises(Untrusted, match="their_sweep names code"):
                what()


def test_a_unit_is_not_written_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    results = tmp_path / "results"
    spec = parse(CommandSpec, {**FAILING, "command": ["true", "{x}"]}, "test")
    (unit,) = KIND.planner(spec).ask(10)
    session = KIND.open(spec, {}, Workbench(folder=tmp_path, artifacts=Artifacts(str(results))))

    def error_with(name: str) -> str:
        link = results / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(elsewhere)
        try:
            return " ".join(str(item.error) for item in session.evaluate([unit]) if isinstance(item, Outcome))
        finally:
            link.unlink()

    with pytest.raises(Untrusted, match="is a link"):
        error_with("units")
    for name in (f"units/{unit.key}", f"units/{unit.key}/files"):
        assert "the unit's folder can't be used" in error_with(name) and "is a link" in error_with(name)
    assert "gave no metrics" in error_with(f"units/{unit.key}/stdout.txt"), "a plain file takes its place"
    assert not list(elsewhere.iterdir())


def test_programs_are_code_wherever_they_stand() -> None:
    found = foreign_code({"kind": "command", "command": ["rm", "-rf", "{x}"], "axes": {"x": ["a"]}})
    assert found == ["the program 'rm -rf {x}'"]
    assert foreign_code({"command": {"run": ["a", ["--x", "{x}"]], "env": {"A": "b"}}}) == ["the program 'a --x {x}'"]
    assert foreign_code({"command": "a word that an axis is called by"}) == []


def test_rows_name_no_program_that_the_spec_does_not() -> None:
    spec = {"command": {"run": ["train", ["--x", "{x}"], "{y}"]}}
    refuse_new_code({"command": {"run": ["train", "{y}"]}}, spec, "a row")
    with pytest.raises(Untrusted, match=r"the program 'other \{y\}'"):
        refuse_new_code({"command": {"run": ["other", "{y}"]}}, spec, "a row")
