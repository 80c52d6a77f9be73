"""A member of a gang of processes on this machine: what runs in each of them. Started by `ProcessGang`."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from landsweep.orchestrator.errors import NoRoom, UsageError, told
from landsweep.orchestrator.faults import cause_of, text_of
from landsweep.orchestrator.run.worker import Worker

__all__ = ["main"]


def main(descriptor: int) -> None:
    """Compute until the driver is gone.

    Args:
        descriptor: of the connection to it. The driver first sends config, gang and device, then works, and for the
            first member `("stop", key)` at any time.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the driver says when it ends
    driver = Connection(descriptor)
    config, gang, device = driver.recv()
    worker = Worker(config, device)
    worker.join(gang)
    works: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(driver, worker, works), name="landsweep-driver", daemon=True).start()
    try:
        if gang.rank:
            worker.assist()
        else:
            _evaluate(driver, worker, works)
    except NoRoom as e:
        driver.send(("refused", told(e)))
    except BaseException as e:  # noqa: BLE001 - the driver decides what it means, whatever it is
        driver.send(("failed", cause_of(e), text_of(e, e.__traceback__)))
    os._exit(0)  # nothing is left to do, and the others may hang in what a tidy end would wait for


def _listen(driver: Connection, worker: Worker, works: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            word, value = driver.recv()
        except (EOFError, OSError):
            os._exit(1)
        if word == "stop":
            worker.stop(value)
        else:
            works.put(value)


def _evaluate(driver: Connection, worker: Worker, works: queue.SimpleQueue[Any]) -> None:
    """What the first member does: the driver hears `("gave", message)` and at the end of a work one other word."""
    while True:
        work = works.get()
        began = time.perf_counter()
        try:
            worker.open()
            driver.send(("opened", None))
            for message in worker.run(work):
                driver.send(("gave", message))
            driver.send(("finished", time.perf_counter() - began))
        except UsageError as e:
            driver.send(("refused", told(e)))  # as a text: not every error can be made again from what it holds


if __name__ == "__main__":
    main(int(sys.argv[1]))
