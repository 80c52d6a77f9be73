"""Every launcher passes the suite that ships with the package, those whose cluster is at hand with real jobs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

import pytest

from landsweep.cluster.testing.launcher_suite import LauncherSuite, LiveLauncherSuite
from landsweep.orchestrator.site import LAUNCHERS
from tests.cluster.raycluster import RayCluster, free_port
from tests.cluster.slurm import LocalSlurm, until

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


class TestSlurmSection(LauncherSuite):
    section: ClassVar[dict[str, Any]] = {
        "type": "slurm",
        "nodes": 3,
        "gpus_per_node": 4,
        "partition": "gpu",
        "container": ["apptainer", "exec", "i.sif"],
    }


class TestSlurmArraySection(LauncherSuite):
    section: ClassVar[dict[str, Any]] = {"type": "slurm", "array": 4, "setup": ["module load python"], "requeue": False}


class TestRayJobsSection(LauncherSuite):
    section: ClassVar[dict[str, Any]] = {"type": "rayjobs", "runtime_env": {"env_vars": {"A": "b"}}}


class TestKubeRaySection(LauncherSuite):
    section: ClassVar[dict[str, Any]] = {"type": "kuberay", "image": "i", "volume": {"claim": "c"}, "env_from": ["s3"]}


class TestAwsSection(LauncherSuite):
    section: ClassVar[dict[str, Any]] = {
        "type": "ray-autoscaler",
        "provider": "aws",
        "region": "us-west-2",
        "head_machine": "m6i.large",
        "worker_machine": "c6i.large",
    }


class TestGcpSection(LauncherSuite):
    section: ClassVar[dict[str, Any]] = {
        **TestAwsSection.section,
        "provider": "gcp",
        "zone": "us-central1-a",
        "project": "p",
    }


class TestSshSection(LauncherSuite):
    section: ClassVar[dict[str, Any]] = {"type": "ssh", "hosts": ["alpha", "user@beta"], "options": ["-p", "2222"]}


def test_every_registered_launcher_is_here() -> None:
    here = {c.section["type"] for c in LauncherSuite.__subclasses__() if hasattr(c, "section")}
    assert here == {entry.name for entry in entry_points(group=LAUNCHERS)}


@pytest.mark.slurm
@pytest.mark.slow
class TestSlurmLive(LiveLauncherSuite):
    section: ClassVar[dict[str, Any]] = {"type": "slurm", "nodes": 2, "time": "10"}

    @pytest.fixture(autouse=True)
    def _cluster(self, slurm: LocalSlurm) -> None:
        self.settle = slurm.wait_idle  # type: ignore[method-assign]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestRayJobsLive(LiveLauncherSuite):
    @pytest.fixture(autouse=True)
    def _cluster(self, dashboard: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        dashboard.admit(monkeypatch)
        type(self).section = {
            "type": "rayjobs", "address": dashboard.url, "shared": True, "python": sys.executable,
        }  # fmt: skip


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """An sshd on loopback with keys of its own; its clients' options."""
    if SSHD is None or not shutil.which("ssh-keygen"):
        pytest.skip("no sshd: `apt-get install openssh-server` brings it")
    if os.geteuid() != 0:
        pytest.skip("sshd wants root here")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nListenAddress 127.0.0.2\nHostKey {folder}/host\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication no\nPermitRootLogin yes\nUsePAM no\n"
        f"PidFile {folder}/pid\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL)
    try:
        until("sshd answers", lambda: not socket.socket().connect_ex(("127.0.0.2", port)))
        known = f"UserKnownHostsFile={folder}/known"
        yield ["-p", str(port), "-i", str(folder / "user"), "-o", "StrictHostKeyChecking=no", "-o", known]
    finally:
        daemon.terminate()
        daemon.wait(20)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestSshLive(LiveLauncherSuite):
    @pytest.fixture(autouse=True)
    def _hosts(self, sshd: list[str]) -> None:
        type(self).section = {
            "type": "ssh", "hosts": ["127.0.0.1", "127.0.0.2"], "options": sshd, "cpus_per_host": 1, "network": "lo",
        }  # fmt: skip
