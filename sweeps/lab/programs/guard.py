"""The guard: a process between a worker and its programs, which lets none of their processes outlive the worker.

It is run as a script by a bare interpreter (`python -I -S guard.py DESCRIPTOR GRACE`), so it imports the standard
library alone. All that a program starts stays below the guard, also what makes itself a daemon: orphans come to it (it
is their subreaper on Linux). When the worker dies, in whatever way, its end of the socket closes, and the guard ends
them all.

Commands are one byte each: S starts a program (with it come the descriptors of its output, then a line of JSON), T
sends SIGTERM to every process below, K kills them. Answers are lines of JSON: `pid` or `error`; `exit` with the wait
status of the program; `empty` when no process is left, and after K in any case.

There are two processes: this one, a child of the worker, only waits for the other, the real guard. Ray kills the
children of a worker that it ends, and the real guard must survive that to do its work.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["Guard", "started_at"]

_DEATH_SIGNAL, _SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
_LINUX = sys.platform.startswith("linux")
_PATIENCE = 10.0  # s; a process that SIGKILL does not end so soon waits for a device or a network disk
_CHECK = 0.01  # s


def started_at(pid: int) -> str:
    """When a process was started, as the kernel counts it: with its id this names it for good; empty: it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


class Guard:
    """Starts programs for one worker, and ends them.

    Args:
        channel: to the worker.
        grace: seconds between SIGTERM and SIGKILL when the worker has died.
    """

    def __init__(self, channel: socket.socket, grace: float) -> None:
        self._channel, self._grace = channel, grace
        self._program: int | None = None
        self._group = 0
        self._woken, waking = os.pipe()
        for end in (self._woken, waking):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: None)  # a handler, not SIG_IGN: programs don't inherit it
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _control(_SUBREAPER, 1)

    def serve(self) -> None:
        """Do what the worker asks, until it closes the channel or dies."""
        while True:
            ready, _, _ = select.select([self._channel.fileno(), self._woken], [], [])
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._reap()
            if self._channel.fileno() in ready and not self._obey():
                return self._end()

    def _obey(self) -> bool:
        """Do one command; False: the worker is gone."""
        try:
            command, descriptors, _, _ = socket.recv_fds(self._channel, 1, 2)
        except OSError:
            return False
        if command == b"S":
            self._start(descriptors)
        elif command == b"T":
            self._signal(signal.SIGTERM)
        elif command == b"K":
            self._kill()
            self._say(empty=True)
        return bool(command)

    def _start(self, descriptors: list[int]) -> None:
        order = json.loads(_line(self._channel))
        reading, writing = os.pipe()
        guard = os.getpid()
        environment = {**order["env"], "LANDSWEEP_GUARD": f"{guard}:{started_at(guard)}"}
        pid = os.fork()
        if pid == 0:
            _become(order["argv"], environment, order["cwd"], descriptors, writing, guard)
        self._program = self._group = pid
        for descriptor in (*descriptors, writing):
            os.close(descriptor)
        problem = os.read(reading, 4096).decode(errors="replace")
        os.close(reading)
        if problem:
            os.waitpid(pid, 0)
            self._program = None
            self._say(error=problem)
        else:
            self._say(pid=pid)

    def _reap(self) -> None:
        """Take in what has ended, and tell of the program and of the last process."""
        ended, left = None, True
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                left = False
                break
            if pid == 0:
                break
            if pid == self._program:
                ended, self._program = status, None
        if ended is not None:
            self._say(exit=ended, empty=not left)
        elif not left:
            self._say(empty=True)

    def _kill(self) -> None:
        until = time.monotonic() + _PATIENCE
        while _children_left() and time.monotonic() < until:
            self._signal(signal.SIGKILL)
            time.sleep(_CHECK)
        self._program = None

    def _end(self) -> None:
        until = time.monotonic() + self._grace
        if _children_left():
            self._signal(signal.SIGTERM)
        while _children_left() and time.monotonic() < until:
            time.sleep(_CHECK)
        self._kill()

    def _signal(self, number: int) -> None:
        """Send a signal to all processes below this one, or, without `/proc`, to the program's group."""
        if not _LINUX:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, number)
        for pid in _below(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _say(self, **answer: object) -> None:
        with suppress(OSError):  # the worker is gone, which the next command shows
            self._channel.sendall(json.dumps(answer).encode() + b"\n")


def _become(
    argv: list[str], environment: dict[str, str], cwd: str, descriptors: list[int], problems: int, guard: int
) -> None:
    """In the child: turn into the program, or say why not."""
    try:
        os.setsid()
        _control(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != guard:  # it died before that was set
            os._exit(1)
        signal.set_wakeup_fd(-1)
        # Python ignores the first two, a shell the third of what runs in the background; programs would inherit that.
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGQUIT):
            signal.signal(ignored, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for standard, descriptor in enumerate(descriptors, start=1):
            os.dup2(descriptor, standard)
        os.closerange(3, problems)
        os.closerange(problems + 1, 256)
        os.chdir(cwd)
        os.execvpe(argv[0], argv, environment)
    except (OSError, ValueError) as e:
        os.write(problems, f"{type(e).__name__}: {e}".encode())
    finally:
        os._exit(127)


def _control(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _children_left() -> bool:
    """Whether any process below this one lives; those that have ended are taken in."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _below(root: int) -> list[int]:
    """All processes below one, as `/proc` has them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir() if _LINUX else ():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    below: list[int] = []
    turn = list(children.get(root, ()))
    while turn:
        pid = turn.pop()
        below.append(pid)
        turn += children.get(pid, ())
    return below


def _line(channel: socket.socket) -> bytes:
    """A line from the worker, which sends nothing else before it has an answer."""
    line = b""
    while not line.endswith(b"\n"):
        if not (part := channel.recv(65536)):
            break
        line += part
    return line


def _main() -> None:
    descriptor, grace = int(sys.argv[1]), float(sys.argv[2])
    os.set_inheritable(descriptor, False)
    if (guard := os.fork()) != 0:
        os.close(descriptor)
        os.waitpid(guard, 0)
        return
    os.setsid()
    Guard(socket.socket(fileno=descriptor), grace).serve()


if __name__ == "__main__":
    _main()
