"""The worker: an opened kind beside one device share. The same class in this process and in a Ray actor."""

from __future__ import annotations

import math
import os
import platform
import resource
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from landsweep.orchestrator.accelerators import device_failure, free_memory
from landsweep.orchestrator.calling import has_come_back
from landsweep.orchestrator.errors import DeviceFailed, NoRoom, NotDeterministic, Unreachable, UsageError
from landsweep.orchestrator.faults import MOST_POINTS, cause_of, oversized, text_of, without_middle
from landsweep.orchestrator.kind import Arrays, Gang, Ganged, SavesMemory, Session, Workbench, kind_named
from landsweep.orchestrator.row import Cause, Metric, Outcome, Progress, RowMaker, Status, series_batch, unfit
from landsweep.orchestrator.run.buffer import Buffer
from landsweep.orchestrator.run.checking import check_apart, runs_apart
from landsweep.orchestrator.run.forks import end_if_forked, generation, shielded
from landsweep.orchestrator.run.freed_memory import give_back
from landsweep.orchestrator.run.messages import (
    CheckInput,
    Chunk,
    Message,
    Prepare,
    Prepared,
    Probed,
    Work,
    WorkerConfig,
)
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.run.unit_clock import UnitClock
from landsweep.orchestrator.run.unit_code import LEAST_LIMITS, Originals, StartFolder, items_of, lift
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.trust import also_search
from landsweep.orchestrator.unit import Unit

__all__ = ["Worker"]

# Fields of the config that the workbench takes as they are.
_LENT = ("threads", "state_seconds", "states_kept", "gpus", "peak_flops", "shortcuts")


class Worker:
    """Turns work into messages.

    Args:
        config: what to compute.
        device: `cpu`, or the accelerator this worker was given.

    Raises:
        UsageError: the config's kind or spec is not usable here.
    """

    def __init__(self, config: WorkerConfig, device: str = "cpu") -> None:
        for folder in config.imports:
            also_search(folder)
        self._config = config
        self._kind = kind_named(config.kind)
        self._spec = parse(self._kind.spec, config.spec, "spec")
        self._stopped: set[str] = set()
        artifacts = None if config.results is None else Artifacts(config.results)
        stopped, base = self._stopped.__contains__, Path(config.folder)
        lent = {name: getattr(config, name) for name in _LENT}
        self._bench = Workbench(device, folder=base, artifacts=artifacts, stopped=stopped, **lent)
        columns = self._kind.columns(self._spec)
        self._maker = RowMaker(self._kind.params(self._spec), columns)
        self._meters = {c.name for c in columns or () if c.meter}
        self._prepared: dict[str, Arrays] = {}
        self._session: Session | None = None
        self._folder: StartFolder | None = None  # the current folder when the session was opened
        self._limits: dict[int, tuple[int, int]] = {}  # of files, when the session was opened
        self._originals = Originals()
        self._broken = False  # whether it is in a gang whose members are out of step
        self._generation = generation()
        self._name = f"{platform.node()}:{os.getpid()}"

    def share(self, name: str, arrays: Arrays) -> None:
        """Keep the arrays of a finished preparation."""
        self._prepared[name] = arrays

    def join(self, gang: Gang) -> None:
        """Compute as a member of this gang from now on; call it before `open`."""
        self._bench = replace(self._bench, gang=gang)

    def assist(self) -> None:
        """Do this member's part of the units of a gang, until its first member has ended.

        Raises:
            RuntimeError: the kind has no units that gangs compute.
        """
        if not isinstance(self._kind, Ganged):
            raise RuntimeError(f"units of the kind {self._kind.name} are computed by one worker each")
        with shielded("assisting a gang"):
            self._kind.assist(self._spec, self._bench)

    def open(self) -> Session:
        """Open the session, once: load data and model.

        Executors call it before the first shard, so that what fails here is charged to no unit.

        Raises:
            UsageError: the input is unusable.
        """
        if self._session is None:
            with shielded("opening the sweep"):
                self._session = self._kind.open(self._spec, self._prepared, self._bench)
            self._folder, self._originals = StartFolder(), Originals()
            self._limits = {number: resource.getrlimit(number) for number in LEAST_LIMITS}
        return self._session

    def check(self) -> None:
        """Check the input here, in this process.

        Raises:
            UsageError: the input is unusable.
        """
        with shielded("the check"):
            self._kind.check(self._spec, self._bench)
            has_come_back()

    def stop(self, key: str) -> None:
        """Ask the unit with this key to end early."""
        self._stopped.add(key)

    def run(self, work: Work) -> Iterator[Message]:
        """Do one piece of work.

        Raises:
            UsageError: check, preparation or session found the input unusable.
            NotDeterministic: the probe gave two results.
            DeviceFailed: the accelerator, or this process, is of no more use, so this worker has to end.
            RuntimeError: check, preparation or session called `sys.exit`.
        """
        try:
            yield from self._messages(work)
        except Exception as e:
            if not isinstance(e, DeviceFailed) and device_failure(e):
                raise self._failed(e) from e
            raise

    def _failed(self, error: BaseException) -> DeviceFailed:
        return DeviceFailed(f"{self._bench.device} of the worker {self._name} has failed: {device_failure(error)}")

    def _messages(self, work: Work) -> Iterator[Message]:
        match work:
            case CheckInput():
                self._reach()
                if runs_apart(self._kind, self._spec, pdb=self._config.pdb):
                    check_apart(self._config, self._bench.device)
                else:
                    self.check()
            case Prepare():
                began = time.perf_counter()
                have = {name: self._prepared[name] for name in work.needs}
                with shielded(f"preparing {work.name}"):
                    arrays = self._kind.prepare(self._spec, work.name, have, self._bench)
                yield Prepared(work.name, arrays, time.perf_counter() - began)
            case Shard():
                yield from self._shard(self.open(), work)
                give_back()  # what a large unit has freed would stay for as long as the worker

    def _reach(self) -> None:
        """Make sure that this worker can write to the results: weights go there without the driver."""
        try:
            if self._bench.artifacts is not None:
                self._bench.artifacts.reach()
        except Unreachable as e:
            raise Unreachable(f"a worker on {platform.node()} can't reach the results: {e}") from e

    def _shard(self, session: Session, shard: Shard) -> Iterator[Chunk | Probed]:
        parts = (shard.units[:1], shard.units[1:]) if shard.probe else (shard.units,)
        buffer = Buffer()
        try:
            yield from self._rows(session, shard, parts, buffer)
        except (DeviceFailed, NoRoom):
            if buffer.outcomes:  # of units that ended before it
                yield self._flush(buffer)
            raise
        if buffer.outcomes:
            yield self._flush(buffer)

    def _rows(
        self, session: Session, shard: Shard, parts: Sequence[Sequence[Unit]], buffer: Buffer
    ) -> Iterator[Chunk | Probed]:
        """The messages of a shard; rows that have not been sent at the end are still in the buffer."""
        units = {u.key: u for u in shard.units}
        probe = shard.units[0].key if shard.probe else None
        clock, flushed = UnitClock(), time.perf_counter()
        for item in chain.from_iterable(self._outcomes(session, part) for part in parts if part):
            if isinstance(item, _Restarted):
                buffer.running.pop(item.key, None)
            elif isinstance(item, Progress):
                buffer.news.append(item)
                buffer.running.setdefault(item.key, []).append(item)
            elif item is not None:
                seconds, cpu_seconds = clock.lap()
                meters = {
                    "attempt": shard.attempts.get(item.key, 1),
                    "worker": self._name,
                    "ended": time.time(),
                    "seconds": seconds if item.seconds is None else item.seconds,
                    # of units that end together nobody knows whose processor time it was
                    "cpu_seconds": cpu_seconds if item.seconds is None else item.cpu_seconds,
                    "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                }
                if item.key == probe:
                    yield self._probed(session, units[item.key], item, seconds)
                    clock.lap()
                buffer.add(units[item.key], self._declared(item), meters)
                if self._folder is not None:
                    self._folder.enter()  # no unit begins in the folder of another
                if limit := lift(self._limits):
                    raise DeviceFailed(f"a unit has limited the process of the worker {self._name} for good: {limit}")
            if item is None and buffer.empty:
                continue
            if time.perf_counter() - flushed >= self._config.flush_seconds or buffer.full:
                with clock.paused():  # while the receiver takes the rows
                    yield self._flush(buffer)
                flushed = time.perf_counter()

    def _flush(self, buffer: Buffer) -> Chunk:
        rows = self._maker.batch(buffer.units, buffer.outcomes, buffer.meters) if buffer.outcomes else None
        notes = [*self._originals.notes, *(() if self._bench.artifacts is None else self._bench.artifacts.notes)]
        series = series_batch(buffer.series) if buffer.series else None
        chunk = Chunk(rows, series, tuple(buffer.news), tuple(notes), self._broken)
        buffer.clear()
        self._originals.notes.clear()
        if self._bench.artifacts is not None:
            self._bench.artifacts.notes.clear()
        return chunk

    def _declared(self, outcome: Outcome) -> Outcome:
        """The outcome as a row can hold it: long texts are cut, and metrics that no row can hold make it a failure."""
        complaint = oversized(outcome.metrics) or self._maker.undeclared(outcome)
        if complaint is not None:
            return _failure(outcome.key, Cause.error, without_middle(complaint))
        if outcome.error is not None and (error := without_middle(outcome.error)) is not outcome.error:
            return replace(outcome, error=error)
        return outcome

    def _outcomes(self, session: Session, units: Sequence[Unit]) -> Iterator[Outcome | Progress | _Restarted | None]:
        """Exactly one outcome for each unit, unless process or device dies; None as of `Session.evaluate`."""
        unfinished = {u.key: u for u in units}
        failure = yield from self._tried(session, units, unfinished)
        # By now nothing holds the frames of what failed, nor the tensors in them.
        if failure is None:
            return
        cause, text = failure
        smaller = False
        if cause is Cause.oom:
            free_memory()
            smaller = isinstance(session, SavesMemory) and session.save_memory()
        if len(units) == 1 and not smaller:
            for key in unfinished:
                yield _failure(key, cause, text)
            return
        rest = list(unfinished.values())
        size = max(1, len(rest)) if smaller else 1
        for start in range(0, len(rest), size):
            for unit in rest[start : start + size]:
                yield _Restarted(unit.key)
            yield from self._outcomes(session, rest[start : start + size])

    def _tried(
        self, session: Session, units: Sequence[Unit], unfinished: dict[str, Unit]
    ) -> Generator[Outcome | Progress | None, None, tuple[Cause, str] | None]:
        """What the session yields; units that end leave `unfinished`. Returns why the session failed, if it did."""
        points = dict.fromkeys(unfinished, 0)
        try:
            for item in items_of(session, units, self._originals):
                end_if_forked(self._generation)
                if item is not None:
                    _expect(item, unfinished)
                if isinstance(item, Progress):
                    points[item.key] += len(item.metrics)
                    _refuse_endless(points[item.key])
                yield item
            end_if_forked(self._generation)
            if unfinished:
                raise RuntimeError(f"the session ended without an outcome for {len(unfinished)} of {len(units)} units")
        except BaseException as e:  # the one place where a unit's errors become rows
            end_if_forked(self._generation, e)
            self._broken = self._bench.gang is not None  # its other members are in the middle of the unit
            unusable_input = isinstance(e, UsageError) and not isinstance(e, Unreachable)
            if unusable_input or isinstance(e, KeyboardInterrupt | GeneratorExit):
                raise
            if self._config.pdb:
                _debug(e)
            if isinstance(e, DeviceFailed):
                raise
            if device_failure(e):
                raise self._failed(e) from e
            return cause_of(e), _text(e)
        return None

    def _probed(self, session: Session, unit: Unit, once: Outcome, seconds: float) -> Probed:
        """Evaluate a unit again and compare, unless that would take longer than `site.probe_seconds`.

        Raises:
            NotDeterministic: the results differ.
        """
        comparable = once.status in (Status.ok, Status.diverged)  # a failure or a stop need not repeat itself
        limit = self._config.probe_seconds
        if not comparable or seconds > limit:
            return Probed(unit.key, seconds, compared=False, limit=limit)
        twice = next(o for o in list(self._outcomes(session, [unit])) if isinstance(o, Outcome))
        differ = [
            f"{name}: {once.metrics.get(name)!r}, then {twice.metrics.get(name)!r}"
            for name in sorted({*once.metrics, *twice.metrics} - self._meters)
            if not _same(once.metrics.get(name), twice.metrics.get(name))
        ]
        if differ or once.status is not twice.status:
            raise NotDeterministic(
                f"the unit {dict(unit.params)} was evaluated twice and gave two results:\n  "
                + "\n  ".join(differ or [f"status: {once.status}, then {twice.status}"])
                + f"\nPossible cause: {self._kind.hint_not_deterministic}."
            )
        return Probed(unit.key, seconds, compared=True, limit=limit)


def _expect(item: Outcome | Progress, unfinished: dict[str, Unit]) -> None:
    """Check an item of a session; the unit of an outcome is taken out of `unfinished`.

    Raises:
        RuntimeError: its unit is not unfinished, or no series can hold it.
    """
    if isinstance(item, Outcome) and unfinished.pop(item.key, None) is None:
        raise RuntimeError(f"the session gave an outcome that was not asked for, or gave it twice: {item}")
    if isinstance(item, Progress) and item.key not in unfinished:
        raise RuntimeError(f"the session gave progress of a unit that is not being computed: {item}")
    if isinstance(item, Progress) and (complaint := unfit(item)) is not None:
        raise RuntimeError(f"the unit gave progress that no series can hold: {complaint}")


def _refuse_endless(points: int) -> None:
    """Refuse a unit whose series would fill the memory.

    Raises:
        RuntimeError: it has too many points.
    """
    if points > MOST_POINTS:
        raise RuntimeError(
            f"the unit gave more than {MOST_POINTS:,} points of its series (metrics times steps), and more do not "
            "fit into the memory of worker and driver; give fewer steps or metrics, or write them to a file of your own"
        )


@dataclass(frozen=True, slots=True)
class _Restarted:
    """A unit is computed again from its beginning: the progress that it reported before is not part of its series."""

    key: str


def _same(a: Metric, b: Metric) -> bool:
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or a == b


def _failure(key: str, cause: Cause, text: str) -> Outcome:
    return Outcome(key, status=Status.failed, error=text, cause=cause)


def _text(error: BaseException) -> str:
    """The traceback from the first frame outside this file on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return text_of(error, trace)


def _debug(error: BaseException) -> None:
    import pdb

    traceback.print_exception(error)
    pdb.post_mortem(error.__traceback__)
