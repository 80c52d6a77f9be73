"""The run loop: tell the planner what is known; while not finished, hand out shards, absorb events, append rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.planner import Guard, Planner
from landsweep.orchestrator.row import Cause, Outcome, RowMaker, Status
from landsweep.orchestrator.run.columns import ColumnLimit
from landsweep.orchestrator.run.driver_deaths import DriverDeaths
from landsweep.orchestrator.run.ending import Ending
from landsweep.orchestrator.run.executors.base import Event, Executor, Finished, Gave, Lost, Refused
from landsweep.orchestrator.run.messages import Chunk, Probed
from landsweep.orchestrator.run.plan import planned, resumed, strays
from landsweep.orchestrator.run.progress import RunProgress
from landsweep.orchestrator.run.running_curves import RunningCurves
from landsweep.orchestrator.run.schedule import GivenUp, Shard, ShardSchedule
from landsweep.orchestrator.run.silence import Silence
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.ledger import Ledger, Writer

__all__ = ["RunLoop"]

_POLL_SECONDS = 0.2
_ASK = 4096  # units asked from a planner at once while passing over those that are done


class RunLoop:
    """Moves units from planner to workers, and rows from workers to the ledger.

    Args:
        planner: a new one, which has been told no row yet.
        schedule: knows how packs are cut.
        executor: open by the time of `run`.
        writer: of the ledger.
        maker: of rows for units that are given up.
        deaths: remembers units that may have killed the driver.
        guard: stops a sweep whose planner would never end.
        progress: counts rows.
        ending: says when to end although units are left.
        curves: keeps what running units report, for the web application.
    """

    def __init__(
        self,
        planner: Planner,
        schedule: ShardSchedule,
        executor: Executor,
        writer: Writer,
        maker: RowMaker,
        deaths: DriverDeaths,
        guard: Guard,
        progress: RunProgress,
        ending: Ending,
        curves: RunningCurves,
    ) -> None:
        self._planner, self._schedule, self._executor, self._writer = planner, schedule, executor, writer
        self._maker, self._deaths, self._guard, self._progress = maker, deaths, guard, progress
        self._ending, self._curves = ending, curves
        self._silence = Silence()
        self._columns = ColumnLimit(maker, writer.columns)
        self._strays = 0  # rows of no unit of the plan

    def resume(self, ledger: Ledger, kind: SweepKind[Any], spec: Spec) -> bool:
        """Resume: tell the planner the rows that the ledger holds. Returns whether any work is left."""
        if self._planner.adaptive:
            resumed(self._planner, ledger)
            self._progress.count_before(ledger.rows(["status"]).column("status").to_pylist())
            return not self._planner.exhausted
        rows = ledger.rows(["key", "status"])
        statuses = dict(zip(rows.column("key").to_pylist(), rows.column("status").to_pylist(), strict=True))
        done, unfinished = [], False
        for unit in planned(kind, spec):
            if (status := statuses.get(unit.key)) is None:
                unfinished = True
            else:
                done.append(status)
        self._progress.count_before(done)
        self._strays = len(statuses) - len(done)
        for line in strays(ledger.sweep, kind, spec, len(statuses), len(done)):
            self._progress.say(line)
        return unfinished

    def run(self, stop: threading.Event) -> bool:
        """Compute until all units have a row, `stop` is set or `site.end_when` holds; returns whether all have one."""
        self._progress.enter("running")
        self._progress.tick("")  # before the first unit, which may occupy this process for hours
        flights = self._schedule.flights
        with self._deaths.remembered(self._writer.done, lambda: flights().values(), self._progress.say):
            while not stop.is_set():
                self._feed()
                if self._planner.exhausted and not self._schedule.open and not self._deaths.waiting:
                    return True
                if why := self._ending.why():
                    self._progress.end_early(why)
                    return False
                self._turn()
        return False

    def end(self, *, finished: bool) -> None:
        """Commit, and prove that no row of a finished sweep is missing.

        Raises:
            StorageError: rows could not be written, or files of rows have vanished.
        """
        self._writer.commit()
        self._curves.ended()
        if finished:
            rows = self._progress.rows - self._writer.dropped
            units = 0 if self._planner.adaptive else self._planner.total or 0
            self._writer.prove(max(rows, units) + self._strays)
            if why := self._planner.ended_early:
                self._progress.say(why)

    def _turn(self) -> None:
        """Wait for events and absorb them."""
        now = time.monotonic()
        for event in self._executor.poll(_POLL_SECONDS):
            self._absorb(event)
            self._silence.heard(event.work, now, ended=not isinstance(event, Gave))
        self._writer.commit_if_due(time.monotonic())
        self._curves.write_if_due(time.monotonic(), lambda: chain(*self._schedule.flights().values()))
        self._progress.tick(self._silence.report(time.monotonic(), self._schedule.flights, self._progress.say))

    def _feed(self) -> None:
        """Planner -> schedule -> workers."""
        dry = self._ask()
        self._schedule.drained = dry or self._planner.exhausted
        for suspects in self._deaths.due(self._writer.done):
            self._schedule.add(suspects, together=True)
        if dry and not self._schedule.open and not self._planner.exhausted:
            self._guard.waits_for_nothing()
        self._schedule.longest_shard = self._deaths.longest_shard(self._executor.workers)
        self._hand_out()

    def _ask(self) -> bool:
        """Planner -> schedule, until that has enough; returns whether the planner has no unit for now."""
        demand = self._schedule.demand(self._executor.workers)
        while demand > 0 and not self._planner.exhausted:
            units = self._planner.ask(max(demand, _ASK) if not self._planner.adaptive else demand)
            if not units:
                return True
            fresh = [u for u in units if u.key not in self._writer.done]
            demand -= len(fresh)
            self._guard.repeated(len(units) - len(fresh), len(self._writer.done))
            if self._deaths.suspects:
                fresh, given_up = self._deaths.unsuspected(fresh)
                if given_up:  # committed before another unit can kill this run: they would be tried again
                    self._give_up(given_up)
                    self._writer.commit()
            self._schedule.add(fresh)
        return False

    def _hand_out(self) -> None:
        shards: list[tuple[str, Shard]] = []
        self._executor.expect(self._schedule.sizes)
        empty = set[int]()  # sizes of workers for which nothing waits
        for worker in self._executor.free_workers():
            devices = self._executor.devices(worker)
            if devices in empty:
                continue
            shard = self._schedule.next(self._executor.workers, devices)
            if shard is None:
                empty.add(devices)
            else:
                shards.append((worker, shard))
        if shards and self._deaths.careful:
            self._deaths.note(self._schedule.flights().values())
        now = time.monotonic()
        for worker, shard in shards:
            self._executor.start(worker, shard)
            self._silence.started(worker, shard.id, now)

    def _absorb(self, event: Event) -> None:
        match event:
            case Gave(work, Chunk() as chunk):
                if self._planner.prunes:
                    for key in self._planner.report(chunk.progress):
                        self._executor.stop(key)
                self._curves.take(chunk.progress)
                for note in chunk.notes:
                    self._progress.say(note)
                if chunk.rows is not None:
                    self._take(work, chunk.rows, chunk.series)
            case Gave(_, Probed() as probed):
                self._progress.say(probed.text)
            case Finished(work, seconds):
                self._schedule.shard_done(work, seconds)
            case Lost(work, cause, why, began, announced):
                self._give_up(self._schedule.lost(work, cause, why, began=began and not announced))
            case Refused(_, error):
                raise error

    def _take(self, work: int, rows: pa.RecordBatch, series: pa.RecordBatch | None) -> None:
        """Rows -> ledger, each unit once; failures that have a budget go back to the schedule."""
        rows = self._columns.admitted(rows, None if self._planner.adaptive else self._planner.total)
        statuses = rows.column("status").to_pylist()
        if Status.failed.value in statuses:
            rows = rows.filter(pa.array([not self._retried(work, row) for row in rows.to_pylist()]))
        accepted = self._schedule.accept_rows(work, rows.column("key").to_pylist())
        if not all(accepted):
            rows = rows.filter(pa.array(accepted, pa.bool_()))
        if series is not None and rows.num_rows < len(statuses):
            series = series.filter(pc.is_in(series.column("key"), rows.column("key")))
        self._append(rows, series)

    def _retried(self, work: int, row: Mapping[str, Any]) -> bool:
        """Whether a failed row is not the unit's last word."""
        if row["status"] != Status.failed.value or not self._schedule.forgives(cause := Cause(row["cause"])):
            return False
        self._give_up(self._schedule.retry(work, row["key"], cause, row["error"]))
        return True

    def _give_up(self, given_up: Iterable[GivenUp]) -> None:
        for g in given_up:
            outcome = Outcome(g.unit.key, status=Status.failed, error=g.why, cause=g.cause)
            meters = {"attempt": g.attempts, "ended": time.time()}
            self._append(self._maker.batch([g.unit], [outcome], [meters]), None)

    def _append(self, rows: pa.RecordBatch, series: pa.RecordBatch | None) -> None:
        self._writer.append(rows, series)
        self._progress.count_new(rows.column("status").to_pylist())
        self._ending.take(rows)
        if self._planner.adaptive:
            for row in rows.to_pylist():
                self._planner.tell(row)
