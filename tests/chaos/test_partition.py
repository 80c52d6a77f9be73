"""A host that is cut off in the middle of a sweep, and comes back: hosts have addresses of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.chaos.hosts import Hosts, hosts

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos]

UNITS = 500


def until(what: str, true: Callable[[], bool], driver: subprocess.Popen[str], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert driver.poll() is None, f"the driver ended before {what}: {driver.communicate()[0]}"
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.5)


def test_a_host_is_cut_off_and_comes_back(tmp_path: Path) -> None:
    """The third host computes, loses its cable, is given up, comes back as a new node, and computes again."""
    with tempfile.TemporaryDirectory(prefix="ls-", dir="/tmp") as short, hosts(3, Path(short) / "r") as lab:
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_health_check_period_ms": "1000"}
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            cut_off(lab, tmp_path)
        finally:
            os.environ.clear()
            os.environ.update(before)


def cut_off(lab: Hosts, tmp_path: Path) -> None:
    head, _, third = lab
    head.start_ray()
    told = {
        "units": UNITS,
        "seconds": 0.4,
        "site": {"address": f"{head.address}:6399", "workers": "auto", "cpus": 1, "shard_seconds": 1},
    }
    words = [sys.executable, "-m", "tests.chaos.driver", str(tmp_path / "sweep"), json.dumps(told)]
    wait = "import socket, sys, time\nwhile socket.socket().connect_ex((sys.argv[1], 6399)): time.sleep(0.2)"
    subprocess.run(head.command([sys.executable, "-c", wait, head.address]), check=True, timeout=120)
    for host in lab[1:]:
        host.start_ray(head.address)
    driver = subprocess.Popen(head.command(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    store = Store.at(tmp_path / "sweep")

    def workers() -> int:
        status = json.loads(store.read("status.json")) if any(n == "status.json" for n, _ in store.list("")) else {}
        return int(status.get("workers", 0))

    def rows() -> int:
        return len(Ledger.open(store).keys()) if Ledger.exists(store) else 0

    try:
        until("all hosts work", lambda: workers() == 3, driver)
        third.connected(to_the_others=False)
        until("the lost host is given up", lambda: workers() == 2, driver)
        at_loss = rows()
        until("the others go on", lambda: rows() > at_loss + 20, driver)
        third.connected(to_the_others=True)
        third.wait_for_ray()  # it learns that it was given up, and ends
        third.start_ray(head.address)
        until("it works again", lambda: workers() == 3, driver)
        output, _ = driver.communicate(timeout=300)
        assert driver.returncode == 0, output
    finally:
        driver.kill()
        driver.wait()
    assert json.loads(output.splitlines()[-1]) == {"phase": "done", "new": UNITS, "done": UNITS}
    sweep = Sweep(Ledger.open(store))
    found = sweep.ledger.verify(sweep.keys())
    assert found.sound and not found.missing and found.by_status == {"ok": UNITS}
