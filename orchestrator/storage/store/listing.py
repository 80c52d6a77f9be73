"""The listing of an object store, given up where it has no end.

A store answers it page by page, each page naming the next one. One that names a next page for ever is not silent, so
no time limit of a request ends it; and the library follows it inside of one call.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from obstore.exceptions import GenericError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["with_an_end"]

T = TypeVar("T")
_LONGEST_SECONDS = 60.0  # a page has 1,000 names and takes some 50 ms


def with_an_end(ask: Callable[[ObjectStore], T]) -> Callable[[ObjectStore], T]:
    """A listing that raises if it has not come to its end after a minute.

    The call itself goes on in a thread of its own until the process ends: it can't be broken off.

    Args:
        ask: gives all entries.

    Returns:
        The same question. It raises `GenericError` in time, and whatever `ask` raises.
    """

    def asked(raw: ObjectStore) -> T:
        came: list[T] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                came.append(ask(raw))
            except BaseException as e:  # noqa: BLE001 - raised again where it was asked
                failed.append(e)

        thread = Thread(target=work, name="landsweep-listing", daemon=True)
        thread.start()
        thread.join(_LONGEST_SECONDS)
        for error in failed:
            raise error
        if not came:
            raise GenericError(
                f"a listing has not come to its end after {_LONGEST_SECONDS:g} s: it names one more page each time"
            )
        return came[0]

    return asked
