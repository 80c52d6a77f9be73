"""The commands that the pages on clusters show, typed as printed on a real Slurm and a real Ray cluster."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster.raycluster import RayCluster
from tests.cluster.slurm import LocalSlurm
from tests.examples.blocks import Block, all_blocks
from tests.support.cli import command
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.rotating,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
SLURM = {"partition": "tests", "cpus_per_node": 1, "time": "00:30:00", "setup": []}  # as this cluster wants them
LANDSCAPE_SMALL = [
    *(f"models.{name}.{change}" for name in ("skip", "noskip") for change in ("depth=8", "width=2", "train.epochs=1")),
    *(f"axes.{axis}.linear=[-1,1,5]" for axis in "xy"),
]


def block(document: str, start: str) -> Block:
    return next(b for b in all_blocks() if b.document == document and b.text.startswith(start))


def type_lines(lines: list[str], folder: Path, **more: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Type `landsweep` lines in a folder that has the shipped specs; `more` holds words added to a subcommand."""
    if not (folder / "sweeps").exists():
        (folder / "sweeps").symlink_to(ROOT / "sweeps")
    words = [shlex.split(line)[1:] for line in lines if line.startswith("landsweep ")]
    return [command(*w, *more.get(w[0], []), cwd=folder, timeout=600) for w in words]


def write_slurm_site(folder: Path, site: dict[str, object], **launcher: object) -> None:
    section = site["launcher"]
    assert isinstance(section, dict)
    site = {**site, "tracking": False, "launcher": {**section, **SLURM, **launcher}}
    (folder / "my_slurm.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")


@pytest.mark.slurm
@pytest.mark.long
def test_the_commands_of_the_page_on_clusters(slurm: LocalSlurm, tmp_path: Path) -> None:
    """`--dry-run`, `--follow`, `jobs`, `logs`, `cancel`; the site is the installed one, copied and filled in."""
    write_slurm_site(tmp_path, yaml.safe_load((ROOT / "cluster/sites/slurm.yaml").read_text(encoding="utf-8")))
    lines = block("docs/clusters.md", "landsweep submit").commands
    dry, followed, jobs, logs, _ = type_lines(lines, tmp_path, submit=LANDSCAPE_SMALL)
    assert "#SBATCH" in dry.stdout
    assert "50 units (50 ok)" in followed.stdout and "50 units (50 ok)" in logs.stdout
    assert "50/50 done" in jobs.stdout


@pytest.mark.slurm
def test_the_worked_example_on_slurm(slurm: LocalSlurm, tmp_path: Path) -> None:
    """The site file of the page, and what one then sees: a sweep, the list of jobs, a partition that is refused."""
    write_slurm_site(tmp_path, yaml.safe_load(block("docs/sites/slurm.md", "executor: ray").yaml))
    submitted, listed, refused = block("docs/sites/slurm.md", "$ landsweep submit").commands
    done, jobs = type_lines([submitted, listed], tmp_path, submit=["axes.start.range=20"])
    assert "done: 300 units" in done.stdout
    assert "300/300 done" in jobs.stdout and "ended with exit code 0" in jobs.stdout
    gpu = command(*shlex.split(refused)[1:], cwd=tmp_path, check=2)
    assert "there is no 'gpu'" in gpu.stderr and "nothing was queued" in gpu.stderr
    printed = done.stderr + done.stdout
    for line in ("results:", "room:", "partition: tests", "shared folder:", "sbatch:"):
        assert line in printed, f"the page shows {line!r}"
    assert re.search(r"node \S+: sees the folder|a node: no node was free", printed), (
        "a node is looked at where one is free"
    )


@pytest.mark.long
def test_the_commands_of_the_page_on_ray_jobs(
    dashboard: RayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster with a token; only its port is another one, and results lie in a shared folder."""
    dashboard.admit(monkeypatch)
    here = [f"site.launcher.address={dashboard.url}", f"site.launcher.python={sys.executable}", "site.tracking=off"]
    by_hand = block("docs/sites/rayjobs.md", "export RAY_AUTH_MODE").commands
    (done,) = type_lines(by_hand, tmp_path, submit=[*here, "axes.start.range=20"])
    assert "300 units" in done.stdout
    shared = block("docs/sites/rayjobs.md", "landsweep submit").commands
    (done,) = type_lines(shared, tmp_path, submit=[*here, *LANDSCAPE_SMALL])
    assert "50 units (50 ok)" in done.stdout
