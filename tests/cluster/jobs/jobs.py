"""Sweeps that were submitted to the Slurm of the tests, read from their results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SLURM_SITE: dict[str, Any] = {
    "tracking": False,
    "launcher": {"type": "slurm", "nodes": 2, "cpus_per_node": 1, "time": "10", "stop_seconds": 60},
}


def newest_job(folder: Path, name: str = "fun") -> dict[str, Any]:
    last = sorted((folder / "results" / name / "jobs").iterdir())[-1]
    return json.loads((last / "job.json").read_text())


def sweep_status(folder: Path, name: str = "fun") -> dict[str, Any]:
    file = folder / "results" / name / "status.json"
    return json.loads(file.read_text()) if file.exists() else {"done": 0, "phase": "none", "workers": 0}
