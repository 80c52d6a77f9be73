"""One run of a sweep: checks before anything is written, then preparations, then the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import Ganged, SweepKind
from landsweep.orchestrator.notes import note_sweep
from landsweep.orchestrator.planner import Guard
from landsweep.orchestrator.row import RowMaker
from landsweep.orchestrator.run.driver_deaths import DriverDeaths
from landsweep.orchestrator.run.ending import Ending
from landsweep.orchestrator.run.executors.base import Executor
from landsweep.orchestrator.run.executors.choice import make_executor
from landsweep.orchestrator.run.loop import RunLoop
from landsweep.orchestrator.run.manifest import check_same, grown_manifest
from landsweep.orchestrator.run.mend import lost_files, retire, set_aside
from landsweep.orchestrator.run.messages import WorkerConfig
from landsweep.orchestrator.run.plan import check_sizes
from landsweep.orchestrator.run.preparations import Preparations
from landsweep.orchestrator.run.progress import RunProgress, Snapshot, Watch
from landsweep.orchestrator.run.running_curves import RunningCurves
from landsweep.orchestrator.run.schedule import ShardSchedule
from landsweep.orchestrator.run.stage_list import read_stage_list
from landsweep.orchestrator.run.sweep import begin_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.ledger import Ledger, Store, Writer, check_facts
from landsweep.orchestrator.text import one_line

__all__ = ["make_executor", "run_sweep"]


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
        watch: shows progress.
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
    if ledger is None and (staged := read_stage_list(store)) is not None:
        raise UsageError(
            f"{out} holds the stages of {one_line(staged['name'])}, and a folder holds stages or one sweep; give "
            "another one with --out, or run the spec of all stages"
        )
    store.prove_exclusive()
    if ledger is not None:
        check_same(ledger.sweep, kind, spec, str(out))
        if (damage := check_facts(ledger.sweep)) is not None:
            watch.say(f"{damage}. Put the file back as it was written: no run can")
    kind.validate(spec)
    check_sizes(kind, spec, folder, site.capacity)
    with ExitStack() as stack:
        executor = executor or make_executor(site)
        stack.callback(executor.close)
        run = _Run(kind, spec, site, store, folder, executor, watch, stop or threading.Event())
        ledger = run.ready(ledger, again, deep=deep)
        if ledger is None:
            return run.progress.stopped()
        writer = stack.enter_context(ledger.writing(hook, seconds=site.commit_seconds, most_rows=site.commit_rows))
        set_aside(ledger, writer, watch, states=deep)
        return run.compute(ledger, writer, own=own)


class _Run:
    """The parts of one run, put together."""

    def __init__(
        self,
        kind: SweepKind[Any],
        spec: Spec,
        site: Site,
        store: Store,
        folder: Path,
        executor: Executor,
        watch: Watch,
        stop: threading.Event,
    ) -> None:
        self._kind, self._spec, self._site, self._store, self._folder = kind, spec, site, store, folder
        self._executor, self._watch, self._stop = executor, watch, stop
        self._planner, self._ending = kind.planner(spec), Ending(site.end_when, kind, spec)
        probe = site.probe_seconds > 0 and kind.deterministic(spec)
        devices = kind.devices(spec, folder) if isinstance(kind, Ganged) else None
        self._schedule = ShardSchedule(site.budgets.by_cause(), site.shard_seconds, probe=probe, devices=devices)
        self.progress = RunProgress(watch, self._planner, executor)
        results = store.where if store.path is None else str(store.path.resolve())
        config = WorkerConfig.of(kind, spec, site, folder, results)
        self._preparations = Preparations(kind, spec, executor, config, self._schedule, store, self.progress, stop)

    def ready(self, ledger: Ledger | None, again: Collection[str], *, deep: bool) -> Ledger | None:
        """The ledger, created if need be, without rows that are to be computed again; None: the run was stopped.

        Nothing is written, and no row is retired, before the input has passed its check.
        """
        if ledger is None:
            if not self._preparations.check():
                return None
            ledger = begin_sweep(self._store, self._kind, self._spec, self._folder)
        lost = lost_files(ledger, self._kind.columns(self._spec) or (), self._watch, deep=deep)
        if again or lost:
            if not self._preparations.check():
                return None
            retire(ledger, again, lost, self._watch)
        return ledger

    def compute(self, ledger: Ledger, writer: Writer, *, own: bool) -> Snapshot:
        """Resume, and compute what is left; if nothing is left, no worker is started.

        Axes that have grown are written after the input has passed its check: a refused spec leaves no trace.
        """
        maker = RowMaker(self._kind.params(self._spec), self._kind.columns(self._spec))
        deaths = DriverDeaths(self._store, self._site.budgets.driver)
        guard = Guard(self._kind.name)
        curves = RunningCurves(self._store, self._site.commit_seconds, self.progress.say)
        loop = RunLoop(
            self._planner, self._schedule, self._executor, writer, maker, deaths, guard, self.progress, self._ending,
            curves,
        )  # fmt: skip
        finished = not loop.resume(ledger, self._kind, self._spec)
        work = self._preparations.damaged(complete=finished) or not finished
        if not work or self._preparations.check():
            self._begin(ledger, writer, own=own)
        if work:
            self._preparations.prepare(self._site.budgets.driver)
            finished = loop.run(self._stop)
        loop.end(finished=finished)
        return self.progress.end("done" if finished else "stopped")

    def _begin(self, ledger: Ledger, writer: Writer, *, own: bool) -> None:
        """Write how a run begins: its status, axes that have grown, and a note that this user runs the sweep."""
        self.progress.keep_in(self._store)
        if (manifest := grown_manifest(ledger.sweep, self._spec)) is not None:
            writer.update_sweep(manifest)
        if own:
            note_sweep(self._store.where, manifest or ledger.sweep)
