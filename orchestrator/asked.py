"""Calls that may never come back: in a thread, so that whoever waits can stop waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["asked"]

T = TypeVar("T")


def asked(call: Callable[[], T], name: str) -> Future[T]:
    """What a call gives or raises, in time; one that never comes back keeps no process alive.

    Args:
        call: begins at once.
        name: of its thread.
    """
    answer: Future[T] = Future()

    def wait() -> None:
        try:
            answer.set_result(call())
        except BaseException as e:  # noqa: BLE001 - raised where the answer is asked for
            answer.set_exception(e)

    threading.Thread(target=wait, name=name, daemon=True).start()
    return answer
