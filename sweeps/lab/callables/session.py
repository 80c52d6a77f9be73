"""A callable on one worker: units become calls, and what these give becomes rows."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextvars import copy_context
from queue import Empty, SimpleQueue
from sys import modules
from typing import Any

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.faults import text_of
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Cause, Outcome, Progress, Status
from landsweep.orchestrator.run.forks import end_if_forked, generation
from landsweep.orchestrator.unit import Unit, stream_seed
from landsweep.sweeps.lab.callables.current import CurrentUnit, set_current
from landsweep.sweeps.lab.callables.results import Unfit, outcome_of, plain_metric, shown, step_of

__all__ = ["CallableSession"]

_SESSION = "landsweep.unit"  # the module by which the user's code reports
_WELL = (Status.ok, Status.diverged)
_TURN = 0.05  # s; how often a unit that reports nothing lets the worker send what it has reported before


class CallableSession:
    """A callable, its fixed arguments and what they need, on one worker.

    Args:
        function: the callable.
        fixed: arguments that are equal for all units.
        seed_argument: name of the argument that gets the unit's seed.
        types: of the declared columns; None when any metric is allowed.
        bench: of the worker.
        objects: for axes that hold lists or mappings, these by the text that stands for each in a unit's params.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        fixed: Mapping[str, Any],
        seed_argument: str | None,
        types: Mapping[str, str] | None,
        bench: Workbench,
        objects: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._objects = objects or {}
        self._function = function
        self._fixed = fixed
        self._mutable = [n for n, v in fixed.items() if isinstance(v, list | dict) and n != "setup"]
        self._seed_argument = seed_argument
        self._types = types
        self._stopped = bench.stopped
        self._current = CurrentUnit(bench)
        self._generation = generation()

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """Call the function for each unit; whatever it raises stays with that unit."""
        set_current(self._current)
        try:
            yield from self._all(units)
        finally:
            set_current(None)

    def _all(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        function, current = self._function, self._current
        for unit in units:
            arguments = self._arguments(unit)
            current.begin(unit.key)
            result, failed = None, None
            try:
                aside = _SESSION in modules
                result = (yield from self._aside(function, arguments)) if aside else function(**arguments)
            except (Exception, SystemExit) as e:  # a unit is a fault domain
                end_if_forked(self._generation, e)
                if of_the_machine(e):
                    raise  # the worker knows what to do then
                failed = _raised(unit, e, current.row, current.step)
            if failed is not None:  # out here nothing holds the frames of the function, nor the files open in them
                yield from self._reported()
                yield failed
                continue
            if isinstance(result, Generator):
                yield from self._follow(unit, result)
            else:
                if current.points:
                    yield from self._reported()
                outcome = self._row(unit, result)
                current.end(well=outcome.status in _WELL)  # first: who gets the outcome may evaluate the unit again
                yield outcome

    def _arguments(self, unit: Unit) -> dict[str, Any]:
        arguments = {**self._fixed, **unit.params}
        for name in self._mutable:
            arguments[name] = copy.deepcopy(self._fixed[name])  # no unit can change the arguments of the next
        for name, of_text in self._objects.items():
            if isinstance(text := unit.params[name], str) and text in of_text:
                arguments[name] = copy.deepcopy(of_text[text])
        if self._seed_argument is not None:
            arguments[self._seed_argument] = stream_seed(unit, "function")
        return arguments

    def _row(self, unit: Unit, result: object) -> Outcome:
        """The row of what the function returned, or, if that is nothing, of what it has reported last."""
        current = self._current
        stopped = max(current.step, 0) if current.asked else None
        return outcome_of(
            unit.key, current.row if result is None and current.row else result, self._types, "function", stopped
        )

    def _aside(
        self, function: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> Generator[Progress | None, None, Any]:
        """Call the function in a thread of its own, and pass on what it reports meanwhile.

        Only where the user's code has imported `landsweep.unit`: a thread costs more than many functions do.
        """
        news: SimpleQueue[tuple[Any, BaseException | None] | None] = SimpleQueue()

        def work() -> None:
            error: BaseException | None = None
            result = None
            try:
                result = function(**arguments)
            except BaseException as e:  # noqa: BLE001 - raised again where the session runs
                error = e
            end_if_forked(self._generation, error)
            news.put((result, error))

        self._current.arrived = lambda: news.put(None)
        self._current.others = {*threading.enumerate()} - {threading.current_thread()}
        threading.Thread(target=copy_context().run, args=(work,), name="landsweep-unit", daemon=True).start()
        while True:
            try:
                end = news.get(timeout=_TURN)
            except Empty:
                yield None
                continue
            if end is not None:
                break
            yield from self._reported()
        result, error = end
        if error is not None:
            raise error
        return result

    def _reported(self) -> Iterator[Progress]:
        """What the unit has reported since the last call."""
        current = self._current
        while current.points:
            step, numbers = current.points.popleft()
            yield Progress(current.key, step, numbers)

    def _follow(self, unit: Unit, running: Generator[Any, None, Any]) -> Iterator[Outcome | Progress | None]:
        last: dict[str, Any] = {}
        step = -1
        failed: Outcome | None = None
        try:
            while True:
                try:
                    given = next(running)
                except StopIteration as end:
                    yield from self._reported()
                    outcome = outcome_of(unit.key, last if end.value is None else end.value, self._types)
                    self._current.end(well=outcome.status in _WELL)
                    yield outcome
                    return
                yield from self._reported()
                last, step = self._step(given, step)
                if numbers := {k: float(v) for k, v in last.items() if isinstance(v, int | float)}:
                    yield Progress(unit.key, step, numbers)
                if self._stopped(unit.key):
                    running.close()
                    yield outcome_of(unit.key, last, self._types, stopped=step)
                    return
        except (Exception, SystemExit) as e:  # a unit is a fault domain
            end_if_forked(self._generation, e)
            if of_the_machine(e):  # the worker's business
                raise
            failed = _raised(unit, e, last, step)
        finally:
            running.close()
        if failed is not None:
            yield failed

    def _step(self, given: object, before: int) -> tuple[dict[str, Any], int]:
        if not isinstance(given, Mapping):
            raise Unfit(f"the generator yielded {shown(given)}; it must yield a dict of metrics")
        metrics = {name: plain_metric(name, value) for name, value in given.items()}
        return metrics, step_of(metrics.pop("step", before + 1), before)


def _raised(unit: Unit, e: BaseException, last: Mapping[str, Any] | None = None, step: int = -1) -> Outcome:
    """The outcome of a unit whose function raised; the traceback begins in the function."""
    if isinstance(e, Unfit):
        return Outcome(unit.key, {}, Status.failed, str(e), Cause.error)
    if isinstance(e, FloatingPointError):
        when = f" after step {step}" if step >= 0 else ""
        return Outcome(unit.key, last or {}, Status.diverged, f"FloatingPointError{when}: {e}")
    theirs = e.__traceback__
    while theirs is not None and theirs.tb_frame.f_code.co_filename == __file__:
        theirs = theirs.tb_next
    return Outcome(unit.key, {}, Status.failed, text_of(e, theirs), Cause.error)
