"""The executor's contract: pieces of work go in, events come out.

Invariants, checked for every executor by `landsweep.orchestrator.testing.executor_suite`:

- each started work ends with exactly one of `Finished`, `Lost` or `Refused`, after all its `Gave`;
- a worker's death loses only that worker's work, and the executor replaces the worker;
- work that a dead worker had not begun is lost with `began=False`;
- `close` may be called at any time and repeatedly, and releases all resources that the executor took.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import Arrays
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.messages import Message, Work, WorkerConfig

__all__ = ["Event", "Executor", "Finished", "Gave", "Lost", "Refused"]


@dataclass(frozen=True, slots=True)
class Gave:
    """A message of a running work."""

    work: int
    message: Message


@dataclass(frozen=True, slots=True)
class Finished:
    """A work has ended, `seconds` of wall time after its worker began it."""

    work: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A work was lost.

    Attributes:
        work: its id.
        cause: infra, oom or timeout if the worker or its device is gone; error if the work raised and the worker lives.
        why: what happened.
        began: whether the worker had started on it.
        announced: the worker's end was announced: its node was drained or pre-empted, or it got SIGTERM. Then the loss
            counts against no unit.
    """

    work: int
    cause: Cause
    why: str
    began: bool = True
    announced: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A work found the user's input unusable; the sweep can't go on."""

    work: int
    error: UsageError


Event: TypeAlias = Gave | Finished | Lost | Refused


class Executor(ABC):
    """Owns workers: brings them up, gives them work, replaces them when they die."""

    @abstractmethod
    def open(self, config: WorkerConfig) -> None:
        """Start the workers for `config`; returns before they are ready.

        Raises:
            Unreachable: there is no such cluster.
            SpecError: no worker of the wanted size can ever run here.
        """

    @abstractmethod
    def share(self, name: str, arrays: Arrays) -> None:
        """Give the arrays of a preparation to all workers, later ones included."""

    def expect(self, waiting: Mapping[int, int]) -> None:  # noqa: B027 - executors without gangs need not care
        """Learn how many units wait, by the devices that each takes; an executor may form gangs for them."""

    def devices(self, worker: str) -> int:
        """How many devices a worker named by `free_workers` has: more than 1 if it is a gang."""
        del worker
        return 1

    @abstractmethod
    def free_workers(self) -> Sequence[str]:
        """Ids of workers that can take work now; a worker that can take two works is listed twice.

        Raises:
            WorkersUnavailable: no worker is alive and none can come.
        """

    @abstractmethod
    def start(self, worker: str, work: Work) -> None:
        """Give a work to a worker named by `free_workers`."""

    @abstractmethod
    def poll(self, timeout: float) -> Sequence[Event]:
        """Events since the last call; waits up to `timeout` seconds for the first."""

    @abstractmethod
    def stop(self, key: str) -> None:
        """Ask the running unit with this key to end early."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many workers are alive."""

    @abstractmethod
    def close(self) -> None:
        """End all workers and release everything; running work is dropped."""
