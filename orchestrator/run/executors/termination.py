"""SIGTERM in a worker: the notice that comes before a spot machine, a job step or a pod is taken away."""

from __future__ import annotations

import os
import signal
import threading
import time

from landsweep.orchestrator.run.executors.signals import plain_children

__all__ = ["Termination"]

_GRACE = 30.0  # s; what Slurm and Kubernetes give before SIGKILL


class Termination:
    """Turns SIGTERM into an event, and ends the process when the grace is over. Made in the main thread.

    Handlers of Python run between two steps of the main thread, which may sit in foreign code for as long as it likes.
    The wake-up descriptor is written to at once, and a thread of its own reads it.

    Args:
        grace: seconds from the signal to the end.
    """

    def __init__(self, grace: float = _GRACE) -> None:
        self._told = threading.Event()
        self._grace = grace
        self._reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        plain_children()
        threading.Thread(target=self._listen, name="landsweep-sigterm", daemon=True).start()

    def wait(self) -> None:
        """Return when the signal has come."""
        self._told.wait()

    def _listen(self) -> None:
        while signal.SIGTERM not in os.read(self._reading, 64):
            pass
        self._told.set()
        time.sleep(self._grace)
        os._exit(128 + signal.SIGTERM)
