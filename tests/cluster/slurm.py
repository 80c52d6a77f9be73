"""A real Slurm on this machine: munged, slurmctld and two slurmd on loopback, with ports and folders of their own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

__all__ = ["MISSING", "LocalSlurm", "until"]

_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
_FOUND = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in _NEEDED}
_LACKS = [name for name, path in _FOUND.items() if path is None]
MISSING = (
    f"no {', '.join(_LACKS)}: `apt-get install slurm-wlm munge` brings Slurm" if _LACKS
    else "" if os.geteuid() == 0 else "slurmctld as SlurmUser=root wants root"
)  # fmt: skip
_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/control.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/control.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=5
KillWait=10
MinJobAge=600
SchedulerParameters=sched_interval=1,bf_interval=1,requeue_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=4 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=4 RealMemory=1000
PartitionName=tests Nodes=n1,n2 Default=YES MaxTime=60 State=UP
"""


def until(what: str, true: object, seconds: float = 60) -> None:
    """Wait until a condition holds; fails with its name."""
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)


def _ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(p.getsockname()[1]) for p in probes]


class LocalSlurm:
    """The daemons, by process id. `conf` is for SLURM_CONF."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp"))
        self.conf = self.folder / "slurm.conf"
        self.scratch = self.folder / "t"  # for TMPDIR of jobs; a node that is killed can't clean up after itself
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Bring everything up; returns when both nodes are idle."""
        for name in ("munge", "state", "n1", "n2", "t"):
            (self.folder / name).mkdir(mode=0o700)
        munge = self.folder / "munge"
        (munge / "key").write_bytes(secrets.token_bytes(256))
        (munge / "key").chmod(0o600)
        control, n1, n2 = _ports(3)
        self.conf.write_text(_CONF.format(host=socket.gethostname(), folder=self.folder, control=control, n1=n1, n2=n2))
        paths = {"key-file": "key", "socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self._run("munge", "munged", "--foreground", "--force", *(f"--{k}={munge / v}" for k, v in paths.items()))
        until("munged answers", (munge / "sock").exists)
        self._run("control", "slurmctld", "-D")
        for node in ("n1", "n2"):
            self.start_node(node)
        self.wait_idle()

    def start_node(self, node: str) -> None:
        """Start (again) a node's daemon."""
        self._run(node, "slurmd", "-D", "-N", node)

    def wait_idle(self, seconds: float = 60) -> None:
        """Until no job is left on any node."""
        until("both nodes are idle", lambda: self.say("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2, seconds)

    def kill_node(self, node: str) -> None:
        """SIGKILL to a node's daemon and to everything of its jobs, as when the machine loses power."""
        victims = self.processes_of(node)
        self._daemons[node].kill()
        self._daemons[node].wait()
        for process in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def processes_of(self, node: str) -> list[psutil.Process]:
        """All processes of jobs on a node: step daemons, tasks, and what tasks started."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                env = process.environ()
                if env.get("SLURM_CONF") == str(self.conf) and env.get("SLURMD_NODENAME") == node:
                    found.append(process)
        stepd = self._daemons[node].pid
        with contextlib.suppress(psutil.Error):
            found += psutil.Process(stepd).children(recursive=True)
        return found

    def left_over(self) -> list[str]:
        """Command lines of all processes that jobs left behind."""
        lines = []
        for node in ("n1", "n2"):
            for process in self.processes_of(node):
                with contextlib.suppress(psutil.Error):
                    lines.append(" ".join(process.cmdline())[:120])
        return lines

    def say(self, *words: str) -> str:
        """Run one of Slurm's commands."""
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False).stdout

    def stop(self) -> None:
        """End jobs, daemons, and remove the folder."""
        self.say("scancel", "--me")
        with contextlib.suppress(AssertionError):
            until("jobs have ended", lambda: not self.say("squeue", "-h").strip(), 30)
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, key: str, program: str, *words: str) -> None:
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        path = _FOUND[program]
        assert path is not None
        self._daemons[key] = subprocess.Popen(
            [path, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
