"""One unit tried once: its program is started, followed, and read at its end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from landsweep.orchestrator.canonical import Value
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Cause, Metric, Outcome, Progress, Status
from landsweep.orchestrator.unit import Unit, stream_seed
from landsweep.sweeps.lab.callables.folders import Place
from landsweep.sweeps.lab.callables.results import Unfit, missing_goal, outcome_of
from landsweep.sweeps.lab.programs.endings import Ending
from landsweep.sweeps.lab.programs.leftovers import end_leftovers
from landsweep.sweeps.lab.programs.metrics import Collected, History
from landsweep.sweeps.lab.programs.output import Kept
from landsweep.sweeps.lab.programs.process import CantStart, GuardDied, Launcher, Running
from landsweep.sweeps.lab.programs.searcher import Searcher
from landsweep.sweeps.lab.programs.sources import Sources
from landsweep.sweeps.lab.programs.spec import Program
from landsweep.sweeps.lab.programs.words import as_word, filled

__all__ = ["Attempt", "Wanted", "working_folder"]

_TURN = 0.05  # s; how often the file of metrics, the clock and a wish to stop are looked at


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every unit must report.

    Attributes:
        metrics: numbers that the row must hold: the goals.
        series: numbers that must have been reported with a step, for a pruner or a target.
    """

    metrics: tuple[str, ...] = ()
    series: tuple[str, ...] = ()


class Attempt:
    """One unit, tried once.

    Args:
        program: what is started.
        types: of the declared columns; None when any metric is allowed.
        bench: of the worker.
        wanted: what the unit must report.
        unit: whose params are filled in.
        place: of the unit.
    """

    def __init__(
        self,
        program: Program,
        types: Mapping[str, str] | None,
        bench: Workbench,
        wanted: Wanted,
        unit: Unit,
        place: Place,
    ) -> None:
        self._program, self._types, self._bench, self._wanted = program, types, bench, wanted
        self._unit, self._place = unit, place
        self._files = place.inner("files")
        self._collected = Collected()

    def run(self, launcher: Launcher, searcher: Searcher) -> Iterator[Outcome | Progress | None]:
        """Start the program and follow it to its end."""
        folder, own, lines = self._place.folder, self._place.own_file, bool(self._program.metrics.patterns)
        self._out, self._err = (Kept(own(f"{name}.txt"), lines=lines) for name in ("stdout", "stderr"))
        streams = (self._out, self._err)
        self._sources = Sources(
            self._program.metrics,
            own("metrics.jsonl"),
            self._files,
            streams,
            self._types,
            searcher,
            self._program.timeout,
        )
        self._history = History(own("reported.jsonl"), again=self._place.attempt > 1)
        self._ending = Ending(self._unit.key, self._place, streams)
        try:
            yield from self._started(launcher)
        except Unfit as e:
            yield self._ending.failed(str(e))
        except CantStart as e:
            yield self._ending.failed(f"the program can't be started: {e}")
        except GuardDied as e:
            end_leftovers(folder)
            yield self._ending.failed(str(e), Cause.infra)
        finally:
            for part in (*streams, self._history):
                part.close()

    def _started(self, launcher: Launcher) -> Iterator[Outcome | Progress | None]:
        values = self._values()
        try:
            argv = self._program.argv(values)
        except KeyError as e:
            raise Unfit(f"the placeholder {{{e.args[0]}}} has no value in this unit") from e
        texts = {name: as_word(value) for name, value in values.items()}
        environment = {**os.environ, **self._lent(), **{n: filled(v, texts) for n, v in self._program.env.items()}}
        cwd = working_folder(self._program, self._bench.folder, texts)
        running = launcher.start(argv, environment, cwd, self._out, self._err)
        try:
            yield from self._followed(running)
        finally:
            running.close()

    def _followed(self, running: Running) -> Iterator[Outcome | Progress | None]:
        began, limit = time.monotonic(), self._program.timeout
        while running.wait(_TURN):
            yield from self._points()
            yield None
            if self._bench.stopped(self._unit.key):
                running.end()
                yield from self._points()
                yield self._stopped()
                return
            if limit is not None and time.monotonic() - began > limit:
                running.end()
                text = f"the program took longer than command.timeout={limit:g} s and was ended"
                yield self._ending.failed(text, Cause.timeout)
                return
        running.close()
        if running.status:
            with suppress(Unfit):  # the program's own end is what there is to say
                yield from self._points()
            yield self._ending.of_status(running.status, time.monotonic() - began)
            return
        yield from self._points(last=True)
        yield from self._end()

    def _end(self) -> Iterator[Outcome | Progress | None]:
        """The row of a program that has ended well, after what it has left in files."""
        for record, source in self._sources.at_end():
            yield from self._point(record, source)
        self._sources.check_used()
        row = self._collected.row
        if self._collected.step is None:  # it had nothing left to do
            past: dict[str, Metric] = {}
            for step, numbers in self._history.all_of_the_past():
                yield Progress(self._unit.key, step, numbers)
                past |= numbers
            row = {**past, **row}
        outcome = outcome_of(self._unit.key, row, self._types, "program")
        if outcome.status is Status.ok:
            self._check(row)
        if outcome.status is Status.failed:
            outcome = self._ending.failed(str(outcome.error))
        yield outcome

    def _check(self, row: Mapping[str, object]) -> None:
        if problem := missing_goal(self._wanted.metrics, row, "program"):
            raise Unfit(problem)
        for name in self._wanted.series:
            if name not in self._collected.steps:
                raise Unfit(
                    f"a pruner or target needs {name} while the program runs: report it with a `step`, as a number"
                )

    def _stopped(self) -> Outcome:
        step = self._collected.step
        return outcome_of(self._unit.key, self._collected.row, self._types, "program", stopped=step or 0)

    def _points(self, *, last: bool = False) -> Iterator[Progress]:
        for record, source in self._sources.news(last=last):
            yield from self._point(record, source)

    def _point(self, record: Mapping[str, object], source: str) -> Iterator[Progress]:
        if (point := self._collected.take(record, source)) is not None:
            for step, numbers in self._history.add(point):
                yield Progress(self._unit.key, step, numbers)

    def _values(self) -> dict[str, Value]:
        """What placeholders stand for."""
        return {
            "seed": stream_seed(self._unit, "program") >> 32,
            **self._unit.params,
            "dir": str(self._files),
            "key": self._unit.key,
            "attempt": self._place.attempt,
            "folder": str(self._bench.folder.resolve()),
            "python": sys.executable,
        }

    def _lent(self) -> dict[str, str]:
        """Environment variables that every program gets."""
        folder = self._place.folder
        return {
            **({} if "PYTHONUNBUFFERED" in os.environ else {"PYTHONUNBUFFERED": "1"}),  # lines as they are printed
            "LANDSWEEP_METRICS": str(folder / "metrics.jsonl"),
            "LANDSWEEP_DIR": str(self._files),
            "LANDSWEEP_UNIT": str(folder),
            "LANDSWEEP_RESULTS": str(self._place.root),
            "LANDSWEEP_KEY": self._unit.key,
            "LANDSWEEP_ATTEMPT": str(self._place.attempt),
            "LANDSWEEP_DEVICE": self._bench.device,
            "LANDSWEEP_DEVICES": ",".join(self._bench.devices),
            "LANDSWEEP_PARAMS": json.dumps(dict(self._unit.params)),
        }


def working_folder(program: Program, folder: Path, texts: Mapping[str, str]) -> Path:
    """Where a program is started."""
    return folder.resolve() / filled(program.cwd, texts)
