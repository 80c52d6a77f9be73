"""Losses that were announced count against nobody; the budget for lost workers is zero here, so a charge would show."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.chaos.driver import spec_data
from tests.support.results import verified
from tests.support.workers import busy_workers, run_on_ray

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default")]

ALONE = {"shard_seconds": 0.01, "budgets": {"infra": 0}}  # each unit is a shard of its own, so each loss has a suspect


class Once(QuietWatch):
    """Does something once, as soon as it can after so many rows have come."""

    def __init__(self, rows: int, act: Callable[[], bool]) -> None:
        super().__init__()
        self.rows, self.act, self.done = rows, act, False
        self.most = 0

    def show(self, snapshot: Snapshot) -> None:
        self.most = max(self.most, snapshot.workers)
        if snapshot.new >= self.rows and not self.done:
            self.done = self.act()


def strike(*signals: int, workers: int = 1) -> bool:
    """Send signals, half a second apart, to workers that are in the middle of a unit; whether there were so many."""
    if len(busy := busy_workers()) < workers:
        return False  # waiting here would keep work from them
    for number in signals:
        for worker in busy[:workers]:
            os.kill(worker.pid, number)
        time.sleep(0.5)
    return True


def workers_of(folder: Path) -> set[str]:
    return set(Ledger.open(Store.at(folder)).rows(["worker"]).column("worker").to_pylist())


def test_a_worker_that_gets_sigterm_ends_its_unit_and_no_more(own_ray: None, tmp_path: Path) -> None:
    watch = Once(4, lambda: strike(signal.SIGTERM))
    end = run_on_ray(spec_data(40, 0.5), tmp_path, watch, workers=2, **ALONE)
    assert watch.done and end.counts == {"ok": 40}
    assert len(workers_of(tmp_path)) == 3, "another worker has come in its place"
    assert verified(tmp_path)


def test_a_spot_termination_charges_nobody(own_ray: None, tmp_path: Path) -> None:
    """SIGTERM, and SIGKILL before the unit has ended."""
    watch = Once(2, lambda: strike(signal.SIGTERM, signal.SIGKILL))
    end = run_on_ray(spec_data(8, 3), tmp_path, watch, workers=2, **ALONE)
    assert watch.done and end.counts == {"ok": 8}
    assert verified(tmp_path)


def test_all_workers_may_be_told_to_end_at_once(own_ray: None, tmp_path: Path) -> None:
    watch = Once(4, lambda: strike(signal.SIGTERM, workers=2))
    end = run_on_ray(spec_data(24, 1), tmp_path, watch, workers=2, **ALONE)  # enough for workers that start slowly
    assert watch.done and end.counts == {"ok": 24}
    assert len(workers_of(tmp_path)) == 4


def test_a_death_without_notice_is_charged(own_ray: None, tmp_path: Path) -> None:
    """What the two tests above would show if the notice were not heard."""

    def kill() -> bool:
        time.sleep(1)  # both workers' rows come at about the same time: now both are in the middle of their next units
        return strike(signal.SIGKILL)

    watch = Once(2, kill)
    end = run_on_ray(spec_data(8, 3), tmp_path, watch, workers=2, **ALONE)
    assert watch.done and end.counts == {"ok": 7, "failed": 1}


@pytest.mark.slow
@pytest.mark.parametrize("time_left", [1, 60])
def test_a_drained_node_gets_no_more_work_and_charges_nobody(tmp_path: Path, time_left: int) -> None:
    """A node announces that it will go: in time for its unit to end, or in the middle of it."""
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    leaving = cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    seconds = 4

    def drain() -> bool:
        reason = autoscaler_pb2.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION
        deadline = (time.time_ns() // 1_000_000) + 1000 * time_left
        gcs = ray._raylet.GcsClient(address=cluster.address)
        accepted, why = gcs.drain_node(leaving.node_id, reason, "spot", deadline)
        assert accepted, why
        return True

    watch = Once(3, drain)
    try:
        end = run_on_ray(spec_data(15, seconds), tmp_path, watch, workers="auto", cpus=1, **ALONE)
        assert watch.done and watch.most == 3
        assert end.counts == {"ok": 15}
        assert verified(tmp_path)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
def test_nodes_that_an_autoscaler_is_asked_for_get_work_when_they_come(tmp_path: Path) -> None:
    """Workers that have no place yet are the demand that an autoscaler reads; here the test is the autoscaler."""
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False)
    gcs = ray._raylet.GcsClient(address=cluster.address)
    demands: list[int] = []

    def scale() -> bool:
        deadline = time.monotonic() + 60
        while not (asked := demanded(gcs)):
            assert time.monotonic() < deadline, "nothing is asked for"
            time.sleep(0.2)
        demands.append(asked)
        for _ in range(asked):
            cluster.add_node(num_cpus=1)
        return True

    watch = Once(5, scale)
    try:
        end = run_on_ray(spec_data(600, 0.1), tmp_path, watch, workers=3, cpus=1, shard_seconds=0.5)
        assert demands == [2]
        assert end.counts == {"ok": 600}
        assert watch.most == 3 and len(workers_of(tmp_path)) == 3
        assert verified(tmp_path)
    finally:
        ray.shutdown()
        cluster.shutdown()


def demanded(gcs: Any) -> int:
    """How many workers wait for a node, as an autoscaler sees it."""
    reply = autoscaler_pb2.GetClusterResourceStateReply()
    reply.ParseFromString(gcs.get_cluster_resource_state())
    return sum(request.count for request in reply.cluster_resource_state.pending_resource_requests)
