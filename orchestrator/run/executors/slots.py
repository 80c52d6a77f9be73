"""Places for workers, and the calls that they have in hand: what the pool remembers, without Ray."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.run.executors.processes import ProcessId
from landsweep.orchestrator.run.executors.streams import Stream
from landsweep.orchestrator.run.messages import Work

__all__ = ["Call", "Slot"]


@dataclass(slots=True)
class Call:
    """One work in a worker's hands.

    Attributes:
        work: what it was given.
        stream: of its messages; None until it is sent.
        began: monotonic time when it became the worker's running work.
        refused: the error that its input is unusable, once the worker has sent it.
    """

    work: Work
    stream: Stream | None = None
    began: float = 0.0
    refused: UsageError | None = None


@dataclass(slots=True)
class Slot:
    """A place for one worker; the worker may die and be replaced, the slot stays.

    Attributes:
        id: unique within a run.
        devices: how many it has; with more than 1 it is a gang, and `actor` is its rank 0.
        failures: failed starts in a row.
        actor: the worker, None while there is none.
        others: the other members of a gang.
        attending: for each of the others, a reference that becomes ready when it has ended.
        farewells: for each of the others, as `farewell`.
        group: the placement group that holds a gang's devices.
        greeting: reference that becomes ready when the worker has started; None afterwards.
        opening: reference that becomes ready when its session is open; None before and afterwards.
        farewell: reference that becomes ready when the worker was told to end (SIGTERM).
        opened: whether its session is open.
        node: id of its node, once it has started.
        process: its process there.
        ended: how often that was found to have ended, though Ray says nothing.
        yields: whether it leaves to make room for workers of other sizes; its devices are taken until it has left.
        leaving: why it gets no more work: its node is drained, or it was told to end. Losses there count against no
            unit, and the slot is removed as soon as its running work has ended.
        last: id of the work that it ran when it began to leave.
        heard: monotonic time of the last message of the running work.
        calls: the running work first, then what waits for it.
    """

    id: str
    devices: int = 1
    failures: int = 0
    actor: Any = None
    others: list[Any] = field(default_factory=list)
    attending: list[Any] = field(default_factory=list)
    farewells: list[Any] = field(default_factory=list)
    group: Any = None
    greeting: Any = None
    opening: Any = None
    farewell: Any = None
    opened: bool = False
    node: str = ""
    process: ProcessId | None = None
    ended: int = 0
    yields: bool = False
    leaving: str = ""
    last: int | None = None
    heard: float = 0.0
    calls: deque[Call] = field(default_factory=deque)

    @property
    def ready(self) -> bool:
        """Whether its worker has started."""
        return self.actor is not None and self.greeting is None

    @property
    def awaited(self) -> list[Any]:
        """References that become ready when something has happened here."""
        refs = list(self.attending)
        if self.greeting is not None:
            refs.append(self.greeting)
        elif self.opening is not None:
            refs.append(self.opening)
        elif self.calls and (stream := self.calls[0].stream) is not None:
            refs.append(stream.waitable)
        return refs

    def next(self, now: float) -> None:
        """The running work has ended: the next one runs now."""
        self.calls.popleft()
        self.heard = now
        if self.calls:
            self.calls[0].began = now

    def leave(self, why: str) -> None:
        """Take no more work; what runs may end."""
        if not self.leaving:
            self.leaving = why
            self.last = self.calls[0].work.id if self.calls else None

    @property
    def left(self) -> bool:
        """Whether what ran when it began to leave has ended."""
        return bool(self.leaving) and (not self.calls or self.calls[0].work.id != self.last)

    def vacate(self) -> list[Call]:
        """Its worker is gone; returns the calls that it had."""
        calls = list(self.calls)
        self.calls.clear()
        self.actor = self.greeting = self.opening = self.farewell = self.group = None
        self.others, self.attending, self.farewells = [], [], []
        self.opened = False
        self.node, self.ended = "", 0
        return calls
