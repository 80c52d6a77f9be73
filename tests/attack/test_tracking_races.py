"""Sweeps that begin at once in one new MLflow file: each has its run there."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from tests.attack.amounts import attacks, held
from tests.attack.folders import FUNCTION
from tests.support.cli import LANDSWEEP, write_spec
from tests.support.paths import ROOT

SWEEPS = 4


@attacks(None, full=1)
def test_four_sweeps_into_one_new_file(tmp_path: Path, n: int) -> None:
    rounds = 0
    for i in range(n):
        folder = tmp_path / str(i)
        folder.mkdir()
        rounds += four_sweeps(folder)
    held("four sweeps into one new MLflow file", rounds, n)


def four_sweeps(folder: Path) -> bool:
    write_spec(folder, FUNCTION)
    logs = [folder / f"log-{i}" for i in range(SWEEPS)]
    sweeps = []
    for i, log in enumerate(logs):
        words = [*LANDSWEEP, "run", "spec.yaml", "--site", "local", f"name=sweep-{i}"]
        with log.open("w") as out:
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            sweeps.append(subprocess.Popen(words, cwd=folder, env=env, stdout=out, stderr=out))
    codes = [sweep.wait() for sweep in sweeps]
    assert codes == [0] * SWEEPS, [log.read_text() for log in logs]
    with closing(sqlite3.connect(folder / "results" / "mlflow.db")) as file:
        runs = file.execute("select name, status from runs").fetchall()
    assert all("MLflow run" in log.read_text() for log in logs)
    return sorted(runs) == [(f"sweep-{i}", "FINISHED") for i in range(SWEEPS)]
