"""A Ray cluster of others on this machine, with dashboard and token, on ports of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cluster.slurm import until

__all__ = ["RayCluster", "free_port"]


def free_port() -> int:
    """One that nothing held a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RayCluster:
    """`ray start --head`, ended by its process id."""

    def __init__(self, cpus: int = 2) -> None:
        self.token = secrets.token_hex(32)
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="lsjobs-", dir="/tmp"))
        words = [f"--port={free_port()}", f"--dashboard-port={self._port}", f"--num-cpus={cpus}", "--head", "--block"]
        words += [f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
        words += ["--node-ip-address=127.0.0.1", "--include-dashboard=true", "--disable-usage-stats"]
        self._head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *words, f"--temp-dir={self._folder}"],
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def url(self) -> str:
        """Of its dashboard."""
        return f"http://127.0.0.1:{self._port}"

    def wait(self) -> None:
        """Until the dashboard answers."""
        until("the dashboard answers", self._answers, 120)

    def admit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give this process the cluster's token."""
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", self.token)

    def stop(self) -> None:
        """End it, and remove its folder."""
        self._head.terminate()
        self._head.wait(60)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return not probe.connect_ex(("127.0.0.1", self._port))
