"""How messages come from an actor: as a stream, or, where Ray has none, one by one."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

__all__ = ["Pulled", "Stream", "Streamed", "sending_interval"]

_AHEAD = 2  # so that the actor computes on while a message travels


def sending_interval(workers: int) -> float:
    """How long rows wait at a worker for company, s: one driver hears them all, at 50 to 1,000 messages a second.

    Example:
        >>> [sending_interval(n) for n in (1, 50, 1000, 10_000)]
        [0.02, 1.0, 1.0, 10.0]
    """
    return max(min(1.0, 0.02 * max(1, workers)), workers / 1000)


class Stream(Protocol):
    """The messages of one work."""

    @property
    def waitable(self) -> Any:  # noqa: ANN401 - ray is untyped
        """What becomes ready when the next message is there."""

    def take(self) -> Any:  # noqa: ANN401 - ray is untyped
        """Reference of the next message.

        Raises:
            StopIteration: there are no more; a `Pulled` tells it by the message None instead.
        """


class Streamed:
    """A streaming generator of Ray."""

    def __init__(self, generator: Any) -> None:  # noqa: ANN401 - ray is untyped
        self._generator = generator

    @property
    def waitable(self) -> Any:  # noqa: ANN401
        return self._generator

    def take(self) -> Any:  # noqa: ANN401
        return next(self._generator)


class Pulled:
    """Calls that each bring one message: Ray Client (`ray://`) has no streaming methods.

    Args:
        actor: with the methods `begin(work)` and `pull()`; it may hold one work at a time.
        work: to begin.
    """

    def __init__(self, actor: Any, work: object) -> None:  # noqa: ANN401 - ray is untyped
        self._actor = actor
        self._begun = actor.begin.remote(work)
        self._refs = deque(actor.pull.remote() for _ in range(_AHEAD))

    @property
    def waitable(self) -> Any:  # noqa: ANN401
        return self._refs[0]

    def take(self) -> Any:  # noqa: ANN401
        self._refs.append(self._actor.pull.remote())
        return self._refs.popleft()
