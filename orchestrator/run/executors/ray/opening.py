"""`ray.init`, which may stand still for ever, or end the process after a minute, where a Ray dies meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import psutil

from landsweep.orchestrator.run.executors.ray.watch import lives

__all__ = ["Opening", "OwnProcesses"]

_LOOK = 0.5  # s between two looks


class Opening:
    """`ray.init` in a thread of its own: the caller hears signals meanwhile, and looks whether it waits in vain.

    Args:
        init: calls `ray.init`.
    """

    def __init__(self, init: Callable[[], object]) -> None:
        self._init = init
        self._opened: Future[None] = Future()
        self._over = threading.Event()
        threading.Thread(target=self._open, name="landsweep-open", daemon=True).start()

    def wait(self, loss: Callable[[], str], seconds: float) -> None:
        """Return once Ray is open.

        Args:
            loss: why this Ray will never answer; empty where it may.
            seconds: how long it may take.

        Raises:
            ConnectionError: it is lost, or it took too long.
            Exception: whatever `ray.init` raises.
        """
        end = time.monotonic() + seconds
        while not self._opened.done():
            if why := loss():
                raise ConnectionError(why)
            if time.monotonic() > end:
                raise ConnectionError(f"it gave no answer within {seconds:g} s")
            try:
                self._opened.exception(_LOOK)
            except TimeoutError:
                continue
        self._opened.result()

    @property
    def stuck(self) -> bool:
        """Whether `ray.init` has not come back."""
        return not self._opened.done()

    def end(self) -> None:
        """Let the thread end, and with it, by the kernel's hand, what Ray has started from it."""
        self._over.set()

    def _open(self) -> None:
        try:
            self._init()
            self._opened.set_result(None)
        except BaseException as e:  # noqa: BLE001 - raised in `wait`
            self._opened.set_exception(e)
        self._over.wait()


class OwnProcesses:
    """The raylet and the GCS that this process has started, before Ray itself tells of them."""

    def __init__(self) -> None:
        self._before = set(psutil.Process().children())
        self._seen: dict[psutil.Process, str] = {}

    def loss(self) -> str:
        """Which of them has ended; empty while all live that have been seen."""
        for process in psutil.Process().children():
            if process not in self._before and process not in self._seen:
                try:
                    self._seen[process] = process.name()
                except psutil.Error:
                    continue
        for process, name in self._seen.items():
            if name in ("raylet", "gcs_server") and not lives(process):
                return f"its {name} has ended"
        return ""

    def kill(self) -> None:
        """End what has been started."""
        for process in self._seen:
            try:
                process.kill()
            except psutil.Error:
                continue
