"""The listing of an object store, given up where it has no end.

A store answers it page by page, each page naming the next one. One that names a next page for ever is not silent, so
no time limit of a request ends it; and the library follows it inside of one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import Event, Thread
from typing import TYPE_CHECKING

from obstore.exceptions import GenericError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

__all__ = ["with_an_end"]

_MOST_SECONDS = 60.0  # without another name; a page has 1,000 names and takes some 50 ms
_MOST_NAMES = 10_000_000


def with_an_end(
    pages: Callable[[ObjectStore], Iterable[Sequence[ObjectMeta]]],
) -> Callable[[ObjectStore], dict[str, int]]:
    """A listing that raises if it goes in a circle, or if for a minute no other name comes.

    A call that is given up goes on in a thread of its own until its next names: it can't be broken off.

    Args:
        pages: asks for the entries, some at a time.

    Returns:
        The same question, for sizes in bytes by path. It raises `GenericError`, and whatever `pages` raises.
    """

    def asked(raw: ObjectStore) -> dict[str, int]:
        found: dict[str, int] = {}
        failed: list[BaseException] = []
        given_up = Event()

        def work() -> None:
            try:
                for page in pages(raw):
                    for entry in page:
                        _take(entry, found)
                    if given_up.is_set():
                        return
            except BaseException as e:  # noqa: BLE001 - raised again where it was asked
                failed.append(e)

        thread = Thread(target=work, name="landsweep-listing", daemon=True)
        thread.start()
        names = -1
        while thread.is_alive() and names < len(found):
            names = len(found)
            thread.join(_MOST_SECONDS)
        for error in failed:
            raise error
        if thread.is_alive():
            given_up.set()
            raise GenericError(
                f"a listing has not come to its end, and has named nothing new for {_MOST_SECONDS:g} s: it names one "
                "more page each time"
            )
        return found

    return asked


def _take(entry: ObjectMeta, found: dict[str, int]) -> None:
    path = str(entry["path"])
    if path in found:
        raise GenericError(f"a listing has not come to its end: it goes in a circle, and has named {path} twice")
    if len(found) >= _MOST_NAMES:
        raise GenericError(f"a listing has not come to its end after {_MOST_NAMES:,} names")
    found[path] = int(entry["size"])
