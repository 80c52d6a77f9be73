"""Ray on one node, for one job: started on ports that nobody else has, ended with all its processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import psutil

__all__ = ["RayNode", "in_own_session", "own_versions", "versions_differ"]

_MARK = "LANDSWEEP_NODE"  # in the environment of everything that this node starts
_LONGEST = 40  # of the folder's path: Ray's sockets lie 60 characters below it, and Linux allows 107
_START_SECONDS = 120.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def own_versions() -> dict[str, str]:
    """Versions that all nodes of a Ray cluster must share, and this project's."""
    versions = {"python": platform.python_version()}
    for package in ("ray", "landsweep"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def versions_differ(expected: Mapping[str, str]) -> str:
    """What is not as wanted on this machine, and what to do; empty when all is as wanted."""
    installed = own_versions()
    lines = [f"{p} {installed.get(p, 'missing')} instead of {v}" for p, v in expected.items() if installed.get(p) != v]
    if not lines:
        return ""
    return (
        f"{socket.gethostname()} has {', '.join(lines)}, with {sys.executable}. All nodes need the environment in "
        "which one submits: name it by `launcher.python`, or load it in `launcher.setup`"
    )


class RayNode:
    """`ray start --block` and all that it starts.

    Args:
        job: id; the name of the temporary folder follows from it.
        words: more arguments of `ray start`.
        object_store_gb: shared memory of Ray's object store, GB.
        scratch: where the temporary folder is made; by default where this system has it.
    """

    def __init__(self, job: str, words: list[str], *, object_store_gb: float, scratch: str | None) -> None:
        self._mark = secrets.token_hex(16)
        self._folder = _folder(job, scratch)
        temporary = self._folder / "r"  # Ray opens its own folder to everybody, so it lies in one that is closed
        self._log = self._folder / "ray-start.log"
        command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", *words]
        command += [f"--temp-dir={temporary}", f"--object-store-memory={int(object_store_gb * 1e9)}"]
        command += ["--disable-usage-stats", "--log-color=false"]
        command += [f"--{name}-port=0" for name in ("min-worker", "max-worker", "node-manager", "object-manager")]
        command += [f"--{name}-port=0" for name in ("dashboard-agent-listen", "metrics-export")]
        if "--head" in words:
            command += ["--include-dashboard=false", "--dashboard-host=127.0.0.1"]
        env = {**os.environ, _MARK: self._mark, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
        env.pop("RAY_ADDRESS", None)
        with self._log.open("wb") as log:
            self._process = in_own_session(command, env=env, last=signal.SIGKILL, output=log)

    @property
    def alive(self) -> bool:
        """Whether Ray runs here."""
        return self._process.poll() is None

    def wait_for_port(self, address: str, port: int, stopping: Callable[[], bool]) -> bool:
        """Wait until the head answers; False when it died, took too long, or one was asked to stop."""
        deadline = time.monotonic() + _START_SECONDS
        while self.alive and time.monotonic() < deadline and not stopping():
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
                if probe.connect_ex((address, port)) == 0 and "Ray runtime started" in self.last_words():
                    return True
            time.sleep(0.2)
        return False

    def last_words(self) -> str:
        """The end of what `ray start` printed."""
        with contextlib.suppress(OSError):
            self._words = self._log.read_text(errors="replace")[-2000:]
        return getattr(self, "_words", "")

    def close(self) -> None:
        """End all processes that were started here, and remove the temporary folder."""
        self.last_words()
        if self.alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self._process.kill()  # Ray's own processes die with it, by the kernel
        self._process.wait()
        survivors = _marked(self._mark)
        for process in survivors:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(survivors, timeout=5)  # one that still writes would keep the folder
        shutil.rmtree(self._folder, ignore_errors=True)


def _folder(job: str, scratch: str | None) -> Path:
    """A new folder with a short path, readable by this user alone."""
    for root in (scratch, os.environ.get("SLURM_TMPDIR"), tempfile.gettempdir(), "/tmp"):
        if root and len(root) + len(job) + 14 <= _LONGEST and Path(root).is_dir():
            return Path(tempfile.mkdtemp(prefix=f"ls{job}-", dir=root))
    return Path(tempfile.mkdtemp(prefix="ls-", dir="/tmp"))


def in_own_session(
    command: list[str],
    *,
    env: Mapping[str, str],
    last: signal.Signals,
    cwd: str | None = None,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that signals to this one's group do not reach; it is sent `last` when this one dies (Linux).

    Schedulers signal whole groups: Ray must outlive the driver's clean stop, and the driver be signalled once.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=env,
        cwd=cwd,
        start_new_session=True,
        preexec_fn=None if _LIBC is None else partial(_LIBC.prctl, _PR_SET_PDEATHSIG, int(last)),
    )


def _marked(token: str) -> list[psutil.Process]:
    """Processes of this user that carry the token: those of this node's Ray, never those of another job."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == token:
                processes.append(process)
    return processes
