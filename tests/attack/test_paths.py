"""Results folders of odd names: run, verify, status and report take them as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.attack.amounts import held
from tests.attack.folders import FUNCTION, command
from tests.support.cli import write_spec


@pytest.mark.parametrize("words", ["status {0}", "run {0}/spec.yaml --out {0}/own", "specs"])
def test_a_current_folder_that_has_been_removed_is_named(tmp_path: Path, words: str) -> None:
    """Absolute paths do not help: what they lead to names relative ones."""
    write_spec(tmp_path, FUNCTION)
    (tmp_path / "gone").mkdir()
    line = f"cd gone && rmdir ../gone && exec {Path(sys.executable).with_name('landsweep')} {words.format(tmp_path)}"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "error: the current folder has been removed" in done.stderr, done
    assert [file.name for file in tmp_path.iterdir()] == ["spec.yaml"]


NAMES = ["with blanks", " leading", "'single'", '"double"', "a%20b", "a#1", "a?b", "a*b", "[a-z]", "new\nline",
         "back\\slash", "$(touch id)", "~", "a:b", "-rf", "Übungsgröße-沙-🙂"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[1:-1].replace("\\", "/"))
def test_results_of_an_odd_name(tmp_path: Path, name: str) -> None:
    """As a path below the current folder, and as an absolute one."""
    write_spec(tmp_path, FUNCTION)
    spec = ("spec.yaml", "site.executor=local", "site.tracking=false")
    for where in (f"./{name}", str(tmp_path / "deeper" / name)):
        done = command("run", *spec, f"--out={where}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        for words in (("verify", where), ("status", where), ("report", where)):
            done = command(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
    names = {"spec.yaml", "deeper", name}
    assert {file.name for file in tmp_path.iterdir()} == names, "nothing else was written"
    assert [file.name for file in (tmp_path / "deeper").iterdir()] == [name]
    held(f"paths: {name!r}", 1, 1)
