"""Signal handlers of this process, kept while a library starts that would put its own in their place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keep_signals"]


@contextmanager
def keep_signals() -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM back at the end.

    Ray ends the process at SIGTERM, as schedulers send it; the run's own handler writes what has come first.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
