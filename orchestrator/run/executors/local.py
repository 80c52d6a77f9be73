"""One worker in this process: the same contract without Ray, so that breakpoints and pdb work.

A unit that takes several devices is computed by as many processes beside this one.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from landsweep.orchestrator.accelerators import check_devices
from landsweep.orchestrator.errors import ClusterLost, DeviceFailed, UsageError, WorkersUnavailable
from landsweep.orchestrator.kind import Arrays
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Event, Executor, Finished, Gave, Lost, Refused
from landsweep.orchestrator.run.executors.belongings import Belongings, MaskAndAlarm, standard_files
from landsweep.orchestrator.run.executors.gang import ProcessGang
from landsweep.orchestrator.run.executors.signals import keep_signals, plain_children
from landsweep.orchestrator.run.freed_memory import give_back, keep_freed_memory
from landsweep.orchestrator.run.leaving import no_end
from landsweep.orchestrator.run.messages import Chunk, Message, Work, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.run.sharing import Sharing
from landsweep.orchestrator.run.worker import Worker
from landsweep.orchestrator.site import Site

__all__ = ["LocalExecutor"]

_MOST_FAILURES = 3  # gangs in a row that do not come up: then the cause is the same for all


class LocalExecutor(Executor):
    """Computes in this process, one message per poll; units of several devices in a gang of processes, one at a time.

    It can't kill: `unit_timeout` has no effect, and `idle_seconds` only limits how long members of a gang wait for each
    other. Nor can it replace a failed device: the run stops, and the same command resumes it in a new process.

    Units may change the process (current folder, environment, ...): the driver restores its own after each message.
    Functions of Python that a unit has replaced are put back after the unit.

    Args:
        site: limits; by default those of a default site.
    """

    def __init__(self, site: Site | None = None) -> None:
        self._site = site or Site(executor="local")
        self._sharing, self._waiting = Sharing(), dict[int, int]()
        self._config: WorkerConfig | None = None
        self._gang: ProcessGang | None = None
        self._failures = 0
        self._worker: Worker | None = None
        self._queue: deque[Work] = deque()
        self._running: tuple[Work, Iterator[Message], float] | None = None
        self._opened = False
        self._broken = ""
        self._theirs: Belongings | None = None
        self._warnings: list[str] = []
        self._mask_and_alarm = MaskAndAlarm()

    def open(self, config: WorkerConfig) -> None:
        check_devices(self._site.gpus)
        plain_children()
        keep_freed_memory()
        self._worker, self._config = Worker(config, "cuda:0" if self._site.gpus else "cpu"), config

    def share(self, name: str, arrays: Arrays) -> None:
        self._ready.share(name, arrays)

    def free_workers(self) -> Sequence[str]:
        if self._broken:
            raise WorkersUnavailable(self._broken)
        if self._failures >= _MOST_FAILURES and self._gang is not None:
            raise WorkersUnavailable(f"gangs fail as soon as they start, {_MOST_FAILURES} times:\n{self._gang.failure}")
        busy = self._running or self._queue or (self._gang and self._gang.busy)
        return () if busy else ("local",)

    def expect(self, waiting: Mapping[int, int]) -> None:
        self._waiting = dict(waiting)

    def devices(self, worker: str) -> int:
        del worker
        return self._sharing.first(self._waiting)

    def start(self, worker: str, work: Work) -> None:
        del worker
        if isinstance(work, Shard):
            self._sharing.started(work.devices, self._waiting)
            if work.devices > 1:
                self._gang_of(work.devices).start(work)
                return
            self._end_gang()
        self._queue.append(work)

    def poll(self, timeout: float) -> Sequence[Event]:
        if self._gang is not None and self._gang.busy:
            events = self._gang.poll(timeout)
            if self._gang.ended:
                self._failures = self._failures + 1 if self._gang.failure else 0
            return events
        return self._turn()

    def _turn(self) -> Sequence[Event]:
        """The next event of the work in this process."""
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
                message = next(messages)
            return (Gave(work.id, self._with_warnings(message)),)
        except StopIteration:
            event: Event = Finished(work.id, time.perf_counter() - began)
        except UsageError as e:
            event = Refused(work.id, e)
        except ClusterLost:
            raise
        except DeviceFailed as e:
            raise ClusterLost(
                f"{e}. The same command goes on in a new process; a unit that does so again and again fails alone"
            ) from e
        except Exception:  # noqa: BLE001 - the engine decides what a failed preparation or opening means
            unopened = isinstance(work, Shard) and not self._opened
            if unopened:
                self._broken = f"the worker in this process could not open the sweep:\n{traceback.format_exc()}"
            event = Lost(work.id, Cause.error, traceback.format_exc(), began=not unopened)
        self._running = None
        return (event,)

    def stop(self, key: str) -> None:
        self._ready.stop(key)
        if self._gang is not None and self._gang.busy:
            self._gang.stop(key)

    @property
    def workers(self) -> int:
        return int(self._worker is not None)

    def close(self) -> None:
        self._worker = self._running = None
        self._queue.clear()
        self._end_gang()
        give_back()

    def _gang_of(self, devices: int) -> ProcessGang:
        """A gang of this size: the present one, or a new one in its place."""
        if self._gang is None or self._gang.ended or self._gang.size != devices:
            self._end_gang()
            if self._config is None:
                raise RuntimeError("the executor is not open")
            names = [f"cuda:{rank}" if self._site.gpus else "cpu" for rank in range(devices)]
            self._gang = ProcessGang(self._config, names, self._site.idle_seconds or self._site.start_timeout)
        return self._gang

    def _end_gang(self) -> None:
        if self._gang is not None:
            self._gang.close()
            self._gang = None

    def _with_warnings(self, message: Message) -> Message:
        """The message, with warnings about units if it can carry them."""
        if not self._warnings or not isinstance(message, Chunk):
            return message
        notes, self._warnings = (*message.notes, *self._warnings), []
        return replace(message, notes=notes)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Inside, the process is as the last unit left it; outside, as the driver has it."""
        ours = Belongings.now()
        if self._theirs is not None:
            self._theirs.restore()
        try:
            with standard_files(), no_end(), self._mask_and_alarm.of_units():
                yield
        finally:
            self._theirs = Belongings.now()
            ours.restore()
            self._warnings += ours.lowered()
            if limit := ours.lost():
                raise ClusterLost(
                    f"a unit has limited this process for good: {limit}. The same command goes on in a new process; a "
                    "unit that does so again and again fails alone"
                )

    @property
    def _ready(self) -> Worker:
        if self._worker is None:
            raise RuntimeError("the executor is not open")
        return self._worker
