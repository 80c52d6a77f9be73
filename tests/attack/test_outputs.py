"""Outputs that can't be written, for want of room or of a place: one line and the right code from every command."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from landsweep.orchestrator.errors import of_files
from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.attack.folders import FUNCTION, ZOO, command, ran
from tests.support.cli import write_spec

RULES = """
name: mine
version: 1
source: none
load: {doc: w, columns: [w]}
temperature: {doc: t, columns: [t]}
quantities: {l: {doc: l, columns: [L]}}
phases: [{label: A, when: l > 1, doc: a}]
"""
COMMANDS = {
    "phases": ["phases", "table.csv", "--rules", "rules.yaml", "--out"],
    "fit": ["fit", "table.csv", "--law", "chinchilla", "--columns", "loss=L", "--bootstrap", "0", "--out"],
    "plot": ["fit", "table.csv", "--law", "chinchilla", "--columns", "loss=L", "--bootstrap", "0", "--plot"],
    "figures": ["figures", "results/own", "--out"],
    "card": ["zoo-card", "results/own", "--to"],
    "export": ["zoo-export", "results/own", "--to"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("outputs")
    ran(folder, ZOO)
    lines = [f"{w},{t},{5 - w / 9 - t / 7},{1e6 * w},{1e8 * t}" for w in (1, 2, 4, 8) for t in (1, 2, 3, 5)]
    (folder / "table.csv").write_text("\n".join(["w,t,L,N,D", *lines]))
    (folder / "rules.yaml").write_text(RULES)
    (folder / "file").write_text("a file")
    yield folder


@pytest.mark.parametrize("to", ["file", "file/below", "/proc/none"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_is_none(folder: Path, name: str, to: str) -> None:
    done = command(*COMMANDS[name], to, cwd=folder)
    if not (name in ("fit", "plot") and to == "file"):  # which is written over
        assert done.returncode == 2, done
        assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert (folder / "rules.yaml").read_text() == RULES


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("name", ["fit", "plot"])
def test_a_full_disk(folder: Path, name: str) -> None:
    (folder / "full.png").unlink(missing_ok=True)
    (folder / "full.png").symlink_to("/dev/full")
    done = command(*COMMANDS[name], "full.png", cwd=folder)
    assert done.returncode == 3, done
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("where", ["a full disk", "a pipe that nobody reads"])
def test_a_run_whose_messages_can_not_be_written_goes_on(tmp_path: Path, where: str) -> None:
    write_spec(tmp_path, FUNCTION)
    words = ["run", "spec.yaml", "--out", "r", "site.executor=local", "site.tracking=false"]
    reading, writing = os.pipe() if where == "a pipe that nobody reads" else (None, os.open("/dev/full", os.O_WRONLY))
    if reading is not None:
        os.close(reading)
    script = str(Path(sys.executable).with_name("landsweep"))
    done = subprocess.run([script, *words], cwd=tmp_path, stderr=writing, timeout=240, check=False)
    os.close(writing)
    assert done.returncode == 0, done
    assert Ledger.open(Store.at(tmp_path / "r")).rows().num_rows == 4
    assert (tmp_path / "r" / "report" / "index.html").exists()


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ECONNRESET, errno.EINTR]
)
def test_only_what_the_file_system_says_is_put_in_words(number: int) -> None:
    named = of_files(OSError(number, os.strerror(number), "place"))
    known = {errno.ENOSPC: 3, errno.EROFS: 3, errno.EACCES: 2, errno.ENOENT: 2}.get(number)
    assert (None if named is None else named.exit_code) == known
    assert named is None or str(named).startswith("place: ")
