"""Answers of tracking servers have a longest length, since MLflow's client reads each of them whole into memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any

__all__ = ["bounded"]

_MOST = 1 << 30  # bytes of one answer, unpacked
_reading: ContextVar[bool] = ContextVar("answers are bounded", default=False)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """While this lasts, in this thread, an answer that goes on past 1 GiB is an error of its request."""
    _install()
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


@cache
def _install() -> None:
    """Have what MLflow sends its requests with look at `_reading`; others go on as ever."""
    from requests.adapters import HTTPAdapter

    adapter: Any = HTTPAdapter
    send = adapter.send

    def sent(self: Any, request: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - they have no types
        response = send(self, request, *given, **named)
        if _reading.get():
            chunks = response.iter_content
            response.iter_content = lambda *given, **named: _within(chunks(*given, **named), response)
        return response

    adapter.send = sent


def _within(chunks: Iterator[bytes], response: Any) -> Iterator[bytes]:  # noqa: ANN401 - it has no types
    length = 0
    for chunk in chunks:
        length += len(chunk)
        if length > _MOST:
            response.close()
            raise OSError(f"the server's answer has no end: more than {_MOST:,} bytes")
        yield chunk
