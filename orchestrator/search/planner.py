"""Optuna as a planner, by ask and tell.

The study lives in memory. What it holds follows from the rows alone: trials are opened in the order of their numbers,
each with a sampler of its own whose seed is drawn from the number; one that has rows gets its values from them. So
resuming is the same loop as running.

With `deterministic`, trials are asked for in generations: the next one begins when all of the last have ended, and they
are told in the order of their numbers. Without it, a trial is told as soon as it ends.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import TrialState

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.row import Progress, Status
from landsweep.orchestrator.search import samplers as specs
from landsweep.orchestrator.search.limits import InVain, check_counted
from landsweep.orchestrator.search.study import (
    Goal,
    Past,
    Search,
    as_option,
    directions,
    keeps_state,
    pruner_of,
    sampler_of,
    suggest,
)
from landsweep.orchestrator.unit import Unit

__all__ = ["StudyPlanner"]


@dataclass(slots=True)
class _Trial:
    number: int
    handle: optuna.Trial
    values: dict[str, Value]
    units: tuple[Unit, ...]
    awaited: set[str]  # keys of its units without a row
    judged: int = -1  # the last step that the pruner has seen
    stopped_at: int | None = None
    curve: dict[int, float] = field(default_factory=dict)


class StudyPlanner(Planner):
    """Asks Optuna which settings to try.

    Args:
        search: what is sought.
        units: makes the units of a trial from its number and values, one for each seed; their params hold `trial` and
            the values by name.

    Attributes:
        study: Optuna's, with all trials told so far.
        sampler_seconds: wall time that Optuna took.
    """

    adaptive = True

    def __init__(self, search: Search, units: Callable[[int, Mapping[str, Value]], Sequence[Unit]]) -> None:
        self._search = search
        self._units = units
        self._past = Past()
        self.study = optuna.create_study(
            study_name=search.name,
            storage=self._past,
            directions=directions(search),
            pruner=pruner_of(search.pruner),
        )
        self._shared = IntersectionSearchSpace(include_pruned=True)  # as TPE counts them
        self.prunes = not isinstance(search.pruner, specs.NoPruner)
        self.sampler_seconds = 0.0
        self._rows: dict[int, dict[str, Mapping[str, Any]]] = {}
        self._curves: dict[str, dict[int, float]] = {}
        self._open: dict[int, _Trial] = {}
        self._ended: list[_Trial] = []  # those of the open ones that await no row
        self._of: dict[str, _Trial] = {}
        self._queue: deque[Unit] = deque()
        self._next = 0
        self._seconds = self._flops = 0.0
        self._in_vain = InVain(search.budget)

    @property
    def total(self) -> int | None:
        trials = self._search.trials
        return None if trials is None else trials * self._search.seeds

    @property
    def exhausted(self) -> bool:
        return not self._queue and not self._numbers()

    @property
    def ended_early(self) -> str:
        return self._in_vain.verdict

    def ask(self, limit: int) -> list[Unit]:
        units: list[Unit] = []
        self._fill()
        while len(units) < limit and self._queue:
            units += [self._queue.popleft() for _ in range(min(limit - len(units), len(self._queue)))]
            self._fill()
        return units

    def tell(self, row: Mapping[str, Any]) -> None:
        rows = self._rows.setdefault(int(row["trial"]), {})
        if row["key"] not in rows:
            check_counted(self._search.budget, row)
            self._seconds += row.get("seconds") or 0.0
            self._flops += row.get("flops") or 0.0
        rows[row["key"]] = row
        trial = self._of.get(row["key"])
        if trial is not None and row["key"] in trial.awaited:
            trial.awaited.remove(row["key"])
            if not trial.awaited:
                self._ended.append(trial)
                self._settle()

    def span(self, number: int) -> tuple[float, float]:
        """When the first unit of a trial began and when its last one ended, seconds since 1970."""
        rows = self._rows[number].values()
        return min(row["ended"] - (row["seconds"] or 0.0) for row in rows), max(row["ended"] for row in rows)

    def report(self, progress: Iterable[Progress]) -> Collection[str]:
        """Take in what running units report; gives the keys of those that should stop."""
        metric = self._search.goals[0].metric
        stop: list[str] = []
        for p in progress:
            if metric not in p.metrics:
                continue
            self._curves.setdefault(p.key, {}).setdefault(p.step, float(p.metrics[metric]))
            trial = self._of.get(p.key)
            if trial is not None and trial.stopped_at is None:
                self._judge(trial)
                if trial.stopped_at is not None:
                    stop += [u.key for u in trial.units]
        return stop

    def _numbers(self) -> range:
        """Numbers of the next generation; none when the search is over."""
        first, most = self._next, self._search.generation
        if isinstance(self._search.sampler, specs.Qmc) and first == 0:
            most = 1  # Optuna takes the space of its sequence from the first trial, which is drawn at random
        last = first + most if self._search.trials is None else min(first + most, self._search.trials)
        numbers = range(first, last)
        begun = any(n in self._rows for n in numbers)
        return numbers if begun or not (self._spent() or self.ended_early) else range(0)

    def _spent(self) -> bool:
        budget = self._search.budget
        used = ((budget.seconds, self._seconds), (budget.flops, self._flops))
        return any(limit is not None and spent >= limit for limit, spent in used)

    def _fill(self) -> None:
        """Open generations until there is something to compute, or nothing may be opened."""
        while not self._queue:
            running = len(self._open)
            most = 0 if self._search.waits else self._search.generation
            if running > most and not self._search.free:
                return
            if running >= self._search.budget.in_vain and self._in_vain.hopeless:
                return
            numbers = self._numbers()
            if not numbers:
                return
            whole = all(len(self._rows.get(n, ())) == self._search.seeds for n in numbers)
            for number in numbers:
                self._open_trial(number, ended=whole)
            self._next = numbers.stop
            places = {pack: i for i, pack in enumerate(dict.fromkeys(u.pack for u in self._queue))}
            self._queue = deque(sorted(self._queue, key=lambda u: places[u.pack]))  # units of a pack stand together
            self._settle()

    def _open_trial(self, number: int, *, ended: bool) -> None:
        """Open a trial; `ended` says that all of its generation have rows."""
        began = time.perf_counter()
        rows = self._rows.get(number, {})
        restored = self._restored(next(iter(rows.values()))) if rows else None
        start = self._search.start[number] if number < len(self._search.start) else None
        self.study.sampler = self._sampler(number, ended=ended)
        if restored is not None or start is not None:
            fixed = restored if restored is not None else start or {}
            self.study.enqueue_trial(
                {d.name: as_option(d, fixed[d.name]) for d in self._search.dimensions if d.name in fixed}
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Clip non-finite")  # GP: what a diverged trial counts as
            handle = self.study.ask()
            handle.relative_params  # noqa: B018 - drawn even where all values are given: samplers note that they drew
            suggested = self._suggested(handle)
        values = suggested if restored is None else restored
        units = tuple(self._units(number, values))
        trial = _Trial(number, handle, values, units, {u.key for u in units if u.key not in rows})
        self._open[number] = trial
        if not trial.awaited:
            self._ended.append(trial)
        self._of |= {u.key: trial for u in trial.units}
        self._queue += [u for u in trial.units if u.key not in rows]
        self.sampler_seconds += time.perf_counter() - began

    def _sampler(self, number: int, *, ended: bool) -> BaseSampler:
        """The sampler of one trial. Where the whole generation has ended, only those that keep a state of their own.

        Else all are asked, even for trials that have rows: a sampler may note what it drew, and look at that when it
        draws for the next trial of the generation.
        """
        if ended and not keeps_state(self._search.sampler):
            return RandomSampler(seed=0)
        return sampler_of(self._search, number, self._shared)

    def _restored(self, row: Mapping[str, Any]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for d in self._search.dimensions:
            if d.active(values):
                values[d.name] = d.restored(row[d.name])
        return values

    def _suggested(self, trial: optuna.Trial) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for d in self._search.dimensions:
            if d.active(values):
                values[d.name] = suggest(trial, d)
        return values

    def _settle(self) -> None:
        """Tell Optuna of trials that have ended."""
        if self._search.waits and len(self._ended) < len(self._open):
            return
        began = time.perf_counter()
        self._ended.sort(key=lambda t: t.number)
        for trial in self._ended:  # before any is told, so that those of one generation do not see each other
            self._judge(trial)
        while self._ended:
            trial = self._ended[0]
            state, values = self._result(trial)
            self._in_vain.note(trial.number, self._rows[trial.number].values())
            self.study.tell(trial.handle, values, state=state)
            del self._open[trial.number], self._ended[0]
            for unit in trial.units:
                self._curves.pop(unit.key, None)
        self.sampler_seconds += time.perf_counter() - began

    def _judge(self, trial: _Trial) -> None:
        """Let the pruner see the steps that all units of a trial have reported, in order, until it says stop."""
        if not self.prunes or trial.stopped_at is not None:
            return
        curves = [self._curves.get(u.key, {}) for u in trial.units]
        for step in sorted(s for s in curves[0] if s > trial.judged and all(s in c for c in curves)):
            trial.judged = step
            value = fmean(c[step] for c in curves)
            trial.curve[step] = value
            trial.handle.report(value, step)
            self._past.judged = trial.handle._trial_id if self._search.waits else None
            try:
                if trial.handle.should_prune():
                    trial.stopped_at = step
                    return
            finally:
                self._past.judged = None

    def _result(self, trial: _Trial) -> tuple[TrialState, list[float] | None]:
        rows = [self._rows[trial.number][u.key] for u in trial.units]
        states = {row["status"] for row in rows}
        if Status.failed.value in states or any(_lacks_a_goal(row, self._search.goals) for row in rows):
            return TrialState.FAIL, None
        if trial.stopped_at is not None or Status.pruned.value in states:
            return (TrialState.PRUNED, None) if trial.curve else (TrialState.FAIL, None)
        return TrialState.COMPLETE, [fmean(_reached(row, goal) for row in rows) for goal in self._search.goals]


def _lacks_a_goal(row: Mapping[str, Any], goals: Iterable[Goal]) -> bool:
    """Whether a unit ended well without a number for a goal; sessions call such units failed."""
    return row["status"] == Status.ok.value and not all(_is_number(row.get(goal.metric)) for goal in goals)


def _reached(row: Mapping[str, Any], goal: Goal) -> float:
    value = row.get(goal.metric)
    if row["status"] != Status.ok.value or value is None or not math.isfinite(value):
        return goal.worst
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
