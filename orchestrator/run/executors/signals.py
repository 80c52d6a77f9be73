"""Signal handlers of this process: kept while a library starts that would put its own in their place, not inherited.

A forked child ends at SIGTERM, as in any script: pools end their processes so. With our handlers it would live on, and
whoever waits for it would wait for ever.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["keep_signals", "plain_children", "without_handlers"]

_DEFAULTS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
_ours: dict[int, object] = {}  # handlers that no child should have
_thread = threading.local()  # `mask`: the signals that were blocked before the fork


@contextmanager
def keep_signals() -> Iterator[None]:
    """Put the handlers of SIGINT and SIGTERM back at the end.

    Ray ends the process at SIGTERM, as schedulers send it; the run's own handler writes what has come first.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    before = {number: signal.getsignal(number) for number in _DEFAULTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def without_handlers(utils: Any) -> Iterator[None]:  # noqa: ANN401 - a module of Ray
    """Ray sets its own handler of SIGTERM before it starts its processes, which takes seconds; it sets none here."""
    theirs = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs


def plain_children() -> None:
    """From now on processes that are forked off have none of the handlers that this one has now."""
    _ours.update({number: signal.getsignal(number) for number in _DEFAULTS})
    _register()


@cache
def _register() -> None:
    os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_put_away)


def _hold_back() -> None:
    """A signal that comes before the child has put the handlers away waits for that."""
    _thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _DEFAULTS)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _thread.mask)


def _put_away() -> None:
    signal.set_wakeup_fd(-1)
    for number, handler in _DEFAULTS.items():
        if signal.getsignal(number) is _ours[number]:
            signal.signal(number, handler)
    _let_through()
