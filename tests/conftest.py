"""What tests share: an S3 server and a Ray on this machine, started when the first test asks for them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from landsweep.orchestrator.trust import reading
from tests.support.rotation import DAY, due
from tests.support.s3 import S3, running_s3

settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")  # timings never decide a test


def pytest_configure() -> None:
    """Tests have the threads of a worker of one CPU, whichever file is run, and in whatever order."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when it is imported, which nothing here has done yet


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take turns count as slow on the days when others are due, and slow ones as long."""
    for item in items:
        if item.get_closest_marker("rotating") and not due(item.nodeid, DAY):
            item.add_marker("long" if item.get_closest_marker("slow") else "slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Commands that a test, or a fixture of it, runs in this process leave it to the next test as they found it."""
    with reading("what a test reads", trusted=True):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notes of sweeps and jobs go here, also from processes that tests start, and never into the user's own."""
    folder = tmp_path_factory.mktemp("state")
    os.environ["XDG_STATE_HOME"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with running_s3() as server:
        yield server


@pytest.fixture
def bucket_url(s3: S3) -> str:
    """The URL of a results folder that is not there yet."""
    return f"s3://{s3.bucket}/{uuid.uuid4().hex}/sweep"


@pytest.fixture
def torch_threads() -> Iterator[None]:
    """Sessions set how many threads torch uses; afterwards it uses as many as before."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    """A Ray of two CPUs, for the tests of one file."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
