"""Commands for people: kinds at any depth, a spec to begin with, the doctor, a watched sweep, version, completion."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from landsweep.orchestrator.commands import watching
from landsweep.orchestrator.commands.doctor import Finding, _gpus
from landsweep.orchestrator.commands.watching import ranges
from landsweep.orchestrator.console import Console
from landsweep.orchestrator.kind import kinds
from landsweep.orchestrator.row import Outcome, RowMaker, param_columns
from landsweep.orchestrator.run.sweep import load_spec
from landsweep.orchestrator.site import Site, cores
from landsweep.orchestrator.unit import Keys
from tests.support.app import app
from tests.support.cli import LANDSWEEP, command, write_spec


def say(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words), prog_name="landsweep", catch_exceptions=True)
    if code == 0 and result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output if code == 0 else str(result.exception)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("zoo recipe.net", ["net: mlp", "net: resnet", "hidden (list of whole number >= 1, default [64, 64])"]),
        ("zoo recipe.optimizer", ["method: adamw", "beta1 (number >= 0, < 1, default 0.9)"]),
        ("zoo axes", ["mapping to DefaultedAxis", "zoo: axes.NAME", "equal ratios"]),
        ("function columns.loss.type", ["one of float, int, bool, text"]),
        ("landscape models.mine.train", ["epochs (whole number >= 0, required): passes through the training data"]),
    ],
)
def test_kinds_show_what_may_stand_at_any_place(words: str, says: list[str]) -> None:
    text = say("kinds", *words.split())
    assert all(line in text for line in says), text


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("recipe.nett", "recipe has no field 'nett'; its fields are data, net"),
        ("recipy", "a spec of the kind zoo has no field 'recipy'; its fields are kind, name"),
        ("name.first", "name has no field 'first'; it has no fields"),
    ],
)
def test_a_place_that_is_none_is_refused_with_what_there_is(path: str, says: str) -> None:
    assert says in say("kinds", "zoo", path, code=2)


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_a_new_spec_is_the_example_with_a_comment_on_each_field(kind: str, tmp_path: Path) -> None:
    text = say("new", kind)
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    fields = yaml.safe_load(text)
    example = kinds()[kind].example()
    assert {"name": example.name, **fields} == {**fields, "name": fields["name"]}
    for field in type(example).model_fields:
        assert f"\n{field}:" in text or f"\n#{field}:" in text, field
    if kind != "measure":  # it reads another sweep's results
        assert load_spec(file)[1] == example


def test_the_doctor_says_what_is_fine_and_what_is_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    findings = {f["what"]: f for f in json.loads(say("doctor", "--json"))}
    assert set(findings) == {
        "Python",
        "packages",
        "machine",
        "GPUs",
        "shared memory",
        "storage",
        "site and tracking",
    }
    assert {f["state"] for f in findings.values()} <= {"ok", "warning"}
    assert str(tmp_path) in findings["storage"]["says"] and not list(tmp_path.iterdir()), "nothing is left"
    (tmp_path / "site.yaml").write_text("tracking: http://127.0.0.1:9")
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["doctor", "--site", "site.yaml", "--out", "/proc/none"])
    assert result.exit_code == 1
    assert "error  storage: /proc can't be written" in result.output
    assert "error  site and tracking: tracking: http://127.0.0.1:9 does not answer" in result.output
    assert "there is no site 'nowhere'" in CliRunner().invoke(app, ["doctor", "--site", "nowhere"]).output


def test_a_system_without_affinities_has_the_cores_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert Site(executor="local", cpus=1).capacity == os.cpu_count() == cores()


def test_gpus_without_torch_are_a_finding_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [Path("/dev/nvidia0")] if self == Path("/dev") else [])
    monkeypatch.setitem(sys.modules, "torch", None)
    assert _gpus() == Finding("GPUs", "warning", "1 in this machine, but no torch to use them")


def test_the_version_is_printed() -> None:
    assert say("--version").startswith("landsweep 0.")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("landsweep kinds land", "landscape"),
        pytest.param("landsweep kinds zoo recipe.opt", "recipe.optimizer", marks=pytest.mark.slow),
        ("landsweep kinds function ax", "axes"),
        ("landsweep do", "doctor"),
    ],
)
def test_the_shell_completes_commands_kinds_and_places(typed: str, offered: str) -> None:
    env = {
        **os.environ,
        "_LANDSWEEP_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" ")),
    }
    done = subprocess.run(LANDSWEEP, env=env, capture_output=True, text=True, check=False)
    assert offered in done.stdout.split(), done.stdout + done.stderr


def test_ranges_are_of_finite_metrics_alone() -> None:
    rows = pa.table(
        {
            "key": ["a", "b", "c"],
            "x": [0.0, 1.0, 2.0],
            "seconds": [9.0, 9.0, 9.0],
            "loss": [3.0, float("nan"), 1.0],
            "odd": [None, float("inf"), 2.0],
            "none": pa.array([None, None, None], pa.float64()),
            "text": ["p", "q", "r"],
        }
    )
    values = ranges(rows, {"spec": {"axes": {"x": {}}}})
    assert values == {"loss": (1.0, 3.0, 1.0), "odd": (2.0, 2.0, 2.0)}


def test_ranges_leave_out_params_that_are_drawn() -> None:
    """A zoo draws its settings, which then are no axes of the spec."""
    params = param_columns({"optimizer.learning_rate": [0.1, 0.25]})
    unit = Keys("zoo", 1, {}).unit({"optimizer.learning_rate": 0.25})
    batch = RowMaker(params, None).batch([unit], [Outcome(unit.key, {"loss": 1.5})], [{"attempt": 1}])
    assert ranges(pa.Table.from_batches([batch]), {"spec": {}}) == {"loss": (1.5, 1.5, 1.5)}


def test_a_watched_sweep_shows_its_state_and_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {
        "kind": "function",
        "name": "w",
        "function": "landsweep.sweeps.function.examples:descend",
        "axes": {"start": {"range": 3}, "lr": [0.01]},
        "fixed": {"steps": 5},
    }
    write_spec(tmp_path, spec)
    command("run", "spec.yaml", "--site", "local", "site.tracking=off", cwd=tmp_path)
    shown = io.StringIO()
    monkeypatch.setattr(watching, "out", Console(file=shown, force_terminal=True, width=120))
    watching.watch_sweep(str(tmp_path / "results" / "w"))
    text = shown.getvalue()
    assert "w (function): done, 3/3 units (3 ok)" in text and "distance" in text and "latest" in text
    plain = command("status", "results/w", "--watch", cwd=tmp_path).stdout
    assert plain.strip() == "w (function): done, 3/3 units (3 ok)"
