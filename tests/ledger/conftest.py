"""A sweep in a fresh folder, and drivers in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.ledger import Ledger, Store

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(Store.at(tmp_path / "sweep"), {"name": "test"})


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `tests.ledger.driver` on a ledger; options by keyword. What still lives at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(ledger: Ledger, **options: object) -> subprocess.Popen[str]:
        words = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "tests.ledger.driver", str(ledger.store.path), *words]
        process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
