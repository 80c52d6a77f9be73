"""Workers, nodes and single units that die, hang or fail: each unit ends exactly once, the others are right."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest
import ray
from ray.cluster_utils import Cluster

from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of
from tests.chaos.driver import spec_data
from tests.support.results import verified
from tests.support.workers import busy_workers, run_on_ray

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default")]


def test_poison_units_are_listed_and_all_others_are_right(own_ray: None, tmp_path: Path) -> None:
    """Segfault, exit, hang, an unpicklable error, nan and lack of memory among good units."""
    poison = ["segfault", "exit", "hang", "raise", "unpicklable", "nan", "memory"]
    spec = {
        "kind": "function",
        "name": "poison",
        "function": "landsweep.orchestrator.testing.executor_suite:act",
        "axes": {"what": ["double", *poison], "x": [0, 1]},
    }
    budgets = {"infra": 1, "timeout": 0, "oom": 1}
    end = run_on_ray(spec, tmp_path, workers=2, unit_timeout=15, budgets=budgets, shard_seconds=0.5)
    assert end.done == 16
    found: dict[str, set[tuple[str, str | None]]] = {}
    for row in Ledger.open(Store.at(tmp_path)).rows().to_pylist():
        found.setdefault(row["what"], set()).add((row["status"], row["cause"]))
    assert found == {
        "double": {("ok", None)},
        "nan": {("ok", None)},
        "raise": {("failed", "error")},
        "unpicklable": {("failed", "error")},
        "memory": {("failed", "oom")},
        "segfault": {("failed", "infra")},
        "exit": {("failed", "infra")},
        "hang": {("failed", "timeout")},
    }
    rows = metrics_of(tmp_path)
    assert all(r["y"] == 2 * r["x"] for r in rows.values() if r["what"] == "double")
    assert verified(tmp_path)


def test_actors_killed_at_random(own_ray: None, tmp_path: Path) -> None:
    """Every second or so a worker process gets SIGKILL."""
    stop, rng, kills = threading.Event(), random.Random(1), []

    class Started(QuietWatch):
        rows = threading.Event()

        def show(self, snapshot: Snapshot) -> None:
            if snapshot.new:
                self.rows.set()

    def killer() -> None:
        Started.rows.wait(120)
        while not stop.wait(1.0 + rng.random()):
            if actors := busy_workers():
                os.kill(rng.choice(actors).pid, signal.SIGKILL)
                kills.append(time.monotonic())

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        end = run_on_ray(spec_data(400, 0.03), tmp_path, Started(), workers=2, shard_seconds=0.5)
    finally:
        stop.set()
        thread.join()
    assert len(kills) >= 2, "the test killed nobody"
    assert (end.done, end.counts) == (400, {"ok": 400})
    assert verified(tmp_path)
    for _ in range(200):
        if ray.available_resources().get("CPU") == 2:
            break
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 2, "all resources are returned"


@pytest.mark.slow
def test_a_node_is_lost_and_another_one_joins(tmp_path: Path) -> None:
    """Three nodes; one raylet is killed without grace, later a new node joins and gets work."""
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second, _third = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)

    class Breaks(QuietWatch):
        lost = joined = False
        workers_seen: ClassVar[set[int]] = set()

        def show(self, snapshot: Snapshot) -> None:
            self.workers_seen.add(snapshot.workers)
            if snapshot.new > 30 and not self.lost:
                self.lost = True
                cluster.remove_node(second, allow_graceful=False)
            if snapshot.new > 120 and self.lost and not self.joined:
                self.joined = True
                cluster.add_node(num_cpus=1)

    watch = Breaks()
    try:
        end = run_on_ray(spec_data(1500, 0.05), tmp_path, watch, workers="auto", cpus=1, shard_seconds=0.5)
        assert watch.lost and watch.joined
        assert (end.done, end.counts) == (1500, {"ok": 1500})
        assert end.workers == 3, "the pool has grown back with the cluster"
        assert verified(tmp_path)
        for _ in range(300):
            if ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]:
                break
            time.sleep(0.1)
        assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]
    finally:
        ray.shutdown()
        cluster.shutdown()
