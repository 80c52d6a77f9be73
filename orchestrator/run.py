"""The run loop: tell the planner what is known; while not finished, hand out shards, absorb events, append rows."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errands import Errand, run_errands
from orchestrator.executors.base import Event, Executor, Finished, Gave, Lost, Refused
from orchestrator.executors.choice import make_executor
from orchestrator.kind import Arrays, Preparation, SweepKind
from orchestrator.ledger import (
    Ledger,
    Store,
    Writer,
    load_prepared,
    save_prepared,
    set_aside_prepared,
    write_status,
)
from orchestrator.losses import Losses, preparing
from orchestrator.manifest import check_same, grown_head
from orchestrator.mend import lost_files, retire, set_aside
from orchestrator.messages import Chunk, Job, Prepared, Probed
from orchestrator.planner import Guard
from orchestrator.row import Cause, Outcome, RowMaker, Status
from orchestrator.schedule import GivenUp, Schedule, Shard
from orchestrator.silence import Silence
from orchestrator.site import Site
from orchestrator.snapshot import Pace, Snapshot, Watch
from orchestrator.spec import Spec
from orchestrator.sweep import begun, heard, planned, strays, wanted_files
from orchestrator.trust import note_sweep

__all__ = ["Snapshot", "Watch", "make_executor", "run_sweep"]

_POLL_SECONDS = 0.2
_STATUS_SECONDS = 2.0
_ASK = 4096  # units asked from a planner at once while passing over those that are done


def run_sweep(
    kind: SweepKind[Any],
    spec: Spec,
    site: Site,
    out: str | Path,
    *,
    folder: Path,
    watch: Watch,
    stop: threading.Event | None = None,
    executor: Executor | None = None,
    hook: Callable[[str], None] | None = None,
    again: Collection[str] = (),
    deep: bool = False,
    own: bool = True,
) -> Snapshot:
    """Run, resume or extend a sweep until every unit of its plan has a row, or until `stop` is set.

    Args:
        kind: of the spec.
        spec: what to compute.
        site: where and how fast.
        out: results directory, a path or URL.
        folder: what relative paths in the spec are relative to.
        watch: told of progress.
        stop: set it to end early; all rows that have come are kept.
        executor: instead of the one that the site names.
        hook: called at named points of a commit; for tests that kill.
        again: keys of units whose rows are retired first, so that they are computed again.
        deep: read every byte of the files that rows name, and of states, and compute again what has changed bytes.
        own: note that this user has run the sweep here, so that its code may run; not for a folder of somebody else.

    Raises:
        UsageError: spec, site or results directory can't be used; nothing was started.
        PreparationFailed: a preparation raised.
        StopSweep: results could not be written, no worker can come, or another driver took over.
    """
    store = Store.at(out)
    ledger = Ledger.open(store) if Ledger.exists(store) else None
    store.prove_exclusive()
    if ledger is not None:
        check_same(ledger.sweep, kind, spec, str(out))
    stop = stop or threading.Event()
    with ExitStack() as stack:
        run = _Run(kind, spec, site, store, executor := executor or make_executor(site), watch, stop)
        stack.callback(executor.close)
        if ledger is None:
            run.open(folder)
            if stop.is_set():  # before the check has passed, nothing is written
                return run.stopped()
            ledger = begun(store, kind, spec, folder)
        lost = lost_files(ledger, kind.columns(spec) or (), watch, deep=deep)
        if again or lost:
            run.open(folder)  # rows leave the table only when the input has been checked
            if stop.is_set():
                return run.stopped()
            retire(ledger, again, lost, watch)
        writer = stack.enter_context(ledger.writing(hook, seconds=site.commit_seconds, most_rows=site.commit_rows))
        set_aside(ledger, writer, watch, states=deep)
        _grow(ledger, writer, spec, own=own)
        return run.go(ledger, writer, folder)


def _grow(ledger: Ledger, writer: Writer, spec: Spec, *, own: bool) -> None:
    """Let `sweep.json` hold all axes of the spec, and remember, of an own one, that this user has run the sweep."""
    if (head := grown_head(ledger.sweep, spec)) is not None:
        writer.update_sweep(head)
    if own:
        note_sweep(ledger.store.where, head or ledger.sweep)


class _Run:
    """State of one run; `go` is the loop."""

    def __init__(
        self,
        kind: SweepKind[Any],
        spec: Spec,
        site: Site,
        store: Store,
        executor: Executor,
        watch: Watch,
        stop: threading.Event,
    ) -> None:
        kind.validate(spec)
        self._kind, self._spec, self._site, self._store = kind, spec, site, store
        self._executor, self._watch, self._stop = executor, watch, stop
        self._planner = kind.planner(spec)
        probe = site.probe_seconds > 0 and kind.deterministic(spec)
        self._schedule = Schedule(site.budgets.by_cause(), site.shard_seconds, probe=probe)
        self._maker = RowMaker(kind.params(spec), kind.columns(spec))
        self._losses = Losses(store, site.budgets.driver)
        self._silence = Silence()
        self._began = time.monotonic()
        self._opened = self._may_write = False  # nothing is written before the check has passed
        self._phase, self._note = "starting", ""
        self._old: Counter[str] = Counter()  # rows of earlier runs by status
        self._new: Counter[str] = Counter()  # rows of this run by status
        self._strays = 0  # rows of no unit of the plan
        self._pace = Pace(self._began)
        self._shown = self._written = -1e9
        self._guard = Guard(kind.name)
        self._status_failed = False

    def open(self, folder: Path) -> None:
        """Bring up the executor and let one worker check the input; called before anything is written."""
        if self._opened:
            return
        self._phase, self._note = "checking", "starting workers"
        self._executor.open(
            Job(
                kind=self._kind.name,
                spec=self._spec.model_dump(mode="json"),
                folder=str(folder.resolve()),
                threads=self._site.threads or max(1, int(self._site.cpus)),
                imports=(str(Path.cwd()), str(folder.resolve())),
                state_seconds=self._site.state_seconds,
                probe_seconds=self._site.probe_seconds,
                pdb=self._site.pdb,
                results=self._store.where if self._store.path is None else str(self._store.path.resolve()),
            )
        )
        self._opened = True
        self._errands([Errand("check")])

    def go(self, ledger: Ledger, writer: Writer, folder: Path) -> Snapshot:
        """The loop."""
        self._writer, self._may_write = writer, True
        finished = not self._resume(ledger)
        lost = set_aside_prepared(self._store, wanted_files(self._kind, self._spec), complete=finished)
        for damage in lost:
            self._watch.say(f"{damage}; where the sweep needs it, it is computed again")
        if not (finished := finished and not lost):
            self.open(folder)
            self._prepare()
            self._phase, self._note = "running", ""
            flights = self._schedule.flights
            with self._losses.remembered(writer.done, lambda: flights().values(), self._watch.say):
                finished = self._compute()
        writer.commit()
        if finished:
            counted = self._old.total() + self._new.total() - writer.dropped
            planned_units = 0 if self._planner.listens else self._planner.total or 0
            writer.prove(max(counted, planned_units) + self._strays)
            if why := self._planner.ended_early:
                self._watch.say(why)
        self._phase, self._note = ("done" if finished else "stopped"), ""
        self._show(last=True)
        return self._snapshot()

    def _compute(self) -> bool:
        """Until all units have a row, or the run is stopped; gives whether they have."""
        while not self._stop.is_set():
            self._feed()
            if self._planner.exhausted and not self._schedule.open and not self._losses.waiting:
                return True
            now = time.monotonic()
            for event in self._executor.poll(_POLL_SECONDS):
                self._absorb(event)
                self._silence.heard(event.work, now, ended=not isinstance(event, Gave))
            self._writer.commit_if_due(time.monotonic())
            self._note = self._silence.report(time.monotonic(), self._schedule.flights, self._watch.say)
            self._show()
        return False

    def stopped(self) -> Snapshot:
        """The last snapshot of a run that was stopped before it began to compute."""
        self._phase, self._note = "stopped", ""
        return self._snapshot()

    def _resume(self, ledger: Ledger) -> bool:
        """Tell the planner the rows that the ledger holds: that is resuming. Gives whether any work is left."""
        if self._planner.listens:
            heard(self._planner, ledger)
            self._old.update(ledger.rows(["status"]).column("status").to_pylist())
            return not self._planner.exhausted
        rows = ledger.rows(["key", "status"])
        ended = dict(zip(rows.column("key").to_pylist(), rows.column("status").to_pylist(), strict=True))
        left = False
        for unit in planned(self._kind, self._spec):
            status = ended.get(unit.key)
            if status is None:
                left = True
            else:
                self._old[status] += 1
        self._strays = len(ended) - self._old.total()
        for line in strays(ledger.sweep, self._kind, self._spec, len(ended), self._old.total()):
            self._watch.say(line)
        return left

    def _feed(self) -> None:
        """Planner -> schedule -> workers."""
        wants, dry = self._schedule.wants(self._executor.workers), False
        while wants > 0 and not self._planner.exhausted:
            asked = self._planner.ask(max(wants, _ASK) if not self._planner.listens else wants)
            fresh = [u for u in asked if u.key not in self._writer.done]
            wants -= len(fresh)
            self._guard.repeated(len(asked) - len(fresh), len(self._writer.done))
            if self._losses.suspects:
                fresh, given_up = self._losses.unsuspected(fresh)
                self._give_up(given_up)
            self._schedule.offer(fresh)
            if dry := not asked:
                break
        self._schedule.drained = dry or self._planner.exhausted
        for piece in self._losses.due(self._writer.done):
            self._schedule.offer(piece, together=True)
        if dry and not self._schedule.open and not self._planner.exhausted:
            self._guard.waits_for_nothing()
        self._schedule.longest_shard = self._losses.longest_shard(self._executor.workers)
        self._hand_out()

    def _hand_out(self) -> None:
        shards: list[tuple[str, Shard]] = []
        for worker in self._executor.slots():
            shard = self._schedule.next(self._executor.workers)
            if shard is None:
                break
            shards.append((worker, shard))
        if shards and self._losses.careful:
            self._losses.note(self._schedule.flights().values())
        now = time.monotonic()
        for worker, shard in shards:
            self._executor.start(worker, shard)
            self._silence.started(worker, shard.id, now)

    def _absorb(self, event: Event) -> None:
        match event:
            case Gave(work, Chunk() as chunk):
                if self._planner.follows:
                    for key in self._planner.hear(chunk.progress):
                        self._executor.stop(key)
                for note in chunk.notes:
                    self._watch.say(note)
                if chunk.rows is not None:
                    self._take(work, chunk.rows, chunk.series)
            case Gave(_, Probed() as probed):
                self._watch.say(probed.text(self._site.probe_seconds))
            case Finished(work, seconds):
                self._schedule.finished(work, seconds)
            case Lost(work, cause, why, began, announced):
                self._give_up(self._schedule.lost(work, cause, why, began=began and not announced))
            case Refused(_, error):
                raise error

    def _take(self, work: int, rows: pa.RecordBatch, series: pa.RecordBatch | None) -> None:
        """Rows -> ledger, each unit once; failures that have a budget go back to the schedule."""
        statuses = rows.column("status").to_pylist()
        if Status.failed.value in statuses:
            rows = rows.filter(pa.array([not self._retried(work, row) for row in rows.to_pylist()]))
        accepted = self._schedule.ended(work, rows.column("key").to_pylist())
        if not all(accepted):
            rows = rows.filter(pa.array(accepted, pa.bool_()))
        if series is not None and rows.num_rows < len(statuses):
            series = series.filter(pc.is_in(series.column("key"), rows.column("key")))
        self._append(rows, series)

    def _retried(self, work: int, row: Mapping[str, Any]) -> bool:
        """Whether a failed row is not the unit's last word."""
        if row["status"] != Status.failed.value or not self._site.budgets.by_cause()[Cause(row["cause"])]:
            return False
        self._give_up(self._schedule.retry(work, row["key"], Cause(row["cause"]), row["error"]))
        return True

    def _give_up(self, given_up: list[GivenUp]) -> None:
        for g in given_up:
            outcome = Outcome(g.unit.key, status=Status.failed, error=g.why, cause=g.cause)
            meters = {"attempt": g.attempts, "ended": time.time()}
            self._append(self._maker.batch([g.unit], [outcome], [meters]), None)

    def _append(self, rows: pa.RecordBatch, series: pa.RecordBatch | None) -> None:
        self._writer.append(rows, series)
        self._new.update(rows.column("status").to_pylist())
        if self._planner.listens:
            for row in rows.to_pylist():
                self._planner.tell(row)

    def _prepare(self) -> None:
        """Compute what all units share, unless it lies in the sweep already."""
        self._phase = "preparing"
        missing = {}
        for step in self._kind.preparations(self._spec):
            arrays = load_prepared(self._store, step.file)
            if arrays is None:
                missing[step.name] = step
            else:
                self._share(step, arrays)
        if missing:
            with preparing(self._store, list(missing), self._site.budgets.driver):
                self._errands([Errand(name, step) for name, step in missing.items()])

    def _share(self, step: Preparation, arrays: Arrays) -> None:
        self._executor.share(step.name, arrays)
        if step.pack:
            self._schedule.pack(step.pack, int(arrays["size"][0]))

    def _errands(self, errands: list[Errand]) -> None:
        steps = {e.name: e.preparation for e in errands if e.preparation}

        def keep(made: Prepared) -> None:
            step = steps[made.name]
            about = {"seconds": made.seconds, "host": platform.node()}
            save_prepared(self._store, step.file, made.arrays, about, exact=not step.pack)
            self._share(step, made.arrays)
            note = f": {made.arrays['note'].tobytes().decode()}" if "note" in made.arrays else ""
            self._watch.say(f"prepared {made.name} in {made.seconds:.1f} s{note}")

        def tick(note: str) -> None:
            self._note = note
            self._show()

        run_errands(self._executor, errands, on_prepared=keep, tick=tick, stop=self._stop)

    def _snapshot(self) -> Snapshot:
        now = time.monotonic()
        counts = self._old + self._new
        new, done = self._new.total(), counts.total()
        rate = self._pace.rate(now, new, counting=self._phase == "running")
        total = self._planner.total
        left = None if total is None else max(0, total - done)
        eta = None if left is None or rate <= 0 else left / rate
        return Snapshot(
            phase=self._phase,
            total=total,
            done=done,
            new=new,
            counts=dict(counts),
            rate=rate,
            eta=eta,
            workers=self._executor.workers if self._opened else 0,
            seconds=now - self._began,
            note=self._note,
        )

    def _show(self, *, last: bool = False) -> None:
        """Tell the watch, and every two seconds the status file."""
        now = time.monotonic()
        if not last and now - self._shown < _POLL_SECONDS:
            return
        self._shown = now
        snapshot = self._snapshot()
        self._watch.show(snapshot)
        if self._may_write and (last or now - self._written >= _STATUS_SECONDS):
            self._written = now
            content = {**asdict(snapshot), "updated": time.time(), "pid": os.getpid(), "host": platform.node()}
            problem = write_status(self._store, content)
            if problem and not self._status_failed:
                self._watch.say(f"`landsweep status` shows an old state: {problem}")
            self._status_failed = problem is not None
