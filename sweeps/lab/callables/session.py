"""A callable on one worker: units become calls, and what these give becomes rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from landsweep.orchestrator.faults import text_of
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Cause, Outcome, Progress, Status
from landsweep.orchestrator.run.forks import end_if_forked, generation
from landsweep.orchestrator.unit import Unit, stream_seed
from landsweep.sweeps.lab.callables.results import Unfit, outcome_of, plain_metric, shown

__all__ = ["CallableSession"]


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
        self._generation = generation()

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress]:
        """Call the function for each unit; whatever it raises stays with that unit."""
        function, fixed = self._function, self._fixed
        for unit in units:
            arguments = {**fixed, **unit.params}
            for name in self._mutable:
                arguments[name] = copy.deepcopy(fixed[name])  # no unit can change the arguments of the next
            for name, of_text in self._objects.items():
                if isinstance(text := unit.params[name], str) and text in of_text:
                    arguments[name] = copy.deepcopy(of_text[text])
            if self._seed_argument is not None:
                arguments[self._seed_argument] = stream_seed(unit, "function")
            try:
                result = function(**arguments)
            except (Exception, SystemExit) as e:  # a unit is a fault domain
                end_if_forked(self._generation, e)
                if _out_of_memory(e):
                    raise  # the worker knows what to do then
                yield _raised(unit, e)
                continue
            if isinstance(result, Generator):
                yield from self._follow(unit, result)
            else:
                yield outcome_of(unit.key, result, self._types)

    def _follow(self, unit: Unit, running: Generator[Any, None, Any]) -> Iterator[Outcome | Progress]:
        last: dict[str, Any] = {}
        step = -1
        try:
            while True:
                try:
                    given = next(running)
                except StopIteration as end:
                    yield outcome_of(unit.key, last if end.value is None else end.value, self._types)
                    return
                last, step = self._step(given, step)
                if numbers := {k: float(v) for k, v in last.items() if isinstance(v, int | float)}:
                    yield Progress(unit.key, step, numbers)
                if self._stopped(unit.key):
                    running.close()
                    yield outcome_of(unit.key, last, self._types, stopped=step)
                    return
        except (Exception, SystemExit) as e:  # a unit is a fault domain
            end_if_forked(self._generation, e)
            if _out_of_memory(e):
                raise
            yield _raised(unit, e, last, step)
        finally:
            running.close()

    def _step(self, given: object, before: int) -> tuple[dict[str, Any], int]:
        if not isinstance(given, Mapping):
            raise Unfit(f"the generator yielded {shown(given)}; it must yield a dict of metrics")
        metrics = {name: plain_metric(name, value) for name, value in given.items()}
        step = metrics.pop("step", before + 1)
        if type(step) is not int or step <= before:
            raise Unfit(f"`step` must be a whole number that rises; got {step!r} after {before}")
        return metrics, step


def _raised(unit: Unit, e: BaseException, last: Mapping[str, Any] | None = None, step: int = -1) -> Outcome:
    """The outcome of a unit whose function raised; the traceback begins in the function."""
    if isinstance(e, Unfit):
        return Outcome(unit.key, {}, Status.failed, str(e), Cause.error)
    if isinstance(e, FloatingPointError):
        when = f" after step {step}" if step >= 0 else ""
        return Outcome(unit.key, last or {}, Status.diverged, f"FloatingPointError{when}: {e}")
    theirs = e.__traceback__.tb_next if e.__traceback__ else None
    return Outcome(unit.key, {}, Status.failed, text_of(e, theirs), Cause.error)


def _out_of_memory(e: BaseException) -> bool:
    return isinstance(e, MemoryError) or type(e).__name__ == "OutOfMemoryError"  # accelerators' have no common base
