"""A cluster that was started by others: joined directly and by Ray Client, and left running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from landsweep.orchestrator.testing.kind_suite import metrics_of
from tests.support.cli import command

pytestmark = [pytest.mark.ray, pytest.mark.slow]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Ports of GCS and client server of a head node in processes of its own."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # for the head and for the commands that join it
    gcs, client = free_port(), 9970 + os.getpid() % 20
    options = ["--head", "--block", "--num-cpus=2", f"--port={gcs}", f"--ray-client-server-port={client}"]
    quiet = ["--include-dashboard=false", "--disable-usage-stats"]
    head = subprocess.Popen(
        [BIN / "ray", "start", *options, *quiet], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 90
    for port in (gcs, client):
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert head.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
    yield gcs, client
    head.terminate()
    head.wait(timeout=60)
    monkeypatch.undo()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("way", ["direct", "client"])
def test_a_running_cluster_is_joined_and_left_running(ports: tuple[int, int], way: str, tmp_path: Path) -> None:
    spec = {
        "kind": "function",
        "name": "join",
        "function": "landsweep.orchestrator.testing.executor_suite:act",  # others' clusters have what is installed
        "axes": {"what": ["double"], "x": {"linear": [0, 59, 60]}},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    address = f"127.0.0.1:{ports[0]}" if way == "direct" else f"ray://127.0.0.1:{ports[1]}"
    site = [f"site.address={address}", "site.workers=2", "site.cpus=0.5", "site.tracking=off"]
    done = command("run", "spec.yaml", *site, cwd=tmp_path)
    assert "60 units (60 ok)" in done.stderr
    assert len(metrics_of(tmp_path / "results/join")) == 60
    assert not socket.socket().connect_ex(("127.0.0.1", ports[0])), "the cluster is still there"
