"""Transfer sweeps that are killed with SIGKILL and run again: the same rows, whatever the planner knew by then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of, run_example, same
from landsweep.sweeps.transfer.kind import TransferSpec
from tests.support.paths import ROOT
from tests.support.transfers import ADAPTIVE, KIND, transfer_spec

pytestmark = pytest.mark.rotating

KILLED = """
import json, sys
from pathlib import Path
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.chaos import kill_at
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.support.transfers import KIND, transfer_spec
spec, where, commits = transfer_spec(**json.loads(sys.argv[1])), sys.argv[2], int(sys.argv[3])
site = Site(executor="local", commit_rows=1, shard_seconds=1e-9)
run_sweep(KIND, spec, site, where, folder=Path.cwd(), watch=QuietWatch(), hook=kill_at("after-commit", commits))
"""


def killed_after(commits: int, fields: dict[str, Any], where: Path) -> None:
    """Run in a process that SIGKILLs itself after so many parts of the ledger."""
    command = [sys.executable, "-c", KILLED, json.dumps(fields), str(where), str(commits)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(("planner", "commits"), [("adaptive", 2), ("grid", 1)])
def test_killed_with_sigkill_and_run_again_the_rows_are_the_same(planner: str, commits: int, tmp_path: Path) -> None:
    """Twice, the second time while the planner refines around the rates that it has heard of."""
    fields = {**ADAPTIVE, "planner": planner, "seeds": [0], "recipes": {"mup": KIND.example().recipes["mup"]}}
    if planner == "grid":
        fields |= {"rates": {"log2": [-11, -1, 3]}, "values": [8, 16, 24, 32], "sharpness": None}
    spec = transfer_spec(**fields)
    run_example(KIND, spec, tmp_path / "whole")
    whole, counts = metrics_of(tmp_path / "whole"), [0]
    for _ in range(2):
        killed_after(commits, fields, tmp_path / "killed")
        counts.append(len(metrics_of(tmp_path / "killed")))
    assert counts == sorted(set(counts)) and counts[-1] < len(whole), "rows are kept, and there is work left"
    end = run_example(KIND, spec, tmp_path / "killed")
    assert end.new == len(whole) - counts[-1], "nothing was computed twice"
    assert same(metrics_of(tmp_path / "killed"), whole)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_workers_killed_while_the_planner_refines_change_no_row(tmp_path: Path) -> None:
    """Real Ray, SIGKILL to both workers once some rows are there."""
    spec: TransferSpec = transfer_spec(**ADAPTIVE)
    victims: list[int] = []

    class Killer(QuietWatch):
        def show(self, snapshot: Snapshot) -> None:
            if not victims and snapshot.new >= 8:
                victims.extend(p.pid for p in psutil.Process().children(recursive=True) if "Actor" in p.name())
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)

    site = Site(workers=2, cpus=0.5, tracking=False, shard_seconds=1e-9, commit_rows=1)
    run_sweep(KIND, spec, site, tmp_path / "killed", folder=ROOT, watch=Killer())
    assert victims, "nobody was killed"
    run_example(KIND, spec, tmp_path / "whole")
    assert metrics_of(tmp_path / "killed").keys() == metrics_of(tmp_path / "whole").keys()
    assert same(metrics_of(tmp_path / "killed"), metrics_of(tmp_path / "whole"))
