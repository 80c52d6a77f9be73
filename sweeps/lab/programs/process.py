"""A program that runs: started through the guard, followed, ended with all that it has started."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from landsweep.sweeps.lab.programs import guard
from landsweep.sweeps.lab.programs.output import Kept

__all__ = ["CantStart", "GuardDied", "Launcher", "Running"]

_CHUNK = 1 << 16  # bytes
_DEAD = "the process that guards the program was killed, and the program with it"
_KILLED = 15.0  # s; the guard answers sooner, also where a process can't be killed


class CantStart(Exception):
    """The program can't be started: it is not there, or not executable."""


class GuardDied(Exception):
    """The guard was killed, and the program with it."""


class Launcher:
    """Starts programs, one at a time, through a guard of its own.

    Args:
        grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, out: Kept, err: Kept) -> Running:
        """Start a program; what it prints is kept.

        Raises:
            CantStart: it can't be.
            GuardDied: the guard was killed at this moment.
        """
        channel = self._guarded()
        pipes = [os.pipe() for _ in range(2)]
        reading = [end for end, _ in pipes]
        writing = [end for _, end in pipes]
        order = json.dumps({"argv": list(argv), "env": dict(env), "cwd": str(cwd)}).encode() + b"\n"
        running = Running(channel, reading, (out, err), self._grace, self._kill_guard)
        try:
            socket.send_fds(channel, [b"S"], writing)
            channel.sendall(order)
            running.begin()
        except CantStart:
            running.close()
            raise
        except (OSError, GuardDied) as e:
            running.close()
            raise GuardDied(_DEAD) from e
        finally:
            for end in writing:
                os.close(end)
        return running

    def _guarded(self) -> socket.socket:
        """The channel to a guard that lives."""
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-S", guard.__file__, str(theirs.fileno()), str(min(self._grace, 5.0))]
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing
        )
        theirs.close()
        weakref.finalize(self, _end_guard, ours, process)
        self._channel, self._process = ours, process
        return ours

    def _kill_guard(self) -> None:
        """For one that does not answer, such as one that a program has stopped; the next program gets another."""
        if self._process is not None:
            with suppress(psutil.Error):
                for process in psutil.Process(self._process.pid).children(recursive=True):
                    with suppress(psutil.Error):
                        process.kill()
        self._channel = None


def _end_guard(channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
    channel.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILLED)


class Running:
    """A program from its start to the end of all its processes.

    Args:
        channel: to the guard.
        pipes: descriptors from which its standard output and error are read; closed at the end.
        kept: where these go.
        grace: seconds between SIGTERM and SIGKILL.
        kill_guard: ends a guard that does not answer, with all that is below it.

    Attributes:
        status: the program's exit code, negative for a signal; None while it runs.
        left: processes that it has started were still there when it ended.
    """

    def __init__(
        self,
        channel: socket.socket,
        pipes: Sequence[int],
        kept: tuple[Kept, Kept],
        grace: float,
        kill_guard: Callable[[], None],
    ) -> None:
        self._channel, self._grace, self._kill_guard = channel, grace, kill_guard
        self._answers = b""
        self._empty = self._begun = self._closed = False
        self.status: int | None = None
        self.left = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)
        self._pipes = dict(zip(pipes, kept, strict=True))
        for pipe in pipes:
            os.set_blocking(pipe, False)
            self._selector.register(pipe, selectors.EVENT_READ)

    def begin(self) -> None:
        """Wait until it is known whether the program could be started.

        Raises:
            CantStart: it could not.
            GuardDied: the guard was killed.
        """
        while not self._begun:
            for answer in self._heard(block=True):  # the first ones may still be of the program before
                if "error" in answer:
                    raise CantStart(answer["error"])
                if self._begun:
                    self._take(answer)
                self._begun = self._begun or "pid" in answer

    def wait(self, seconds: float) -> bool:
        """Take in what comes, for at most this long; gives whether the program still runs.

        Raises:
            GuardDied: the guard was killed.
        """
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._channel:
                for answer in self._heard():
                    self._take(answer)
            else:
                self._read(int(key.fd))
        return self.status is None

    def end(self, *, at_once: bool = False) -> None:
        """End the program with all its processes: SIGTERM, and SIGKILL after the grace period.

        Raises:
            GuardDied: the guard was killed.
        """
        steps = [(b"T", self._grace), (b"K", _KILLED)]
        for command, seconds in steps[1:] if at_once else steps:
            if not self._empty:
                self._order(command)
                self._wait_until_empty(seconds)
        if not self._empty:
            self._kill_guard()
            self._empty = True
        if self.status is None:
            self.status = -signal.SIGKILL

    def close(self) -> None:
        """End whatever is left, and take in the last of what was printed; once."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._begun and not self._empty:
                self.left = self.status is not None
                self.end(at_once=self.status is None)
        finally:
            for pipe in list(self._pipes):
                while self._read(pipe):
                    pass
                self._drop(pipe)
            self._selector.close()

    def _wait_until_empty(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._empty and (left := until - time.monotonic()) > 0:
            self.wait(left)

    def _order(self, command: bytes) -> None:
        try:
            self._channel.sendall(command)
        except OSError as e:
            raise GuardDied(_DEAD) from e

    def _take(self, answer: Mapping[str, Any]) -> None:
        if "exit" in answer:
            self.status = os.waitstatus_to_exitcode(answer["exit"])
        self._empty = bool(answer.get("empty", self._empty))

    def _heard(self, *, block: bool = False) -> list[dict[str, Any]]:
        try:
            part = self._channel.recv(_CHUNK, 0 if block else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as e:
            raise GuardDied(_DEAD) from e
        if not part:
            raise GuardDied(_DEAD)
        *lines, self._answers = (self._answers + part).split(b"\n")
        return [json.loads(line) for line in lines]

    def _read(self, pipe: int) -> bool:
        """Keep what a pipe holds now; gives whether there may be more."""
        if pipe not in self._pipes:
            return False
        try:
            data = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._pipes[pipe].write(data)
        else:
            self._drop(pipe)
        return bool(data)

    def _drop(self, pipe: int) -> None:
        if self._pipes.pop(pipe, None) is not None:
            self._selector.unregister(pipe)
            os.close(pipe)
