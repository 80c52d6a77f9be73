"""A sweep in a fresh folder, and drivers in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.support.paths import ROOT

Start = Callable[..., "subprocess.Popen[str]"]


def where(ledger: Ledger) -> str:
    """What another process is told."""
    return str(ledger.store.path or ledger.store.where)


_LONG_ON_S3 = ("test_kill", "test_reader_beside", "test_two_levels")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The ledger's promises are tested on S3 by `make test`; its long kill tests on S3 by `make test-all`."""
    for item in items:
        if "[s3" in item.name and item.name.startswith(_LONG_ON_S3):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def disk_ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(Store.at(tmp_path / "sweep"), {"name": "test"})


@pytest.fixture(params=["disk", "s3"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """On disk, and in a bucket of a real S3 server: the same promises."""
    if request.param == "disk":
        return cast(Ledger, request.getfixturevalue("disk_ledger"))
    return Ledger.create(Store.at(request.getfixturevalue("bucket_url")), {"name": "test"})


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the driver beside this on a ledger; options by keyword. What still lives at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(ledger: Ledger, **options: object) -> subprocess.Popen[str]:
        words = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "tests.orchestrator.storage.ledger.driver", where(ledger), *words]
        process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
