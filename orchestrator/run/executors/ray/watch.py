"""Whether a Ray lives; Ray itself ends a process whose GCS has been silent for a minute."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time

import grpc
import psutil

__all__ = ["GCS", "Watch", "lives", "uses_tls"]

GCS = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_EACH, _PATIENCE = 2.0, 5.0  # s between two questions, and s for an answer
_SILENT = 30.0  # s without an answer after which the cluster is lost; Ray aborts the process after 60 s


class Watch:
    """Asks a GCS again and again, in a thread of its own, until it is told to end.

    Args:
        address: `host:port` of its GCS.

    Attributes:
        silent: how long it has given no answer, s.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._raylet: psutil.Process | None = None
        self.silent = 0.0
        self._loss = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="landsweep-watch", daemon=True)
        self._thread.start()

    def loss(self) -> str:
        """Why the cluster is lost; empty while it isn't. One that was lost once stays so."""
        if not self._loss and not self.raylet_lives():
            self._loss = "its raylet on this machine has ended"
        if not self._loss and self.silent >= _SILENT:
            self._loss = f"its GCS gave no answer for {self.silent:.0f} s"
        return self._loss

    def watch_raylet(self, socket: str) -> None:
        """From now on the raylet that listens at this path is watched too."""
        self._raylet = _listener(socket) if socket else None

    def raylet_lives(self) -> bool:
        """Whether the raylet on this machine lives; also true where that can't be seen."""
        return self._raylet is None or lives(self._raylet)

    def end(self) -> None:
        """Stop asking."""
        self._over.set()
        self._thread.join(_PATIENCE + _EACH)

    def _ask(self) -> None:
        began = time.monotonic()
        while not self._over.wait(_EACH):
            answers = _answers(self.address)
            began, before = time.monotonic(), began
            # a pause of this process itself (SIGSTOP, a laptop that sleeps) is no silence of the cluster
            self.silent = 0.0 if answers else self.silent + min(began - before, _EACH + _PATIENCE)


def uses_tls() -> bool:
    """Whether Ray speaks TLS here; its certificates are Ray's business."""
    return os.environ.get("RAY_USE_TLS", "0").lower() not in ("0", "false", "")


def _answers(address: str) -> bool:
    """Whether a GCS answers, be it with a refusal; with TLS, whether its port takes connections."""
    if uses_tls():
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
        except OSError:
            return False
        return True
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(GCS)(b"", timeout=_PATIENCE)
        except grpc.RpcError as e:
            return e.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return True


def _listener(path: str) -> psutil.Process | None:
    """The process that listens at a socket of this machine; None where the system doesn't tell."""
    credentials = getattr(socket, "SO_PEERCRED", None)
    if credentials is None:
        return None
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(path)
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, credentials, 12))
        return psutil.Process(pid) if pid > 0 else None
    except (OSError, psutil.Error):
        return None


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; one that nobody has waited for has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
