"""The process in which a spec is checked that names the user's own code. Started by `check_apart`."""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import select
import signal
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.calling import watch_calls
from landsweep.orchestrator.errors import LandsweepError, SpecError, told
from landsweep.orchestrator.run.forks import end_if_forked, generation
from landsweep.orchestrator.run.leaving import leave
from landsweep.orchestrator.run.messages import WorkerConfig
from landsweep.orchestrator.run.worker import Worker
from landsweep.orchestrator.text import shortened

__all__ = ["main"]

_ORPHAN = 30.0  # s that the process goes on past the limit, if whoever watched it has died
_LONGEST_NAME = 500  # characters of what is called
_LONGEST_ERROR = 2000
_PATIENCE = 2.0  # s, of the whole check, in which processes that were forked off may end or come back
_TICK = 0.02
_NO_MEMORY = "can't allocate memory"  # torch says so on the CPU
_LIBRARIES = (sysconfig.get_path("stdlib"), "site-packages", str(Path(__file__).parents[2]), "<")


def main(notes: int) -> None:
    """Check what is ordered on standard input.

    Args:
        notes: descriptor of the file that gets what is called, and at the end what came of it.
    """
    order = json.loads(sys.stdin.buffer.readline())
    _end_with_the_parent()
    sys.path.extend(place for place in order["path"] if place not in sys.path)
    config = WorkerConfig(**order["config"])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])

    def note(**what: object) -> None:
        if config.check_timeout is not None:
            signal.setitimer(signal.ITIMER_REAL, config.check_timeout + _ORPHAN)
        content = json.dumps(what).encode()
        os.ftruncate(notes, 0)
        os.pwrite(notes, content, 0)

    called = ["the code that the spec names"]
    forks = _Forks(called)

    def listen(what: str) -> None:
        forks.look()
        called.append(shortened(what, _LONGEST_NAME))
        note(calls=called[-1])

    watch_calls(listen, forks.look)
    _check(config, order["device"], note, called)
    leave(0)


class _Forks:
    """Processes that the code forks off: one that comes back from it would do the check a second time, beside this one.

    Args:
        called: what was called so far, the last one last.
    """

    def __init__(self, called: Sequence[str]) -> None:
        self._called, self._generation = called, generation()
        self._new, self._patience = False, _PATIENCE
        self._back = ctypes.c_int.from_buffer(mmap.mmap(-1, ctypes.sizeof(ctypes.c_int)))  # shared with all of them
        os.register_at_fork(after_in_parent=self._begin)

    def _begin(self) -> None:
        self._new = True

    def look(self) -> None:
        """End here what has been forked off; to be called where the code has come back.

        Raises:
            SpecError: in the process of the check, if one of the others has come back.
        """
        if generation() != self._generation:
            self._back.value = len(self._called)
        end_if_forked(self._generation)
        while self._new and not self._back.value and self._patience > 0 and _living_children():
            self._patience -= _TICK
            time.sleep(_TICK)
        self._new = False
        if self._back.value:
            raise SpecError(
                f"{self._called[self._back.value - 1]}: forks off a process (os.fork) that comes back from the call, "
                "so all after it would be done twice. End that process where its work is done, by os._exit(0)"
            )


def _living_children() -> bool:
    with suppress(psutil.Error):
        return any(child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process().children())
    return False


def _end_with_the_parent() -> None:
    """Have the system end this process when standard input closes, whatever it does then; macOS has the alarm only."""
    lifeline = os.dup(sys.stdin.fileno())
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which ends it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it has closed already
        leave(1)


def _check(config: WorkerConfig, device: str, note: Callable[..., None], called: Sequence[str]) -> None:
    try:
        Worker(config, device).check()
    except LandsweepError as e:
        name, text = told(e)
        note(answer={"error": name, "text": text})
    except Exception as e:  # noqa: BLE001 - whatever code of the user's raises
        if isinstance(e.__cause__, SystemExit):
            leave(e.__cause__.code)
        note(answer=_answer(e, called[-1]))
    else:
        note(answer=None)


def _answer(error: Exception, called: str) -> dict[str, str]:
    """What is said of an error that is none of ours: a fault of the user's code if it has led there, or of memory."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not any(part in f.filename for part in _LIBRARIES)]
    if not theirs and not (of_the_machine(error) or _NO_MEMORY in str(error)):
        return {"error": "", "text": traceback.format_exc()}
    where = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    what = shortened("".join(traceback.format_exception_only(error)).strip(), _LONGEST_ERROR)
    return {"error": SpecError.__name__, "text": f"{called}: before the first unit the check met {what}{where}"}


if __name__ == "__main__":
    main(int(sys.argv[1]))
