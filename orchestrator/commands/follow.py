"""Tracking while a sweep runs, from a process of its own that reads what the driver writes anyway.

The driver starts the process and tells it nothing but how the run has ended, so nothing waits in a queue: a slow store
is shown the state less often, and each time the whole of it. If the process hangs, fails or is killed, the driver goes
on and prints a line. If the driver is killed, the process shows that and ends.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

from landsweep.orchestrator.commands.display import state
from landsweep.orchestrator.commands.tracked import beside, live_view
from landsweep.orchestrator.errors import LandsweepError, StorageError, Unreachable
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.run.progress import Companion, Snapshot, Watch
from landsweep.orchestrator.run.sweep import ledger_at, open_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.ledger import Ledger
from landsweep.orchestrator.storage.store import Store, is_url
from landsweep.orchestrator.tracking.tracker import State, failure, show_in_time, tracker_of

__all__ = ["Follower", "Lifeline", "RemoteRun", "RunEnd", "follow", "main"]

_GRACE = 10.0  # s: a sweep that ends sooner is shown at its end alone
_LISTEN = 1.0  # s between looks at what the process says
_LEAVE = 5.0  # s for the process to end once the run has; it is killed if the driver shows the end itself
_REST = 20.0  # a look is followed by a pause of at least this many times its length
_TICK = 1.0  # s between looks at whether the driver lives
_REMOTE_TICK = 5.0  # s between looks at a status file that may lie in an object store
_NICE = 10


class Follower(Companion):
    """A watch of a run that also has the run followed in a tracking store; the driver's side.

    Args:
        watch: is shown all that this one is.
        site: names the store and says how often it is brought up to date.
        where: results folder, a path or URL.
        own: the results are this user's own or trusted.
    """

    def __init__(self, watch: Watch, site: Site, where: str, *, own: bool) -> None:
        super().__init__(watch)
        self._wanted = site.tracking is not False and site.tracking_seconds > 0
        place = where if is_url(where) else str(Path(where).absolute())
        self._settings = {"where": place, "every": site.tracking_seconds, "most": site.child_runs, "trust": own}
        self._uri, self._folder = site.tracking, Path.cwd()
        self._timer = threading.Timer(min(_GRACE, site.tracking_seconds), self._start)
        self._timer.daemon = True
        # As it is now: a unit of a local run could change it before the process starts.
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._listened = 0.0
        self._problem = ""

    def __enter__(self) -> Self:
        if self._wanted:
            self._timer.start()  # a thread, because the local executor leaves nobody time while a unit runs
        return self

    def look(self, snapshot: Snapshot) -> None:
        """Pass on what the process that follows the run says."""
        del snapshot
        if self._wanted and time.monotonic() - self._listened >= _LISTEN:
            self._listen()

    def end(self, how: str) -> None:
        """Say to the process how the run has ended, and give it a moment to end too."""
        self._timer.cancel()
        with self._starting:
            self._wanted = False
            process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.write(f"{how}\n".encode())
            process.stdin.close()
        try:
            process.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            if how == "done":  # the driver shows the end itself; otherwise it goes on until the store has it
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _start(self) -> None:
        with self._starting:
            if self._wanted:
                self._spawn()

    def _spawn(self) -> None:
        settings = {**self._settings, "uri": self._uri or beside(str(self._settings["where"]), True, "")}
        words = [sys.executable, "-P", "-c", f"from {__name__} import main; main()"]
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                cwd=self._folder, start_new_session=True, env=self._environment,
            )  # fmt: skip
            if process.stdin is not None and process.stdout is not None:
                os.set_blocking(process.stdout.fileno(), False)
                process.stdin.write(f"{json.dumps(settings)}\n".encode())  # not as words: a URI may hold a password
                process.stdin.flush()
            self._process = process
        except OSError as e:
            self._problem = f"no process could be started ({e})"

    def _listen(self) -> None:
        self._listened, process = time.monotonic(), self._process
        ended = process is not None and process.poll() is not None
        text = b"" if process is None or process.stdout is None else process.stdout.read() or b""
        for line in text.decode(errors="replace").splitlines():
            self.say(line)
        if ended or self._problem:
            self._wanted = False
            if not text:
                why = self._problem or "the process that followed it has ended"
                self.say(f"tracking shows this sweep at its end only: {why}")


class RunEnd(Protocol):
    """Tells a process that follows a run how that has ended."""

    def wait(self, seconds: float) -> str | None:
        """How the run has ended, as soon as it has; None after this many seconds while it goes on."""


class Lifeline:
    """Standard input from the driver: the word that it leaves, or its end without one."""

    def __init__(self) -> None:
        self._parent = os.getppid()

    def begun(self, where: str) -> bool:
        """Wait until the driver works on the sweep; False: it has ended first, so there is nothing to follow."""
        store = Store.at(where)
        while not (Ledger.exists(store) and state(Ledger.open(store))["running"]):
            if self.wait(_TICK) is not None:
                return False
        return True

    def settings(self) -> dict[str, Any]:
        """What the driver says at the start."""
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as unbuffered:
            settings: dict[str, Any] = json.loads(unbuffered.readline())
        return settings

    def wait(self, seconds: float) -> str | None:
        """See `RunEnd.wait`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], min(left, _TICK))[0]:
                return os.read(sys.stdin.fileno(), 64).decode().strip()
            if os.getppid() != self._parent:
                return ""
        return None


class RemoteRun:
    """A run that another process drives, perhaps on another machine: its status file tells.

    Args:
        where: its results folder, a path or URL.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def wait(self, seconds: float) -> str | None:
        """See `RunEnd.wait`; whoever drives the run shows nothing here, so its end is never `done`.

        Results that can't be reached say nothing about the run, so it is taken to go on.
        """
        end = time.monotonic() + seconds
        while True:
            with suppress(Unreachable, StorageError, OSError):
                if not state(ledger_at(self._where))["running"]:
                    return "stopped"
            if (left := end - time.monotonic()) <= 0:
                return None
            time.sleep(min(left, _REMOTE_TICK))


def follow(
    where: str,
    uri: str,
    *,
    every: float,
    most: int,
    trust: bool,
    say: Callable[[str], None],
    run_end: RunEnd,
    experiment: str | None = None,
) -> str:
    """Keep a tracking store up to date with a sweep until its run has ended.

    Args:
        where: results folder, a path or URL.
        uri: of the store.
        every: seconds between two looks; more where a look takes long.
        most: units with a run of their own.
        trust: the sweep is the user's own or trusted.
        say: is told once when the store fails, and once when it works again.
        run_end: tells how the run has ended. After `done` nothing is shown: whoever ran the sweep shows its end.
        experiment: name in the store.

    Returns:
        A line about the last look.

    Raises:
        Unreachable: the last look failed.
    """
    failing, how, line = False, None, ""
    problem: str | None = None
    while how is None:
        began = time.monotonic()
        line, problem = _look(where, uri, most, trust, experiment, None)
        if (problem is not None) != failing:
            failing = problem is not None
            say(_trouble(uri, problem, every) if problem is not None else f"tracking: {redacted(uri)} works again")
        how = run_end.wait(max(every, _REST * (time.monotonic() - began)))
    if how != "done":
        line, problem = _look(where, uri, most, trust, experiment, State.failed if how == "failed" else None)
    if problem is not None:
        raise Unreachable(f"tracking: {redacted(uri)} could not be brought up to date: {problem}")
    return line


def _look(
    where: str, uri: str, most: int, trust: bool, experiment: str | None, ended: State | None
) -> tuple[str, str | None]:
    """Show the sweep as it is now; gives a line about it, and what went wrong."""
    try:
        view = live_view(open_sweep(where, trust=trust), where, most, ended)
        line = show_in_time(tracker_of(uri, experiment), view)
    except LandsweepError as e:
        return "", redacted(str(e))
    except Exception as e:  # noqa: BLE001 - whatever a store does, the next look may succeed
        return "", failure(e)
    return line, None


def _trouble(uri: str, problem: str, every: float) -> str:
    reason = problem.splitlines()[0].removeprefix("tracking: ")
    return (
        f"tracking: {redacted(uri)} could not be brought up to date ({reason}). The sweep goes on, and it is tried "
        f"again every {every:g} s"
    )


def main() -> None:
    """The process that a driver starts."""
    with suppress(OSError):
        os.nice(_NICE)
    lifeline = Lifeline()

    def say(text: str) -> None:
        with suppress(OSError):
            sys.stdout.buffer.write(f"{text}\n".encode())
            sys.stdout.buffer.flush()

    try:
        settings = lifeline.settings()
        if lifeline.begun(settings["where"]):
            follow(**settings, say=say, run_end=lifeline)
    except Exception as e:  # noqa: BLE001 - its driver passes this on
        say(f"tracking shows this sweep at its end only: {failure(e)}")
