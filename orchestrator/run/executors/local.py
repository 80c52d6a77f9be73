"""One worker in this process: the same contract without Ray, so that breakpoints and pdb work."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from landsweep.orchestrator.accelerators import check_devices
from landsweep.orchestrator.errors import DeviceFailed, UsageError, WorkersUnavailable
from landsweep.orchestrator.kind import Arrays
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Event, Executor, Finished, Gave, Lost, Refused
from landsweep.orchestrator.run.executors.belongings import Belongings, standard_files
from landsweep.orchestrator.run.executors.signals import keep_signals, plain_children
from landsweep.orchestrator.run.leaving import no_end
from landsweep.orchestrator.run.messages import Message, Work, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.run.worker import Worker

__all__ = ["LocalExecutor"]


class LocalExecutor(Executor):
    """Computes in this process, one message per poll.

    It can't kill: `unit_timeout` and `idle_seconds` have no effect here. Nor can it replace a device that has failed:
    the run stops, and the same command goes on with a new process.

    Args:
        gpus: of the worker, or its share of one; 0: it computes on the CPU.

    What units change of the process (current folder, environment, ...) is theirs: the driver goes on with its own.
    """

    def __init__(self, gpus: float = 0.0) -> None:
        self._gpus = gpus
        self._worker: Worker | None = None
        self._queue: deque[Work] = deque()
        self._running: tuple[Work, Iterator[Message], float] | None = None
        self._opened = False
        self._broken = ""
        self._theirs: Belongings | None = None

    def open(self, config: WorkerConfig) -> None:
        check_devices(self._gpus)
        plain_children()
        self._worker = Worker(config, "cuda:0" if self._gpus else "cpu")

    def share(self, name: str, arrays: Arrays) -> None:
        self._ready.share(name, arrays)

    def free_workers(self) -> Sequence[str]:
        if self._broken:
            raise WorkersUnavailable(self._broken)
        return () if self._running or self._queue else ("local",)

    def start(self, worker: str, work: Work) -> None:
        del worker
        self._queue.append(work)

    def poll(self, timeout: float) -> Sequence[Event]:
        del timeout
        if self._running is None:
            if not self._queue:
                return ()
            work = self._queue.popleft()
            self._running = (work, self._ready.run(work), time.perf_counter())
        work, messages, began = self._running
        try:
            with self._inside(), keep_signals():
                if isinstance(work, Shard):
                    self._ready.open()
                    self._opened = True
                return (Gave(work.id, next(messages)),)
        except StopIteration:
            event: Event = Finished(work.id, time.perf_counter() - began)
        except UsageError as e:
            event = Refused(work.id, e)
        except DeviceFailed as e:
            self._broken = f"{e}. The same command goes on in a new process"
            event = Lost(work.id, Cause.infra, str(e))
        except Exception:  # noqa: BLE001 - the engine decides what a failed preparation or opening means
            unopened = isinstance(work, Shard) and not self._opened
            if unopened:
                self._broken = f"the worker in this process could not open the sweep:\n{traceback.format_exc()}"
            event = Lost(work.id, Cause.error, traceback.format_exc(), began=not unopened)
        self._running = None
        return (event,)

    def stop(self, key: str) -> None:
        self._ready.stop(key)

    @property
    def workers(self) -> int:
        return int(self._worker is not None)

    def close(self) -> None:
        self._worker = self._running = None
        self._queue.clear()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """While units compute, the process is as the last unit left it."""
        ours = Belongings.now()
        if self._theirs is not None:
            self._theirs.restore()
        try:
            with standard_files(), no_end():
                yield
        finally:
            self._theirs = Belongings.now()
            ours.restore()

    @property
    def _ready(self) -> Worker:
        if self._worker is None:
            raise RuntimeError("the executor is not open")
        return self._worker
