"""Kill the driver with SIGKILL, at every named point and at random: the table comes out as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from landsweep.orchestrator.storage.ledger import Store
from landsweep.orchestrator.testing.kind_suite import metrics_of
from tests.support.results import assert_undisturbed

UNITS = 400
LOCAL = {"executor": "local", "commit_seconds": 0.05, "shard_seconds": 0.05}
POINTS = ["before-commit", "writing", "after-series", "after-commit", "compacting", "compacted"]


def start(folder: Path | str, **told: Any) -> subprocess.Popen[str]:
    told = {"units": UNITS, "site": LOCAL, **told}
    command = [*told.pop("through", ()), sys.executable, "-m", "tests.chaos.driver", str(folder), json.dumps(told)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(folder: Path | str, **told: Any) -> dict[str, Any]:
    output, _ = (process := start(folder, **told)).communicate(timeout=300)
    assert process.returncode == 0, output
    end: dict[str, Any] = json.loads(output.splitlines()[-1])
    return end


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_point(tmp_path: Path, point: str) -> None:
    """Many small commits, so that parts are merged during the run; killed at the third passing of the point."""
    told = {"units": UNITS, "seconds": 0.005, "site": {**LOCAL, "commit_seconds": 0.01}}
    first = start(tmp_path, point=point, nth=1 if "comp" in point else 3, **told)
    output, _ = first.communicate(timeout=120)
    assert first.returncode == -signal.SIGKILL, f"{point} was not passed: {output}"
    before = len(metrics_of(tmp_path))
    end = finish(tmp_path, **told)
    assert end["new"] == UNITS - before, "nothing that was committed is computed again"
    assert_undisturbed(tmp_path, UNITS)


def test_killed_again_and_again_at_random(tmp_path: Path) -> None:
    rng = random.Random(0)
    told = {"seconds": 0.01}
    for _ in range(6):
        process = start(tmp_path, **told)
        time.sleep(1.0 + rng.random() * 2)
        process.kill()
        process.communicate()
    finish(tmp_path, **told)
    assert_undisturbed(tmp_path, UNITS)


@pytest.mark.slow
def test_killed_again_and_again_while_writing_to_an_object_store(bucket_url: str) -> None:
    rng = random.Random(1)
    told = {"seconds": 0.01}
    for _ in range(4):
        process = start(bucket_url, **told)
        time.sleep(2.0 + rng.random() * 2)
        process.kill()
        process.communicate()
    finish(bucket_url, **told)
    assert_undisturbed(bucket_url, UNITS)


@pytest.mark.slow
def test_a_driver_that_moves_to_another_host_goes_on(bucket_url: str) -> None:
    """The next driver has another host name, so only the silence of the heartbeat tells it that the first is dead."""
    other = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$0" "$@"']
    if subprocess.run([*other, "true"], capture_output=True).returncode:
        pytest.skip("no right to give a process another host name (unshare --uts)")
    first = start(bucket_url, seconds=0.01)
    deadline = time.monotonic() + 60
    while not Store.at(bucket_url).list("rows"):
        assert time.monotonic() < deadline and first.poll() is None, first.communicate()[0]
        time.sleep(0.1)
    second = start(bucket_url, seconds=0.01, through=other)
    said, _ = second.communicate(timeout=120)
    assert second.returncode and "is being worked on by" in said, "the first one lives"
    first.kill()
    first.communicate()
    before = len(metrics_of(bucket_url))
    assert finish(bucket_url, seconds=0.01, through=other)["new"] == UNITS - before
    assert_undisturbed(bucket_url, UNITS)


@pytest.mark.ray
@pytest.mark.slow
def test_killed_with_a_ray_of_its_own_leaves_no_process_behind(tmp_path: Path) -> None:
    site = {"executor": "ray", "workers": 2, "commit_seconds": 0.2, "shard_seconds": 0.5}
    told = {"units": 300, "seconds": 0.05, "site": site}
    process = start(tmp_path, **told)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "rows").glob("*.parquet")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    # Ray's agents look for their parent now and then: they are gone about a minute later, the rest at once
    _, alive = psutil.wait_procs(children, timeout=150)
    assert not alive, f"Ray processes outlive their driver: {alive}"
    assert finish(tmp_path, **told)["new"] < 300
    assert_undisturbed(tmp_path, 300)
