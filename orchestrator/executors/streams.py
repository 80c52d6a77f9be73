"""How messages come from an actor: as a stream, or, where Ray has none, one by one."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

__all__ = ["Pulled", "Stream", "Streamed"]

_AHEAD = 2  # so that the actor computes on while a message travels


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
