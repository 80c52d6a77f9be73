"""Specs that are run by name, and what their relative paths are relative to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from landsweep.interface import plan
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec_files import shipped_specs, spec_folder, spec_path
from tests.support.cli import LOCAL, command
from tests.support.paths import SHIPPED_SPECS

NAMES = sorted(file.stem for file in SHIPPED_SPECS.rglob("*.yaml"))


def test_all_are_found_by_name_with_what_they_show(tmp_path: Path) -> None:
    assert list(shipped_specs()) == NAMES and len(set(NAMES)) == len(NAMES)
    lines = command("specs", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["spec", *NAMES]
    assert any(line.startswith("function_minima") and "How many runs of gradient descent" in line for line in lines)
    printed = command("specs", "function_minima", cwd=tmp_path).stdout
    assert printed == (SHIPPED_SPECS / "function_minima.yaml").read_text(encoding="utf-8")


def test_one_that_is_run_by_name_leaves_its_results_where_the_user_stands(tmp_path: Path) -> None:
    command("run", "function_minima", "axes.start.range=2", *LOCAL, cwd=tmp_path)
    assert "sound" in command("verify", "results/function_minima", cwd=tmp_path).stdout


def test_a_path_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert spec_path("function_minima").samefile(SHIPPED_SPECS / "function_minima.yaml")
    (tmp_path / "function_minima").mkdir()  # a folder is no spec
    assert spec_path("function_minima").samefile(SHIPPED_SPECS / "function_minima.yaml")
    (tmp_path / "function_minima").rmdir()
    (tmp_path / "function_minima").write_text("{kind: function, function: 'math:sqrt', axes: {x: [1]}}", "utf-8")
    assert spec_path("function_minima") == Path("function_minima")
    assert plan("function_minima", site="local").total == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("functon_minima", "no shipped spec of that name (did you mean function_minima?)"),
        ("functon_minima.yaml", "there is no file functon_minima.yaml (did you mean function_minima?)"),
        ("specs/landscape_skp.yml", "there is no file specs/landscape_skp.yml (did you mean landscape_skip or "),
        ("qqqqqqqq", "there is no file 'qqqqqqqq', and no shipped spec of that name. Give the path"),
        (".", ". is a folder, not a spec"),
        ("../function_minima", "there is no file ../function_minima (did you mean function_minima?)"),
    ],
)
def test_what_is_not_there_is_refused_with_names_that_are_alike(
    given: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as refusal:
        spec_path(given)
    assert says in str(refusal.value) and "landsweep specs" in str(refusal.value)


def test_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    done = command("plan", "functon_minima", cwd=tmp_path, check=2)
    assert done.stderr.startswith("error: there is no file 'functon_minima'") and not done.stdout


def test_paths_in_shipped_specs_are_relative_to_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert spec_folder(spec_path("measure_spectrum")) == tmp_path
    assert spec_folder(SHIPPED_SPECS / "measure_spectrum.yaml") == tmp_path
    copy = tmp_path / "mine/measure_spectrum.yaml"
    copy.parent.mkdir()
    shutil.copy(SHIPPED_SPECS / "measure_spectrum.yaml", copy)
    assert spec_folder(copy) == copy.parent
    for given, folder in (("measure_spectrum", tmp_path), (copy, copy.parent)):
        with pytest.raises(SpecError, match=f"there is no folder {folder}/results/zoo_digits_phase"):
            plan(given)
