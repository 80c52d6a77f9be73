"""What a sweep needs done once: the check of its input, and then the arrays that its units share.

Each of these tasks goes to any free worker as soon as those it needs are done, and to another one when its worker dies.
"""

from __future__ import annotations

import itertools
import platform
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from landsweep.orchestrator.errors import PreparationFailed
from landsweep.orchestrator.kind import Arrays, Preparation, SweepKind
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.driver_deaths import preparing
from landsweep.orchestrator.run.executors.base import Event, Executor, Finished, Gave, Lost, Refused
from landsweep.orchestrator.run.messages import CheckInput, Prepare, Prepared, WorkerConfig
from landsweep.orchestrator.run.progress import RunProgress
from landsweep.orchestrator.run.schedule import ShardSchedule
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.ledger import Store, load_prepared, save_prepared, set_aside_prepared

__all__ = ["Preparations"]

_POLL_SECONDS = 0.2
_MOST_LOSSES = 3  # a task that killed this many workers in a row would kill the next one too


@dataclass(frozen=True, slots=True)
class _Task:
    """The check, or one preparation."""

    name: str
    preparation: Preparation | None = None

    @property
    def note(self) -> str:
        """What a worker is busy with while it does it."""
        if self.preparation is None:
            return "spec and data"
        return f"timing {self.name}" if self.preparation.pack else self.name

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of tasks that come first."""
        return self.preparation.needs if self.preparation else ()

    def work(self, number: int) -> CheckInput | Prepare:
        """What a worker is given; ids below zero are those of tasks."""
        return Prepare(-number, self.name, self.needs) if self.preparation else CheckInput(-number)


class Preparations:
    """Brings up the workers, has the input checked, and has what units share computed.

    Args:
        kind: of the sweep.
        spec: of the sweep.
        executor: not open yet.
        config: what its workers are to compute.
        schedule: takes in the pack sizes that preparations have measured.
        store: keeps the arrays.
        progress: shows what is done.
        stop: set from outside to end early.
    """

    def __init__(
        self,
        kind: SweepKind[Any],
        spec: Spec,
        executor: Executor,
        config: WorkerConfig,
        schedule: ShardSchedule,
        store: Store,
        progress: RunProgress,
        stop: threading.Event,
    ) -> None:
        self._steps = {step.name: step for step in kind.preparations(spec)}
        self._executor, self._config, self._schedule = executor, config, schedule
        self._store, self._progress, self._stop = store, progress, stop
        self._checked = False

    def check(self) -> bool:
        """Bring up the workers and let one check the input, the first time; False: the run was stopped meanwhile.

        Raises:
            UsageError: the input is unusable.
            PreparationFailed: the check raised, or its workers died or hung three times.
        """
        if not self._checked:
            self._checked = True
            self._progress.enter("checking", "starting workers")
            self._executor.open(self._config)
            self._do([_Task("check")])
        return not self._stop.is_set()

    def damaged(self, *, complete: bool) -> bool:
        """Whether arrays that rows belong to are damaged, or missing from a complete sweep; damaged ones are set aside.

        Args:
            complete: all units have rows.
        """
        files = [step.file for step in self._steps.values() if not step.pack]
        damages = set_aside_prepared(self._store, files, complete=complete)
        for damage in damages:
            self._progress.say(f"{damage}; where the sweep needs it, it is computed again")
        return bool(damages)

    def prepare(self, budget: int) -> None:
        """Compute what all units share, unless the sweep has it already; returns early when the run is stopped.

        Args:
            budget: how many deaths of the driver in a row are forgiven.

        Raises:
            UsageError, PreparationFailed: as `check`.
        """
        self._progress.enter("preparing")
        missing = []
        for step in self._steps.values():
            arrays = load_prepared(self._store, step.file)
            if arrays is None:
                missing.append(_Task(step.name, step))
            else:
                self._share(step, arrays)
        if missing:
            with preparing(self._store, [task.name for task in missing], budget):
                self._do(missing)

    def _do(self, tasks: Sequence[_Task]) -> None:
        """Do tasks in an order in which needs come first; a need that is not among them is taken as done."""
        numbers = itertools.count(1)
        pending = {task.name: task for task in tasks}
        running: dict[int, tuple[_Task, str]] = {}
        losses: Counter[str] = Counter()
        while (pending or running) and not self._stop.is_set():
            unfinished = {*pending, *(task.name for task, _ in running.values())}
            ready = [task for task in pending.values() if not unfinished.intersection(task.needs)]
            busy = {worker for _, worker in running.values()}
            for worker, task in zip(_once_each(self._executor.free_workers(), busy), ready, strict=False):
                work = pending.pop(task.name).work(next(numbers))
                running[work.id] = (task, worker)
                self._executor.start(worker, work)
            self._progress.tick(", ".join(task.note for task, _ in running.values()) or "waiting for workers")
            for event in self._executor.poll(_POLL_SECONDS):
                lost = self._absorb(event, running)
                if lost is not None:
                    pending[lost.name] = lost
                    losses[lost.name] += isinstance(event, Lost) and not event.announced
                    if losses[lost.name] >= _MOST_LOSSES and isinstance(event, Lost):
                        times = f"its worker died or hung {_MOST_LOSSES} times"
                        raise PreparationFailed(f"{lost.name}: {times}. Last: {event.why}")

    def _absorb(self, event: Event, running: dict[int, tuple[_Task, str]]) -> _Task | None:
        """Take note of an event; gives the task that must be done again."""
        match event:
            case Gave(message=Prepared() as prepared):
                self._keep(prepared)
            case Finished():
                running.pop(event.work)
            case Refused():
                raise event.error
            case Lost():
                task, _ = running.pop(event.work)
                if event.cause is Cause.error:
                    raise PreparationFailed(f"{task.name} failed:\n{event.why}")
                return task
        return None

    def _keep(self, prepared: Prepared) -> None:
        """Write the arrays, and share them before any task that needs them starts."""
        step = self._steps[prepared.name]
        about = {"seconds": prepared.seconds, "host": platform.node()}
        save_prepared(self._store, step.file, prepared.arrays, about, exact=not step.pack)
        self._share(step, prepared.arrays)
        note = f": {prepared.arrays['note'].tobytes().decode()}" if "note" in prepared.arrays else ""
        self._progress.say(f"{'timed' if step.pack else 'prepared'} {prepared.name} in {prepared.seconds:.1f} s{note}")

    def _share(self, step: Preparation, arrays: Arrays) -> None:
        self._executor.share(step.name, arrays)
        if step.pack:
            self._schedule.set_pack_size(step.pack, int(arrays["size"][0]))


def _once_each(workers: Iterable[str], busy: set[str]) -> list[str]:
    """Workers that have no task; one that can take two works is named twice."""
    return [worker for worker in dict.fromkeys(workers) if worker not in busy]
