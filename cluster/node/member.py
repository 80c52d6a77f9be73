"""One node of a Ray cluster that lives as long as a job: `python -m landsweep.cluster.node.member LAUNCH ROLE`.

The head starts Ray, tells the others its address through a file beside the results, and runs the driver; workers join
and stay until the head has ended. With the role `elect`, nodes that come and go one by one (a job array) settle
between them who leads: whoever gets the lock of the job's folder, again each time that the leader has gone.

SIGTERM, or the stop file that the batch script makes before the time limit, lets the driver end cleanly (exit code 3).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from landsweep.cluster.launch import LAUNCH_FILE, Launch
from landsweep.cluster.node.addresses import free_port, own_address
from landsweep.cluster.node.driver import load_launch
from landsweep.cluster.node.node import RayNode, in_own_session, versions_differ
from landsweep.cluster.node.programs import DRIVER, MEMBER
from landsweep.orchestrator.errors import LandsweepError, SweepLocked, UsageError
from landsweep.orchestrator.storage.ledger.lock import DriverLock
from landsweep.orchestrator.storage.readers import object_or_none
from landsweep.orchestrator.storage.store import Store

__all__ = ["JobNode", "main"]

_HEAD = "head.json"
_LOOK_SECONDS = 1.0
_ASK_SECONDS = 5.0  # how often a worker looks whether the head has ended
_MOST_STARTS = 5  # of Ray on one node, or of the driver, in a row that came to nothing
_SHORT = 60.0  # s; what lived longer has worked
_STOPPED = 3  # exit code
_PATIENCE = 60.0  # s, for a driver that was asked to stop; then its rows are what it has committed


class JobNode:
    """This node's part in a job.

    Args:
        launch: what was submitted.
        job: id, the same on all nodes; ports and folders follow from it.
        options: of Ray on this node.
        stop_file: asks for a clean end when it appears.
    """

    def __init__(self, launch: Launch, job: str, options: argparse.Namespace) -> None:
        self._launch, self._job, self._options = launch, job, options
        self._store = Store.at(launch.rendezvous)
        self._stop = threading.Event()
        self._failures = 0  # to join, in a row
        self._stop_file = Path(options.stop_file) if options.stop_file else None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())

    @property
    def stopping(self) -> bool:
        """Whether this node was asked to end."""
        if self._stop_file is not None and self._stop_file.exists():
            self._stop.set()
        return self._stop.is_set()

    def elect(self) -> int:
        """Lead or follow, in turns, until the sweep has ended; gives the exit code."""
        while not self.stopping:
            if "ended" in (head := self._head()):
                return int(head["ended"])
            try:
                lock = DriverLock.take(self._store)
            except SweepLocked:
                self._join()
                continue
            try:
                code = self.lead()
                if code != _STOPPED:
                    self._announce({"ended": code})
                return code
            finally:
                lock.release()
        return _STOPPED

    def head(self) -> int:
        """Lead; whatever happens, the workers hear that it has ended."""
        code = 1
        try:
            code = self.lead()
            return code
        finally:
            self._announce({"ended": code})

    def worker(self) -> int:
        """Follow until the head has ended."""
        while not self.stopping and "ended" not in self._head():
            self._join()
        return 0

    def lead(self) -> int:
        """Start Ray's head and the driver; gives the driver's exit code."""
        address = own_address(self._options.network)
        self._store.delete(_HEAD)
        attempt = 0
        while attempt < _MOST_STARTS:
            port, client = (free_port(self._job, address, skip=2 * attempt + i) for i in range(2))
            ports = [f"--port={port}", f"--ray-client-server-port={client}"]  # Ray's head always serves clients
            node = self._node(["--head", f"--node-ip-address={address}", *ports])
            try:
                up = node.wait_for_port(address, port, lambda: self.stopping)
                began = time.monotonic()
                code = self._serve(node, f"{address}:{port}") if up else None
            finally:
                node.close()
            if code is not None:
                return code
            if self.stopping:
                return _STOPPED
            attempt = 1 if up and time.monotonic() - began > _SHORT else attempt + 1
            _log(f"Ray's head at {address}:{port} died; the sweep resumes from its rows")
            _log(node.last_words())
        _log(f"gave up after {_MOST_STARTS} starts of Ray's head")
        return 1

    def _serve(self, node: RayNode, address: str) -> int | None:
        """Let the workers know, and run the driver, again when something kills it; None when Ray's head died."""
        self._announce({"address": address})
        _log(f"head at {address} on {socket.gethostname()}")
        deaths = 0
        try:
            while True:
                began = time.monotonic()
                code = self._drive(node, address)
                if code is None or code >= 0 or self.stopping:
                    return _STOPPED if code is not None and code < 0 else code
                deaths = deaths + 1 if time.monotonic() - began < _SHORT else 1
                if deaths >= _MOST_STARTS:
                    return 128 - code
                _log(f"signal {-code} killed the driver; a new one resumes from its rows")
        finally:
            self._store.delete(_HEAD)

    def _join(self) -> None:
        """Be a worker of the present head, if there is one, as long as it is there.

        Raises:
            UsageError: this node fails to join, again and again.
        """
        head = self._head()
        if "address" not in head:
            self._stop.wait(_LOOK_SECONDS)
            return
        began = time.monotonic()
        node = self._node([f"--address={head['address']}"])
        try:
            while node.alive and not self.stopping and self._head() == head:
                self._stop.wait(_ASK_SECONDS if time.monotonic() - began > _ASK_SECONDS else _LOOK_SECONDS)
            broken = not node.alive and time.monotonic() - began < _SHORT and self._head() == head
        finally:
            node.close()
        self._failures = self._failures + 1 if broken else 0
        if self._failures >= _MOST_STARTS:
            raise UsageError(f"{socket.gethostname()} could not join {head['address']}:\n{node.last_words()}")

    def _drive(self, node: RayNode, address: str) -> int | None:
        """Run the driver beside a living head; gives its exit code, negative for a signal. None: the head died."""
        env = {**os.environ, "RAY_ADDRESS": address, "PYTHONUNBUFFERED": "1"}
        launch = f"{self._launch.home}/{LAUNCH_FILE}"
        where = self._launch.cwd if Path(self._launch.cwd).is_dir() else None
        command = [sys.executable, *DRIVER, launch]
        driver = in_own_session(command, env=env, cwd=where, last=signal.SIGTERM)
        asked: float | None = None
        while (code := driver.poll()) is None:
            if self.stopping and asked is None:
                driver.terminate()
                asked = time.monotonic()
            if (not node.alive and asked is None) or (asked is not None and time.monotonic() - asked > _PATIENCE):
                driver.kill()
                driver.wait()
                return None if asked is None else _STOPPED
            time.sleep(_LOOK_SECONDS / 5)
        return code

    def _node(self, words: list[str]) -> RayNode:
        o = self._options
        if o.cpus:
            words = [*words, f"--num-cpus={o.cpus}"]
        if o.gpus is not None:
            words = [*words, f"--num-gpus={o.gpus}"]
        return RayNode(self._job, words, object_store_gb=o.object_store_gb, scratch=o.scratch)

    def _head(self) -> dict[str, str | int]:
        """What the head has noted; of an earlier job, or of an earlier start of this one, nothing counts."""
        try:
            head = object_or_none(self._store.read(_HEAD)) or {}
        except FileNotFoundError:
            return {}
        return head if head.get("job") == self._job else {}

    def _announce(self, what: dict[str, str | int]) -> None:
        self._store.replace(_HEAD, json.dumps({**what, "job": self._job}).encode())


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> NoReturn:
    """Be one node of a job."""
    parser = argparse.ArgumentParser(prog=f"python {shlex.join(MEMBER)}", description=__doc__.partition("\n")[0])
    parser.add_argument("launch", help="launch.json")
    parser.add_argument("role", choices=["head", "worker", "elect"])
    parser.add_argument("--job", required=True, help="id of this start of the job, the same on all its nodes")
    parser.add_argument("--cpus", type=int)
    parser.add_argument("--gpus", type=int)
    parser.add_argument("--network", help="interface or range of addresses on which nodes meet")
    parser.add_argument("--object-store-gb", type=float, default=1.0)
    parser.add_argument("--scratch", help="node-local folder for Ray's temporary files")
    parser.add_argument("--stop-file")
    options = parser.parse_args()
    try:
        launch = load_launch(options.launch)
        if differ := versions_differ(launch.versions):
            raise UsageError(differ)
        member = JobNode(launch, options.job, options)
        code = {"head": member.head, "worker": member.worker, "elect": member.elect}[options.role]()
    except LandsweepError as e:
        _log(f"error: {e}")
        sys.exit(e.exit_code)
    sys.exit(code)


if __name__ == "__main__":
    main()
