"""Every executor passes the suite that ships with the package."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import ray

from landsweep.orchestrator.errors import SpecError, Unreachable, WorkersUnavailable
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Gave, Lost
from landsweep.orchestrator.run.executors.local import LocalExecutor
from landsweep.orchestrator.run.executors.ray import RayExecutor
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.executor_suite import ExecutorSuite, collect, config, shard

WORKERS = Site(workers=2, cpus=0.5, start_timeout=90)


class TestLocal(ExecutorSuite):
    kills = False

    @pytest.fixture
    def executor(self) -> Iterator[LocalExecutor]:
        ex = LocalExecutor()
        yield ex
        ex.close()


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("own_ray")
class TestRay(ExecutorSuite):
    @pytest.fixture
    def executor(self) -> Iterator[RayExecutor]:
        ex = RayExecutor(WORKERS)
        yield ex
        ex.close()

    def test_a_cluster_that_was_joined_stays_up(self) -> None:
        ex = RayExecutor(WORKERS)
        ex.open(config())
        self.give(ex, shard(1, ["double"]))
        collect(ex, {1})
        ex.close()
        assert ray.is_initialized()

    def test_all_resources_come_back(self, executor: RayExecutor) -> None:
        executor.open(config())
        self.give(executor, shard(1, ["double"]), shard(2, ["exit"]))
        collect(executor, {1, 2})
        executor.close()
        give_up = time.monotonic() + 60  # Ray counts what dead actors held a while after they end
        while ray.available_resources().get("CPU") != 2 and time.monotonic() < give_up:
            time.sleep(0.1)
        assert ray.available_resources()["CPU"] == 2

    def test_the_work_behind_a_dead_one_has_not_begun(self) -> None:
        ex = RayExecutor(Site(workers=1, cpus=0.5))
        ex.open(config())
        self.give(ex, shard(1, ["double"]))
        collect(ex, {1})
        while len(slots := ex.free_workers()) < 2:
            ex.poll(0.1)
        ex.start(slots[0], shard(2, ["double", "exit"]))
        ex.start(slots[0], shard(3, ["double"]))
        events = {e.work: e for e in collect(ex, {2, 3}) if isinstance(e, Lost)}
        ex.close()
        assert events[2].began and not events[3].began

    def test_a_unit_past_its_limit_ends_with_its_worker(self) -> None:
        ex = RayExecutor(Site(workers=1, cpus=0.5, unit_timeout=5))  # a crowded machine is slow
        ex.open(config())
        self.give(ex, shard(1, ["double", "hang"]))
        events = collect(ex, {1})
        (lost,) = [e for e in events if not isinstance(e, Gave)]
        assert isinstance(lost, Lost) and lost.cause is Cause.timeout
        self.give(ex, shard(2, ["double"]))
        events = collect(ex, {2})
        assert any(isinstance(e, Gave) for e in events), events  # the worker was replaced
        ex.close()

    def test_workers_that_fail_at_start_give_one_clear_error(self) -> None:
        ex = RayExecutor(Site(workers=1, cpus=0.5))
        ex.open(config(kind="no-such-kind"))
        with pytest.raises(WorkersUnavailable, match=r"fail as soon as they start[\s\S]*no-such-kind"):
            for _ in range(600):
                ex.free_workers()
                ex.poll(0.2)
        ex.close()

    def test_workers_that_can_never_come_are_waited_for_only_so_long(self) -> None:
        ex = RayExecutor(Site(address="auto", workers=1, cpus=64, start_timeout=1))
        ex.open(config())
        with pytest.raises(WorkersUnavailable, match=r"One worker needs \{'CPU': 64"):
            for _ in range(100):
                ex.free_workers()
                ex.poll(0.1)
        ex.close()


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_a_worker_too_large_for_this_machine_is_refused_at_once() -> None:
    ray.shutdown()  # that of the tests above
    ex = RayExecutor(Site(gpus=64))
    with pytest.raises(SpecError, match="'GPU': 64"):
        ex.open(config())
    ex.close()
    assert not ray.is_initialized(), "a Ray of our own is ended"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_said(address: str) -> None:
    with pytest.raises(Unreachable, match="nothing answers"):
        RayExecutor(Site(address=address)).open(config())
