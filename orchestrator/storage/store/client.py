"""The way to a local folder or an object store: credentials, time limits, and how long a silent store is asked."""

from __future__ import annotations

import errno
import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from obstore.exceptions import BaseError, GenericError
from obstore.store import LocalStore, from_url

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage import cloud_errors as cloud
from landsweep.orchestrator.storage.store import aws

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["LITTLE", "READ", "SMALL", "STREAM", "USUAL", "Client", "Patience", "patience_for"]

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Time limits for an object store, in s.

    Attributes:
        asking: no new attempt begins after these.
        silence: an attempt ends when it has heard nothing for so long; an upload hears nothing until it is through.
        whole: an attempt ends.
        retries: at most so many attempts after the first.
    """

    asking: float
    silence: float
    whole: float
    retries: int = 1000


# A driver whose object store is silent ends within 60 s: one request of usual patience (at most 20 + 2 + 10 s), and
# three of little patience (4 + 4 s each): the status before it, the next one after it, the lock's release. So does one
# whose store sends byte after byte without end (30 s, and 8 s each). Where a large part of rows is put it may be later.
USUAL = Patience(asking=20, silence=10, whole=30)
READ = Patience(asking=20, silence=4, whole=30)  # who reads many files gets them sooner where requests are lost
LITTLE = Patience(asking=4, silence=4, whole=8, retries=1)
STREAM = Patience(asking=20, silence=10, whole=3600)  # a download of much may take an hour as long as bytes come
SMALL = 4 << 20  # bytes
_SMALL_SECONDS, _LONGEST_UPLOAD = 30.0, 600.0  # s
_PAUSE_SECONDS = 0.2
# Of the first number of seconds, at most the second is spent on requests without an answer at first: a store that
# answers only now and then would otherwise keep a reader of many files for hours.
_WINDOW_SECONDS, _MOST_LOST_SECONDS = 120.0, 60.0


def patience_for(size: int) -> Patience:
    """For an upload of so many bytes, more than a small object has. Doubled in steps: each has its own connections."""
    seconds = min(_LONGEST_UPLOAD, 2.0 ** math.ceil(math.log2(size / SMALL)) * _SMALL_SECONDS)
    return Patience(asking=20, silence=seconds, whole=3600)


class Client:
    """Carries out requests. Nothing is opened before the first one of its patience, but a URL is checked at once.

    Args:
        where: URL of an object store.
        root: the folder, where it is a local one.

    Raises:
        UsageError: no store can be opened at the URL.
    """

    def __init__(self, where: str, root: Path | None) -> None:
        self._where = where
        self._root = root
        self._raw: dict[Patience, ObjectStore] = {} if root is not None else {USUAL: _opened(where, USUAL)}
        self.silent = False  # the last request got no answer
        self._lost: deque[tuple[float, float]] = deque()  # when a request got no answer, and how long it waited

    def asked(self, ask: Callable[[ObjectStore], T], patience: Patience = USUAL) -> T:
        """The answer to a request. A store that was silent the last time is given little time.

        Raises:
            FileNotFoundError: there is no such file, or no such local folder.
            obstore.exceptions.BaseError, OSError: as the storage says.
        """
        if self.silent and patience in (USUAL, READ):
            patience = LITTLE
        self._refuse_losses()
        began = time.monotonic()
        try:
            return self._answer(ask, patience, began + patience.asking)
        finally:
            now = time.monotonic()
            if self._root is None and patience in (USUAL, READ) and now - began >= patience.silence:
                self._lost.append((now, now - began))

    def _refuse_losses(self) -> None:
        """Refuse a request where too much time was lost with those before it."""
        while self._lost and self._lost[0][0] < time.monotonic() - _WINDOW_SECONDS:
            self._lost.popleft()
        lost = sum(seconds for _, seconds in self._lost)
        if lost > _MOST_LOST_SECONDS:
            raise GenericError(
                f"this store answers only now and then: {len(self._lost)} of the last requests got no answer within "
                f"{lost:.0f} s. Try again once the network or the store is well"
            )

    def _answer(self, ask: Callable[[ObjectStore], T], patience: Patience, end: float) -> T:
        while True:
            try:
                answer = ask(self._opened(patience))
            except GenericError as e:
                # The library repeats most requests itself, but no put with a condition that got no answer, and no
                # listing that broke off.
                if self._root is None and cloud.broke_off(str(e)) and time.monotonic() < end:
                    time.sleep(_PAUSE_SECONDS)
                    continue
                self.silent = True
                raise
            except BaseException as e:
                if type(e).__name__ != "PanicException":  # of Rust; no class of that name can be imported
                    raise
                raise GenericError("the storage library can't make a request of this address or these keys") from e
            self.silent = False
            return answer

    def _opened(self, patience: Patience) -> ObjectStore:
        if self._root is not None:
            patience = USUAL
        if patience not in self._raw:
            if self._root is not None and not self._root.is_dir():
                raise FileNotFoundError(errno.ENOENT, "no such folder", str(self._root))
            self._raw[patience] = _opened(self._where, patience) if self._root is None else LocalStore(self._root)
        return self._raw[patience]


def _opened(where: str, patience: Patience) -> ObjectStore:
    silence = timedelta(seconds=patience.silence)
    options: dict[str, Any] = {
        "retry_config": {
            "max_retries": patience.retries,
            "retry_timeout": timedelta(seconds=patience.asking),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2.0},
        },
        "client_options": {
            "connect_timeout": min(timedelta(seconds=5), silence),
            "read_timeout": silence,
            "timeout": timedelta(seconds=patience.whole),
        },
    }
    if where.startswith("s3:"):
        aws.check_variables(os.environ)
        if os.environ.get("AWS_ENDPOINT_URL", "").lower().startswith("http://"):
            options["client_options"]["allow_http"] = True  # who names such an endpoint means it
        options |= aws.profile()
    try:
        return from_url(where, **options)
    except (BaseError, ValueError, OSError) as e:
        raise UsageError(f"{where}: no storage can be opened there: {cloud.reason(str(e))}") from e
