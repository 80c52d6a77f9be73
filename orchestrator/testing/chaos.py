"""Tools that break things on purpose: executors that lose shards or stop, and a hook that kills this process."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Sequence

from landsweep.orchestrator.kind import Arrays
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Event, Executor, Finished, Gave, Lost
from landsweep.orchestrator.run.executors.local import LocalExecutor
from landsweep.orchestrator.run.messages import Chunk, Work, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard

__all__ = ["DyingExecutor", "StoppingExecutor", "kill_at"]


class DyingExecutor(Executor):
    """Any executor, some of whose shards are lost half-way or before they begin: seeded, in process, fast.

    Args:
        inner: does the work.
        share_lost: probability that a shard is lost.
        seed: of the losses.
    """

    def __init__(self, inner: Executor, share_lost: float, seed: int) -> None:
        self._inner = inner
        self._share = share_lost
        self._rng = random.Random(seed)
        self._doomed: dict[int, bool] = {}  # work -> whether it has died already
        self.deaths = 0

    def open(self, config: WorkerConfig) -> None:
        self._inner.open(config)

    def share(self, name: str, arrays: Arrays) -> None:
        self._inner.share(name, arrays)

    def free_workers(self) -> Sequence[str]:
        return self._inner.free_workers()

    def start(self, worker: str, work: Work) -> None:
        if isinstance(work, Shard) and self._rng.random() < self._share:
            self._doomed[work.id] = False
        self._inner.start(worker, work)

    def poll(self, timeout: float) -> Sequence[Event]:
        return [e for event in self._inner.poll(timeout) for e in self._after_death(event)]

    def _after_death(self, event: Event) -> list[Event]:
        """The events of a doomed shard: some first rows, then its loss, then silence."""
        if event.work not in self._doomed:
            return [event]
        if isinstance(event, Gave) and isinstance(event.message, Chunk) and not self._doomed[event.work]:
            rows = event.message.rows
            if rows is None or self._rng.random() < 0.5:
                return [event]
            first_rows = rows.slice(0, self._rng.randrange(rows.num_rows + 1))
            self._doomed[event.work] = True
            events: list[Event] = (
                [Gave(event.work, Chunk(first_rows, event.message.series))] if first_rows.num_rows else []
            )
            return [*events, self._loss(event.work)]
        if isinstance(event, Finished) and not self._doomed.pop(event.work):
            return [self._loss(event.work)]
        return []

    def _loss(self, work: int) -> Lost:
        self.deaths += 1
        return Lost(work, Cause.infra, "killed by the test", began=self._rng.random() < 0.8)

    def stop(self, key: str) -> None:
        self._inner.stop(key)

    @property
    def workers(self) -> int:
        return self._inner.workers

    def close(self) -> None:
        self._inner.close()


class StoppingExecutor(LocalExecutor):
    """Computes in this process, and sets `enough` after this many shards: a stop at the same place every time.

    Args:
        shards: how many.
    """

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.enough = threading.Event()
        self._left = shards
        self._shards: set[int] = set()

    def start(self, worker: str, work: Work) -> None:
        if isinstance(work, Shard):
            self._shards.add(work.id)
        super().start(worker, work)

    def poll(self, timeout: float) -> Sequence[Event]:
        events = super().poll(timeout)
        self._left -= sum(isinstance(e, Finished) and e.work in self._shards for e in events)
        if self._left <= 0:
            self.enough.set()
        return events


def kill_at(point: str, nth: int = 1, after: float = 0.0) -> Callable[[str], None]:
    """A hook for `run_sweep` and `Ledger.writing` that ends this process with SIGKILL.

    Args:
        point: name of the point.
        nth: at which passing of the point.
        after: this many seconds later, from another thread: in the middle of what follows the point.
    """
    passed = 0

    def hook(at: str) -> None:
        nonlocal passed
        if at != point:
            return
        passed += 1
        if passed == nth and after > 0:
            threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()
        elif passed == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook
