"""A gang of processes on this machine, which compute one unit together."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from landsweep.orchestrator.errors import UsageError, remade
from landsweep.orchestrator.kind import Gang
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Event, Finished, Gave, Lost, Refused
from landsweep.orchestrator.run.freed_memory import KEEP_FREED_MEMORY
from landsweep.orchestrator.run.messages import Chunk, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard

__all__ = ["ProcessGang"]

_HOST = "127.0.0.1"
_MEMBER = "landsweep.orchestrator.run.executors.member"


class ProcessGang:
    """Members that live and die together: when one ends, all do, and what they computed is lost.

    Args:
        config: what they compute.
        devices: of the members, a name for each.
        timeout: they give up waiting for each other after this long, s.

    Attributes:
        ended: whether it can take no more work.
        failure: why it never came to life; empty: it did, or is about to.
    """

    def __init__(self, config: WorkerConfig, devices: Sequence[str], timeout: float) -> None:
        self.size = len(devices)
        self.ended, self.failure = False, ""
        self._opened = False
        self._work: Shard | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._members: list[Connection] = []
        with socket.create_server((_HOST, 0)) as listener:
            port, secret = listener.getsockname()[1], secrets.token_bytes()
            for rank, device in enumerate(devices):
                heard = listener.fileno() if rank == 0 else -1
                gang = Gang(rank, self.size, _HOST, port, timeout, secret, heard)
                self._processes.append(self._start(config, gang))
                with suppress(OSError):  # it died at once, which the first poll says
                    self._members[rank].send((config, gang, device))

    def _start(self, config: WorkerConfig, gang: Gang) -> subprocess.Popen[bytes]:
        ours, theirs = socket.socketpair()
        self._members.append(Connection(ours.detach()))
        with theirs:
            inherited = [theirs.fileno(), *([gang.listener] if gang.rank == 0 else [])]
            command = [sys.executable, "-P", "-m", _MEMBER, str(theirs.fileno())]
            environment = {**KEEP_FREED_MEMORY, **os.environ, "OMP_NUM_THREADS": str(config.threads)}
            return subprocess.Popen(command, pass_fds=inherited, env=environment)

    @property
    def busy(self) -> bool:
        """Whether it computes."""
        return self._work is not None

    @property
    def pids(self) -> list[int]:
        """Of the members, the first one first."""
        return [process.pid for process in self._processes]

    def start(self, work: Shard) -> None:
        """Begin a work."""
        self._work = work
        self._tell("work", work)

    def stop(self, key: str) -> None:
        """Ask the running unit with this key to end early."""
        self._tell("stop", key)

    def poll(self, timeout: float) -> list[Event]:
        """Events of the running work; waits up to `timeout` seconds for the first."""
        events: list[Event] = []
        held: list[Event] = []  # said of another member's end, whose own words say more
        ready = wait(self._members, timeout)
        for rank, member in enumerate(self._members):  # the first member's own words count before another's end
            if member not in ready or self._work is None:
                continue
            try:
                word, value, *more = member.recv()
            except (EOFError, OSError):
                return [*events, *self._lost(Cause.infra, self._end_of(rank))]
            if word == "failed":
                return [*events, *self._lost(value, f"member {rank} of {self.size}: {more[0]}")]
            if word == "opened":
                self._opened = True
            elif word == "gave":
                (held if _lost_another(value) else events).append(Gave(self._work.id, value))
                self.ended |= isinstance(value, Chunk) and value.broken
            else:
                finished = word == "finished"
                events.append(Finished(self._work.id, value) if finished else Refused(self._work.id, _refusal(value)))
                self.ended |= rank > 0
                self._work = None
        return [*events, *held]

    def close(self) -> None:
        """End all members."""
        self.ended = True
        for process in self._processes:
            process.kill()
        for process, member in zip(self._processes, self._members, strict=True):
            process.wait()
            member.close()
        self._processes, self._members, self._work = [], [], None

    def _tell(self, word: str, value: object) -> None:
        with suppress(OSError):  # it has died, which the next poll says
            self._members[0].send((word, value))

    def _lost(self, cause: Cause, why: str) -> list[Event]:
        lost: list[Event] = [] if self._work is None else [Lost(self._work.id, cause, why, began=self._opened)]
        self.failure = "" if self._opened else why
        self.close()
        return lost

    def _end_of(self, rank: int) -> str:
        code = self._processes[rank].wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return f"member {rank} of a gang of {self.size} processes {how}"


def _lost_another(message: object) -> bool:
    """Whether the first member says that the unit has failed for what may be the end of another member."""
    if not (isinstance(message, Chunk) and message.broken and message.rows is not None):
        return False
    return Cause.infra in message.rows.column("cause").to_pylist()


def _refusal(words: tuple[str, str]) -> UsageError:
    error = remade(*words)
    return error if isinstance(error, UsageError) else UsageError(str(error))
