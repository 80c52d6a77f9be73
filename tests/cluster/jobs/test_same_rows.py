"""One landscape here, as a Ray job, and on two Slurm nodes of which one dies in the middle: the same rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from landsweep.orchestrator.testing.kind_suite import metrics_of
from tests.cluster.jobs.jobs import SLURM_SITE, newest_job, sweep_status
from tests.cluster.raycluster import RayCluster
from tests.cluster.slurm import LocalSlurm, until
from tests.support.cli import command
from tests.support.paths import SHIPPED_SPECS

SPEC = str(SHIPPED_SPECS / "landscape_skip.yaml")
SMALL = [
    *(f"models.{name}.{change}" for name in ("skip", "noskip") for change in ("train.epochs=1", "depth=14")),
    *("axes.x.linear=[-1,1,21]", "axes.y.linear=[-1,1,21]", "name=same"),
]
UNITS = 2 * 21 * 21
QUICK = {"tracking": False, "shard_seconds": 0.5, "commit_seconds": 0.5}


def site(folder: Path, name: str, launcher: dict[str, Any]) -> list[str]:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({**SLURM_SITE, **QUICK, "launcher": launcher}))
    return ["--site", f"{name}.yaml"]


@pytest.mark.slurm
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_one_spec_gives_the_same_rows_here_as_a_ray_job_and_on_slurm_with_a_dead_node(
    slurm: LocalSlurm, dashboard: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("run", SPEC, *SMALL, "--site", "local", "site.tracking=off", "--out", "results/here", cwd=tmp_path)

    rayjobs = {"type": "rayjobs", "address": dashboard.url, "shared": True, "python": sys.executable}
    with monkeypatch.context() as at_dashboard:
        dashboard.admit(at_dashboard)
        words = ["submit", SPEC, *SMALL, *site(tmp_path, "rayjobs", rayjobs), "--out", "results/ray", "--follow"]
        command(*words, cwd=tmp_path)

    words = ["submit", SPEC, *SMALL, *site(tmp_path, "slurm", SLURM_SITE["launcher"]), "--out", "results/slurm"]
    command(*words, cwd=tmp_path)
    until("both nodes work", lambda: sweep_status(tmp_path, "slurm")["workers"] == 2, 300)
    until("points have come", lambda: sweep_status(tmp_path, "slurm")["done"] > 20, 300)
    slurm.kill_node("n2")
    try:
        before = sweep_status(tmp_path, "slurm")["done"]
        assert before < UNITS, "the node died in the middle"
        followed = command("logs", "results/slurm", "--follow", cwd=tmp_path)
    finally:
        slurm.start_node("n2")
    assert f"{UNITS} units ({UNITS} ok)" in followed.stdout
    print(f"n2 died after {before} of {UNITS}; job {newest_job(tmp_path, 'slurm')['job']}:\n{followed.stdout}")

    here, ray, there = (metrics_of(tmp_path / "results" / name) for name in ("here", "ray", "slurm"))
    assert len(here) == UNITS and {row["status"] for row in here.values()} == {"ok"}
    assert here == ray
    assert here == there
