"""Stages as one job on Slurm: frozen when they are submitted, shown by stage, and gone on with when they have grown."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.cluster.jobs.jobs import SLURM_SITE
from tests.cluster.slurm import LocalSlurm
from tests.support.cli import command
from tests.support.stages import MEASURE, TRAIN

pytestmark = [pytest.mark.slurm, pytest.mark.ray, pytest.mark.slow, pytest.mark.rotating]


def test_stages_are_one_job(slurm: LocalSlurm, tmp_path: Path) -> None:
    del slurm
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(TRAIN))
    stages = {"train": "train.yaml", "measure": MEASURE}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump({"name": "both", "stages": stages}, sort_keys=False))
    launcher = {**SLURM_SITE["launcher"], "nodes": 1}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump({**SLURM_SITE, "launcher": launcher}))
    command("submit", "both.yaml", "--site", "site.yaml", cwd=tmp_path)
    (tmp_path / "train.yaml").write_text("kind: gone")
    done = command("logs", "results/both", "--follow", cwd=tmp_path).stdout
    assert "stage 1 of 2: train" in done and "stage 2 of 2: measure" in done and "all stages: " in done
    assert "measure: 2/2 done" in command("jobs", cwd=tmp_path).stdout
    for stage in ("train", "measure"):
        command("verify", f"results/both/{stage}", cwd=tmp_path)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(TRAIN))
    words = ["submit", "both.yaml", "train.seeds.range=3", "--site", "site.yaml", "--follow"]
    assert command(*words, cwd=tmp_path).stdout.count("1 new in") == 2
    refused = command("submit", "both.yaml", "site.end_when.row=loss < 1", "--site", "site.yaml", cwd=tmp_path, check=2)
    assert "site.end_when ends one sweep" in " ".join(refused.stderr.split())
