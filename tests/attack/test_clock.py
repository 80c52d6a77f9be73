"""A wall clock that jumps in the middle of a run: no row, no lock and no end depends on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from landsweep.orchestrator.commands.publish import write_report
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import run_example
from tests.attack.amounts import held
from tests.chaos.driver import spec_data
from tests.support.cli import LANDSWEEP, LOCAL, command, write_spec
from tests.support.paths import ROOT
from tests.support.results import assert_undisturbed

DAY, YEAR = 86_400.0, 365.25 * 86_400.0
JUMPS = {"-400 days": -400 * DAY, "+82 years": 82 * YEAR, "-10 days": -10 * DAY, "+1 hour": 3600.0}
UNITS = 120


def jumping(real: Callable[[], float], seconds: float) -> Callable[[], float]:
    """A clock that jumps after as many looks as half of the units take."""
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return real() + (seconds if looks > UNITS // 2 else 0)

    return clock


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: str) -> None:
    """In this process, by replacing `time.time`."""
    kind = kind_named("function")
    spec = parse(kind.spec, spec_data(UNITS, 0.0), "test")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", jumping(time.time, JUMPS[jump]))
        end = run_example(kind, spec, tmp_path, Site(executor="local", commit_rows=10, shard_seconds=1e-9))
        assert end.phase == "done"
        write_report(Sweep.at(tmp_path), str(tmp_path))
    ended = Sweep.at(tmp_path).rows()["ended"]
    assert abs(ended.max() - ended.min()) > abs(JUMPS[jump]) / 2, "the clock has jumped"
    assert_undisturbed(tmp_path, UNITS)
    held(f"clock: {jump}", 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_of_the_whole_process_that_jumps(tmp_path: Path, jump: str) -> None:
    """By libfaketime, which moves what libraries in C see, too."""
    if shutil.which("faketime") is None:
        pytest.skip("no faketime: `apt-get install faketime` brings it")
    write_spec(tmp_path, spec_data(UNITS, 0.01))
    out = tmp_path / "out"
    for clock in (f"{JUMPS[jump]:+.0f}s", "+0s"):
        words = ["faketime", "-f", clock, sys.executable, *LANDSWEEP, "run", "spec.yaml", *LOCAL, "--out", str(out)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    command("verify", str(out), cwd=tmp_path)
    assert_undisturbed(out, UNITS)
    held(f"clock of the process: {jump}", 1, 1)
