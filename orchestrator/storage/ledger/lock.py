"""The driver's lock: one file per epoch, made by conditional create, kept alive by a heartbeat.

`lock/000003.json` belongs to the third holder. The highest epoch holds the sweep until a higher one appears. A release
marks the file and leaves it: epochs must never restart, or a paused driver could mistake an old file for its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from landsweep.orchestrator.errors import LandsweepError, StorageError, SweepLocked, TakenOver, Unreachable, UsageError
from landsweep.orchestrator.pid_namespace import pid_namespace
from landsweep.orchestrator.redaction import command_line
from landsweep.orchestrator.storage.readers import object_or_none
from landsweep.orchestrator.storage.store import Store

__all__ = ["DriverLock", "Holder", "driver_here", "driver_lives"]

_FOLDER = "lock"
_BEAT_SECONDS = 1.0
_LAST = 10**15 - 1  # the highest epoch
_LOOKS, _PAUSE_SECONDS = 30, 0.1  # tries to read a file that is listed but not there yet


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, identified so exactly that no other can be mistaken for it.

    Attributes:
        host: its name.
        boot: changes with each start of the machine.
        space: namespace of process ids: containers of one machine have their own.
        pid: in that namespace.
        started: start time of the process, in units of the platform; process ids are reused.
    """

    host: str
    boot: str
    space: str
    pid: int
    started: float

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), pid_namespace(), pid, _started(pid))

    def near(self, other: Holder) -> bool:
        """Whether the other process can look this process up by its id."""
        return (self.host, self.boot, self.space) == (other.host, other.boot, other.space)

    def alive(self) -> bool:
        """Whether the process still runs; only for processes that are `near`."""
        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE and _started(self.pid) == self.started
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return False
        except (psutil.AccessDenied, PermissionError):
            return True


class DriverLock:
    """Held while one driver writes a sweep. Make one with `DriverLock.take`."""

    def __init__(self, store: Store, epoch: int, content: dict[str, Any], beat: float) -> None:
        self.epoch = epoch
        self.token: str = content["token"]
        self._store = store
        self._content = content
        self._lost: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, args=(beat,), name="landsweep-lock", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, store: Store, *, holder: Holder | None = None, stale: float = 15.0, beat: float = 2.0) -> DriverLock:
        """Become the driver of a sweep.

        A holder on this machine is looked up by its process id. A holder on another machine counts as dead when its
        heartbeat has not changed for `stale` seconds of our clock; clocks are never compared.

        Args:
            store: of the sweep.
            holder: this process, if not given.
            stale: seconds.
            beat: seconds between heartbeats.

        Raises:
            SweepLocked: another driver is alive.
            UsageError: the highest epoch has no successor.
            StorageError: the lock can't be written.
        """
        me = holder or Holder.me()
        looks = _LOOKS
        while True:
            epoch, raw = _highest(store)
            if epoch >= _LAST:
                raise UsageError(
                    f"{store.where}/{_path(epoch)} was written by no driver, and no number follows on this one: "
                    "make sure that no driver runs, and remove the file"
                )
            if raw is not None:
                _wait_for_death(store, epoch, raw, me, stale)
            content = asdict(me) | {
                "token": secrets.token_hex(4),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": " ".join(command_line())[:500],
                "beat": 0,
                "released": False,
            }
            data = json.dumps(content).encode()
            # If the answer to a create is lost, the client tries again and then finds our own file.
            if not store.create(_path(epoch + 1), data) and (theirs := _read(store, epoch + 1)) != data:
                looks -= theirs is None
                if not looks:
                    raise UsageError(
                        f"{store.where}/{_path(epoch + 1)} is no file, such as a link to nothing: remove it"
                    )
                continue
            epochs = sorted(_epoch(name) for name, _ in store.list(_FOLDER))
            if max(epochs, default=0) > epoch + 1:  # we were paused, and others have come and gone
                store.delete(_path(epoch + 1))
                continue
            store.under_way = True
            lock = cls(store, epoch + 1, content, beat)
            try:
                for old in epochs:
                    if 0 < old <= epoch:
                        lock.check()
                        store.delete(_path(old))
            except BaseException:
                lock.release()
                raise
            return lock

    def check(self) -> None:
        """Make sure that nobody has taken over; called right before each commit.

        Raises:
            TakenOver: another driver has, or the lock was removed.
        """
        if self._lost is None:
            epoch, raw = _highest(self._store)
            if epoch > self.epoch:
                self._lost = f"{_who(raw or b'{}')} has taken over {self._store.where}"
            elif raw is None or _parse(raw).get("token") != self.token:
                self._lost = f"the lock of {self._store.where} was removed while this driver ran"
        if self._lost is not None:
            raise TakenOver(f"{self._lost}; this driver stops and writes no more. Committed rows are safe.")

    def release(self) -> None:
        """Let others drive. A failure to write that is ignored: a lock without heartbeat goes stale."""
        self._stop.set()
        self._thread.join(_BEAT_SECONDS)  # one that waits for a silent store dies with this process
        if self._lost is None:
            with contextlib.suppress(LandsweepError, FileNotFoundError):
                self.check()
                self._store.replace(_path(self.epoch), json.dumps(self._content | {"released": True}).encode())

    def _keep_alive(self, beat: float) -> None:
        while not self._stop.wait(beat):
            # A full disk stops the heartbeat, not the thread: the next commit says what is wrong.
            with contextlib.suppress(StorageError, LandsweepError, OSError):
                try:
                    self.check()
                except TakenOver:
                    return
                self._content["beat"] += 1
                self._store.replace(_path(self.epoch), json.dumps(self._content).encode())


def driver_here(store: Store) -> Holder | None:
    """The process on this machine that drives the sweep now; None: there is none, or it is elsewhere."""
    _, raw = _highest(store)
    holder = None if raw is None or _parse(raw).get("released") else _holder(_parse(raw))
    return holder if holder is not None and holder.near(Holder.me()) and holder.alive() else None


def driver_lives(store: Store) -> bool | None:
    """Whether a driver works on the sweep now; None: it is on another machine, only its heartbeat can tell."""
    _, raw = _highest(store)
    content = {"released": True} if raw is None else _parse(raw)
    if content.get("released"):
        return False
    holder = _holder(content)
    return holder.alive() if holder is not None and holder.near(Holder.me()) else None


def _wait_for_death(store: Store, epoch: int, raw: bytes, me: Holder, stale: float) -> None:
    """Return when the holder of the highest epoch has released it or is dead, or has a successor."""
    content = _parse(raw)
    if content.get("released"):
        return
    holder = _holder(content)
    if holder is not None and holder.near(me):
        if not holder.alive():
            return
        raise _locked(store, raw, _suspended(holder))
    end = time.monotonic() + stale
    while time.monotonic() < end:
        time.sleep(min(0.5, stale / 20))
        now_epoch, now = _highest(store)
        if now_epoch != epoch:
            return
        if now is not None and now != raw:
            if _parse(now).get("released"):
                return
            raise _locked(store, now, "")


def _locked(store: Store, raw: bytes, hint: str) -> SweepLocked:
    return SweepLocked(
        f"{store.where} is being worked on by {_who(raw)}.{hint} "
        f"Watch it with `landsweep status {shlex.quote(store.where)}`, or stop it first: its rows are kept."
    )


def _suspended(holder: Holder) -> str:
    with contextlib.suppress(psutil.Error):
        if psutil.Process(holder.pid).status() == psutil.STATUS_STOPPED:
            return " That process is suspended (Ctrl-Z): continue it with `fg`, or kill it."
    return ""


def _who(raw: bytes) -> str:
    c = _parse(raw)
    return f"process {c.get('pid', '?')} on {c.get('host', 'an unknown host')} since {c.get('since', '?')}"


def _parse(raw: bytes) -> dict[str, Any]:
    # one that was torn by a power failure: nothing is known of the holder, so its heartbeat is watched
    return object_or_none(raw) or {}


def _holder(content: dict[str, Any]) -> Holder | None:
    host, boot, space, pid, started = (content.get(k) for k in ("host", "boot", "space", "pid", "started"))
    if not (isinstance(host, str) and isinstance(boot, str) and isinstance(space, str)):
        return None
    if not (isinstance(pid, int) and 0 < pid < 2**31 and isinstance(started, int | float)):
        return None
    return Holder(host, boot, space, pid, started)


def _path(epoch: int) -> str:
    return f"{_FOLDER}/{epoch:06d}.json"


def _epoch(name: str) -> int:
    stem = name.removesuffix(".json")
    return int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 16 else 0


def _read(store: Store, epoch: int) -> bytes | None:
    try:
        return store.read(_path(epoch))
    except FileNotFoundError:
        return None


def _highest(store: Store) -> tuple[int, bytes | None]:
    """The highest epoch and what its file holds; 0 and None where there is none.

    Raises:
        StorageError, Unreachable: a file is listed again and again, and not there when it is read.
    """
    looks = _LOOKS
    while True:
        epoch = max((_epoch(name) for name, _ in store.list(_FOLDER)), default=0)
        if epoch == 0:
            return 0, None
        try:
            return epoch, store.read(_path(epoch))
        except FileNotFoundError:  # a later driver has removed it meanwhile
            looks -= 1
        if not looks:
            raise (StorageError if store.under_way else Unreachable)(
                f"{store.where} lists {_path(epoch)}, but does not find it. All rows committed before are safe; the "
                "same command goes on once the storage works again"
            )
        time.sleep(_PAUSE_SECONDS)


def _boot() -> str:
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else str(int(psutil.boot_time()))


def _started(pid: int) -> float:
    """Start of a process; on Linux in ticks since boot, which a change of the clock does not move."""
    file = Path(f"/proc/{pid}/stat")
    if sys.platform == "linux":
        return float(file.read_text().rsplit(")", 1)[1].split()[19])
    return float(psutil.Process(pid).create_time())
