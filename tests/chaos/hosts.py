"""Hosts with addresses of their own on one machine: network namespaces on a bridge, with Ray on each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Host", "Hosts", "hosts"]

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
_PORT = 6399


class Host:
    """One namespace with one address, and the Ray node in it.

    Args:
        tag: makes names of devices unique.
        number: the last part of the address.
        folder: for Ray's files; short, for sockets lie there.
    """

    def __init__(self, tag: str, number: int, folder: Path) -> None:
        self.name, self.address = f"ls{tag}h{number}", f"10.77.7.{number}"
        self._link, self._folder = f"ls{tag}v{number}", folder
        self._ray: subprocess.Popen[bytes] | None = None

    def make(self, bridge: str) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self._link, "master", bridge, "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")

    def connected(self, *, to_the_others: bool) -> None:
        """Plug the cable in or out."""
        ip("link", "set", self._link, "up" if to_the_others else "down")

    def start_ray(self, head: str | None = None) -> None:
        """A Ray node; `head` is the address of the head, None makes this the head."""
        where = [f"--address={head}:{_PORT}"] if head else ["--head", f"--port={_PORT}", "--include-dashboard=false"]
        options = [f"--node-ip-address={self.address}", "--num-cpus=1", "--block", "--disable-usage-stats"]
        if head is None:
            options.append(f"--temp-dir={self._folder}")
        log = (self._folder.parent / f"{self.name}.log").open("ab")
        self._ray = subprocess.Popen(self.command([*RAY, "start", *where, *options]), stdout=log, stderr=log)
        log.close()

    def wait_for_ray(self) -> int:
        """Until the node has ended by itself; its exit code."""
        assert self._ray is not None
        return self._ray.wait(timeout=180)

    def command(self, words: Sequence[str]) -> list[str]:
        """The command that runs these words on this host."""
        return ["ip", "netns", "exec", self.name, *words]

    def pids(self) -> list[int]:
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def remove(self) -> None:
        """End all its processes, and it."""
        for _ in range(20):
            if not (pids := self.pids()):
                break
            for pid in pids:
                subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
            time.sleep(0.2)
        if self._ray is not None:
            self._ray.wait(timeout=60)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


Hosts = list[Host]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def hosts(number: int, folder: Path) -> Iterator[Hosts]:
    """So many hosts that see each other; all of it is gone afterwards. Skips where that needs more rights."""
    tag = f"{os.getpid() % 100_000:x}"
    bridge, made = f"ls{tag}br", [Host(tag, i + 1, folder) for i in range(number)]
    try:
        ip("link", "add", bridge, "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f"no right to make networks here (root on Linux is needed): {e}")
    try:
        ip("link", "set", bridge, "up")
        for host in made:
            host.make(bridge)
        yield made
    finally:
        for host in made:
            host.remove()
        subprocess.run(["ip", "link", "del", bridge], check=False, capture_output=True)
