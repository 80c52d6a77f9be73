"""Units that kill the driver: the next death forgets no unit that was given up, and a rerun of them ends too."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.support.cli import LOCAL, command

UNITS = """
import os, signal

def work(i: int) -> dict:
    if i < 2: os.kill(os.getpid(), signal.SIGKILL)
    return {"i2": i * i}
"""
DRIVER = """
import sys
from pathlib import Path
sys.path.append(".")
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
kind = kind_named("function")
spec = kind.parse({"kind": "function", "name": "two", "function": "units:work", "axes": {"i": {"range": 4}}}, "here")
site = Site(executor="local", tracking=False, budgets={"driver": 0})
run_sweep(kind, spec, site, "out", folder=Path.cwd(), watch=QuietWatch())
"""


def test_two_units_that_kill_the_driver_fail_alone(tmp_path: Path) -> None:
    (tmp_path / "units.py").write_text(UNITS, encoding="utf-8")
    ends = []
    while (not ends or ends[-1] == -signal.SIGKILL) and len(ends) < 12:
        ends.append(subprocess.run([sys.executable, "-c", DRIVER], cwd=tmp_path, timeout=120, check=False).returncode)
    assert ends[-1] == 0, f"{len(ends)} runs, each killed"
    rows = pd.read_parquet(tmp_path / "out/rows")
    assert dict(zip(rows["i"], rows["status"], strict=True)) == {0: "failed", 1: "failed", 2: "ok", 3: "ok"}


AT_FIRST_THEN_KILLS = """
import os, signal
from pathlib import Path

def work(i: int) -> dict:
    if i < 4 and not Path("cured").exists(): raise ValueError("at first")
    if i in (1, 2, 3): os.kill(os.getpid(), signal.SIGKILL)
    return {"i2": i * i}
"""
SPEC = "kind: function\nname: rerun\nfunction: units:work\naxes: {i: {range: 6}}\n"


def test_a_rerun_of_units_that_kill_ends_when_it_is_repeated(tmp_path: Path) -> None:
    """What has failed again is not taken up again before the others have a row."""
    (tmp_path / "units.py").write_text(AT_FIRST_THEN_KILLS, encoding="utf-8")
    (tmp_path / "spec.yaml").write_text(SPEC, encoding="utf-8")

    def code(*words: str) -> int:
        return command(*words, *LOCAL, "site.budgets.driver=0", cwd=tmp_path, check=None).returncode

    assert code("run", "spec.yaml", "--out", "out") == 1
    (tmp_path / "cured").touch()
    ends = []
    while (not ends or ends[-1] == -signal.SIGKILL) and len(ends) < 20:
        ends.append(code("rerun", "out", "--status", "failed"))
    assert ends[-1] == 1, f"{len(ends)} reruns, each killed"
    rows = pd.read_parquet(tmp_path / "out/rows")
    assert dict(zip(rows["i"], rows["status"], strict=True)) == dict.fromkeys((0, 4, 5), "ok") | dict.fromkeys(
        (1, 2, 3), "failed"
    )
