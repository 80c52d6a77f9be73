"""The worker: an opened kind beside one device share. The same class in this process and in a Ray actor."""

from __future__ import annotations

import math
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from orchestrator.artifacts import Artifacts
from orchestrator.errors import NotDeterministic, StorageError, Unreachable, UsageError
from orchestrator.kind import Arrays, Session, Workbench, kind_named
from orchestrator.row import Cause, Metric, Outcome, Progress, RowMaker, Status, series_batch
from orchestrator.schedule import Shard
from orchestrator.spec import parse
from orchestrator.unit import Unit

__all__ = ["Check", "Chunk", "Job", "Message", "Prepare", "Prepared", "Work", "Worker"]

_FLUSH_ROWS = 2048
_LONGEST_ERROR = 20_000  # characters of a traceback that a row keeps


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker needs to come to life, as plain data.

    Attributes:
        kind: name of the kind.
        spec: the spec's fields.
        folder: what relative paths in the spec are relative to.
        threads: of one worker.
        imports: folders that are searched for the user's own modules.
        flush_seconds: rows wait at most so long for company before they are sent, s.
        state_seconds: how often a long unit keeps a state to go on from, s.
        pdb: open the debugger where a unit raises.
        results: the results folder, a path or URL.
    """

    kind: str
    spec: Mapping[str, Any]
    folder: str = "."
    threads: int = 1
    imports: tuple[str, ...] = ()
    flush_seconds: float = 0.02
    state_seconds: float = 60.0
    pdb: bool = False
    results: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Work: see whether data, model and functions of the spec fit together."""

    id: int


@dataclass(frozen=True, slots=True)
class Prepare:
    """Work: compute one preparation."""

    id: int
    name: str
    needs: tuple[str, ...] = ()


Work: TypeAlias = Check | Prepare | Shard


@dataclass(frozen=True, slots=True)
class Prepared:
    """Message: the arrays of one preparation."""

    name: str
    arrays: Arrays
    seconds: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """Message: some rows of a shard, with the series of just these units, and what running units report."""

    rows: pa.RecordBatch | None
    series: pa.RecordBatch | None
    progress: tuple[Progress, ...] = ()


Message: TypeAlias = Prepared | Chunk


@dataclass(slots=True)
class _Buffer:
    """Outcomes that wait to be sent, and the progress of units that have not ended."""

    units: list[Unit] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    meters: list[dict[str, Any]] = field(default_factory=list)
    news: list[Progress] = field(default_factory=list)
    series: list[Progress] = field(default_factory=list)
    running: dict[str, list[Progress]] = field(default_factory=dict)


class Worker:
    """Turns work into messages.

    Args:
        job: what to compute.
        device: `cpu`, or the accelerator this worker was given.

    Raises:
        UsageError: the job's kind or spec is not usable here.
    """

    def __init__(self, job: Job, device: str = "cpu") -> None:
        for folder in job.imports:
            if folder not in sys.path:
                sys.path.insert(0, folder)
        self._job = job
        self._kind = kind_named(job.kind)
        self._spec = parse(self._kind.spec, job.spec, "spec")
        self._stopped: set[str] = set()
        artifacts = None if job.results is None else Artifacts(job.results)
        stopped = self._stopped.__contains__
        self._bench = Workbench(device, job.threads, Path(job.folder), artifacts, stopped, job.state_seconds)
        columns = self._kind.columns(self._spec)
        self._maker = RowMaker(self._kind.params(self._spec), columns)
        self._meters = {c.name for c in columns or () if c.meter}
        self._prepared: dict[str, Arrays] = {}
        self._session: Session | None = None
        self._name = f"{platform.node()}:{os.getpid()}"

    def share(self, name: str, arrays: Arrays) -> None:
        """Take in the arrays of a finished preparation."""
        self._prepared[name] = arrays

    def open(self) -> Session:
        """Open the session, once: load data and model.

        Executors call it before the first shard, so that what fails here is charged to no unit.

        Raises:
            UsageError: the input is unusable.
        """
        if self._session is None:
            self._session = self._kind.open(self._spec, self._prepared, self._bench)
        return self._session

    def stop(self, key: str) -> None:
        """Ask the unit with this key to end early."""
        self._stopped.add(key)

    def run(self, work: Work) -> Iterator[Message]:
        """Do one piece of work.

        Raises:
            UsageError: check, preparation or session found the input unusable.
            NotDeterministic: the probe gave two results.
        """
        match work:
            case Check():
                self._reach()
                self._kind.check(self._spec, self._bench)
            case Prepare():
                began = time.perf_counter()
                have = {name: self._prepared[name] for name in work.needs}
                arrays = self._kind.prepare(self._spec, work.name, have, self._bench)
                yield Prepared(work.name, arrays, time.perf_counter() - began)
            case Shard():
                yield from self._shard(self.open(), work)

    def _reach(self) -> None:
        """Weights go from workers straight to the results, so each needs access of its own."""
        try:
            if self._bench.artifacts is not None:
                self._bench.artifacts.reach()
        except Unreachable as e:
            raise Unreachable(f"a worker on {platform.node()} can't reach the results: {e}") from e

    def _shard(self, session: Session, shard: Shard) -> Iterator[Chunk]:
        units = {u.key: u for u in shard.units}
        buffer = _Buffer()
        flushed = wall = time.perf_counter()
        cpu = time.process_time()
        for item in self._probed(session, shard) if shard.probe else self._outcomes(session, shard.units):
            now = time.perf_counter()
            if isinstance(item, Progress):
                buffer.news.append(item)
                buffer.running.setdefault(item.key, []).append(item)
            else:
                outcome = self._declared(item)
                cpu_now = time.process_time()
                buffer.units.append(units[item.key])
                buffer.outcomes.append(outcome)
                buffer.meters.append(
                    {
                        "attempt": shard.attempts.get(item.key, 1),
                        "worker": self._name,
                        "ended": time.time(),
                        "seconds": now - wall if item.seconds is None else item.seconds,
                        # of units that end together nobody knows whose processor time it was
                        "cpu_seconds": cpu_now - cpu if item.seconds is None else None,
                        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                    }
                )
                buffer.series += buffer.running.pop(item.key, ())
                wall, cpu = now, cpu_now
            if now - flushed >= self._job.flush_seconds or len(buffer.outcomes) >= _FLUSH_ROWS:
                yield self._flush(buffer)
                flushed = wall = time.perf_counter()  # what the receiver did meanwhile is no unit's time
                cpu = time.process_time()
        if buffer.outcomes:
            yield self._flush(buffer)

    def _flush(self, buffer: _Buffer) -> Chunk:
        rows = self._maker.batch(buffer.units, buffer.outcomes, buffer.meters) if buffer.outcomes else None
        chunk = Chunk(rows, series_batch(buffer.series) if buffer.series else None, tuple(buffer.news))
        for filled in (buffer.units, buffer.outcomes, buffer.meters, buffer.series, buffer.news):
            filled.clear()
        return chunk

    def _declared(self, outcome: Outcome) -> Outcome:
        complaint = self._maker.undeclared(outcome)
        return outcome if complaint is None else _failure(outcome.key, Cause.error, complaint)

    def _outcomes(self, session: Session, units: Sequence[Unit]) -> Iterator[Outcome | Progress]:
        """Exactly one outcome for each unit, come what may short of the death of the process."""
        left = {u.key: u for u in units}
        try:
            for item in session.evaluate(units):
                if isinstance(item, Outcome) and left.pop(item.key, None) is None:
                    raise RuntimeError(f"the session gave an outcome that was not asked for, or gave it twice: {item}")
                yield item
            if left:
                raise RuntimeError(f"the session ended without an outcome for {len(left)} of {len(units)} units")
        except (Exception, SystemExit) as e:  # the one place where a unit's errors become rows
            if isinstance(e, UsageError) and not isinstance(e, Unreachable):
                raise
            if self._job.pdb:
                _debug(e)
            if len(units) == 1:
                for key in left:
                    yield _failure(key, _cause(e), _text(e))
            else:
                for unit in list(left.values()):
                    yield from self._outcomes(session, [unit])

    def _probed(self, session: Session, shard: Shard) -> Iterator[Outcome | Progress]:
        """The shard's outcomes, its first unit being evaluated twice."""
        first, *rest = shard.units
        began = time.perf_counter()
        told = list(self._outcomes(session, [first]))
        seconds = time.perf_counter() - began
        once, twice = (
            next(o for o in items if isinstance(o, Outcome)) for items in (told, list(self._outcomes(session, [first])))
        )
        if once.status is not Status.failed:
            differ = [
                f"{name}: {once.metrics.get(name)!r}, then {twice.metrics.get(name)!r}"
                for name in sorted({*once.metrics, *twice.metrics} - self._meters)
                if not _same(once.metrics.get(name), twice.metrics.get(name))
            ]
            if differ or once.status is not twice.status:
                raise NotDeterministic(
                    f"the unit {dict(first.params)} was evaluated twice and gave two results:\n  "
                    + "\n  ".join(differ or [f"status: {once.status}, then {twice.status}"])
                    + f"\nWhat may be the cause: {self._kind.hint_not_deterministic}."
                )
        for item in told:
            yield replace(item, seconds=seconds) if isinstance(item, Outcome) and item.seconds is None else item
        if rest:
            yield from self._outcomes(session, rest)


def _same(a: Metric, b: Metric) -> bool:
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or a == b


def _failure(key: str, cause: Cause, text: str) -> Outcome:
    return Outcome(key, status=Status.failed, error=text, cause=cause)


def _cause(error: BaseException) -> Cause:
    """`infra` where the results can't be reached; `oom` also for accelerators, whose errors have no common base."""
    if isinstance(error, StorageError | Unreachable):
        return Cause.infra
    names = {t.__name__ for t in type(error).__mro__}
    return Cause.oom if names & {"MemoryError", "OutOfMemoryError"} else Cause.error


def _text(error: BaseException) -> str:
    """The traceback from the first frame outside this file on, its end kept when it is too long."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception as e:  # noqa: BLE001 - an error whose own text raises must not take the shard with it
        text = f"{type(error).__name__} (its text can't be shown: {type(e).__name__})"
    return text[-_LONGEST_ERROR:]


def _debug(error: BaseException) -> None:
    import pdb

    traceback.print_exception(error)
    pdb.post_mortem(error.__traceback__)
