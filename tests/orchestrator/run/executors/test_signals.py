"""SIGTERM, as schedulers send it, stops a sweep on Ray as cleanly as one in this process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from landsweep.orchestrator.testing.kind_suite import metrics_of
from tests.chaos.driver import spec_data
from tests.support.cli import LANDSWEEP, write_spec
from tests.support.paths import ROOT


def started(folder: Path) -> subprocess.Popen[str]:
    """A sweep on a Ray of its own, of some minutes."""
    write_spec(folder, spec_data(4000, 0.05))
    words = [*LANDSWEEP, "run", "spec.yaml", "site.workers=1", "site.tracking=off", "site.shard_seconds=1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)


@pytest.mark.ray
@pytest.mark.rotating
def test_a_term_signal_while_ray_starts_stops_cleanly_too(tmp_path: Path) -> None:
    process = started(tmp_path)
    deadline = time.monotonic() + 120
    driver = psutil.Process(process.pid)
    while not any("gcs_server" in child.name() for child in driver.children()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 3, message
    assert "stopping" in message and "nothing is lost" in message


@pytest.mark.ray
@pytest.mark.slow
def test_a_term_signal_stops_a_sweep_on_ray_cleanly(tmp_path: Path) -> None:
    process = started(tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/chaos/rows/*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # a scheduler signals the process and its parent passes it on: meant once
    _, message = process.communicate(timeout=60)
    assert process.returncode == 3, message
    assert "nothing is lost" in message
    assert metrics_of(tmp_path / "results/chaos")
