"""`landsweep rerun`, killed with SIGKILL once rows were retired: the same command goes on, whatever the planner."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example, same
from tests.chaos.driver import spec_data
from tests.support.cli import LOCAL, command
from tests.support.paths import ROOT
from tests.support.transfers import ADAPTIVE, KIND, transfer_spec

KILLED = """
import json, sys
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.testing.chaos import kill_at
from landsweep.orchestrator.testing.kind_suite import QuietWatch
where, keys = sys.argv[1], json.loads(sys.argv[2])
sweep, site = Sweep.at(where), Site(executor="local")
options = {"folder": sweep.folder, "watch": QuietWatch(), "again": keys, "hook": kill_at("before-commit", 1)}
run_sweep(sweep.kind, sweep.spec, site, where, **options)
"""


def search_spec() -> Any:
    data = {
        "kind": "search",
        "name": "search",
        "function": "tests.orchestrator.run.test_rerun_killed:hill",
        "space": {"x": {"uniform": [-2, 2]}},
        "goals": [{"maximise": "y"}],
        "sampler": {"method": "tpe", "n_startup_trials": 4},
        "generation": 4,
        "budget": {"units": 16},
    }
    return parse(kind_named("search").spec, data, "search")


def hill(x: float) -> dict[str, float]:
    return {"y": -((x - 0.5) ** 2)}


def specs() -> dict[str, tuple[Any, Any]]:
    fields = {**ADAPTIVE, "seeds": [0], "recipes": {"mup": KIND.example().recipes["mup"]}}
    function = kind_named("function")
    return {
        "transfer, adaptive": (KIND, transfer_spec(**fields)),
        "search": (kind_named("search"), search_spec()),
        "grid": (function, parse(function.spec, spec_data(12, 0.0), "grid")),
    }


@pytest.fixture(scope="module", params=["transfer, adaptive", "search", "grid"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "whole"
    run_example(*specs()[request.param], folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("retired", ["the last six", "every third", "all"])
def test_a_rerun_goes_on_after_it_was_killed_with_its_rows_retired(whole: Path, tmp_path: Path, retired: str) -> None:
    where = Path(shutil.copytree(whole, tmp_path / "sweep"))
    keys = Sweep.at(where).ledger.rows(["key"]).column("key").to_pylist()
    chosen = {"the last six": keys[-6:], "every third": keys[::3], "all": keys}[retired]
    words = [sys.executable, "-c", KILLED, str(where), json.dumps(chosen)]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(metrics_of(where)) == len(keys) - len(chosen)
    said = command("status", str(where), cwd=tmp_path).stdout
    assert "its driver is gone" in said and "The command that began it resumes it" in said
    again = command("rerun", str(where), "--status", "failed", *LOCAL, cwd=tmp_path).stderr
    assert "nothing to do" not in again
    assert same(metrics_of(where), metrics_of(whole))
    assert "nothing to do" in command("rerun", str(where), "--status", "failed", *LOCAL, cwd=tmp_path).stderr
