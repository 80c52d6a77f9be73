"""A program on one worker: units become processes, and what these report becomes rows and series."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Cause, Outcome, Progress, Status
from landsweep.orchestrator.storage.inside import refuse_link
from landsweep.orchestrator.storage.outputs import UNITS
from landsweep.orchestrator.trust import allow_program
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.callables.folders import Place, UnitFolders
from landsweep.sweeps.lab.programs.attempt import Attempt, Wanted
from landsweep.sweeps.lab.programs.leftovers import end_leftovers, end_orphans
from landsweep.sweeps.lab.programs.process import Launcher
from landsweep.sweeps.lab.programs.searcher import Searcher
from landsweep.sweeps.lab.programs.spec import Program

__all__ = ["ProgramSession"]


class ProgramSession:
    """A program and what it needs, on one worker.

    Args:
        program: the program.
        types: of the declared columns; None when any metric is allowed.
        bench: of the worker.
        wanted: what every unit must report.

    Raises:
        Untrusted: the program is named by a results folder that nobody has trusted.
    """

    def __init__(
        self, program: Program, types: Mapping[str, str] | None, bench: Workbench, wanted: Wanted | None = None
    ) -> None:
        allow_program(program.texts())
        self._program, self._types, self._bench, self._wanted = program, types, bench, wanted or Wanted()
        self._folders = UnitFolders(bench)
        self._launcher, self._searcher = Launcher(program.grace), Searcher()
        self._evaluated: set[str] = set()
        end_orphans(self._folders.root)

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """Start the program once for each unit; whatever becomes of it stays with that unit."""
        refuse_link(self._folders.root, UNITS)  # that of all units; what lies in its own folder is a unit's business
        for unit in units:
            apart = unit.key in self._evaluated  # again, to compare: it must not find what the first one has left
            began = time.perf_counter()
            try:
                place, attempt = self._begin(unit, apart=apart)
            except UsageError as e:  # such as a link, by an earlier attempt
                yield Outcome(unit.key, {}, Status.failed, f"the unit's folder can't be used: {e}", Cause.error)
                continue
            for item in attempt.run(self._launcher, self._searcher):
                if isinstance(item, Outcome):
                    self._settle(place, item, apart=apart)
                    yield replace(item, seconds=time.perf_counter() - began)  # the worker's processor time says nothing
                else:
                    yield item

    def _begin(self, unit: Unit, *, apart: bool) -> tuple[Place, Attempt]:
        place = self._folders.begin(unit.key, apart=apart)
        if place.attempt > 1:
            end_leftovers(place.folder)
        return place, Attempt(self._program, self._types, self._bench, self._wanted, unit, place)

    def _settle(self, place: Place, outcome: Outcome, *, apart: bool) -> None:
        """Keep, copy or remove the folder of a unit that has ended."""
        well = outcome.status in (Status.ok, Status.diverged)
        if well:
            self._evaluated.add(outcome.key)
        artifacts = self._bench.artifacts
        if artifacts is not None and artifacts.folder is None and not apart:
            for stream in ("stdout.txt", "stderr.txt"):
                if (place.folder / stream).is_file():  # the program may have removed it
                    artifacts.write(f"{place.name}/{stream}", (place.folder / stream).read_bytes())
        if apart or (well and self._program.keep == "failed"):
            place.remove()
