"""A callable on one worker: units become calls, and what these give becomes rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from landsweep.orchestrator.faults import text_of
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Cause, Metric, Outcome, Progress, Status
from landsweep.orchestrator.run.forks import end_if_forked, generation
from landsweep.orchestrator.unit import Unit, stream_seed
from landsweep.sweeps.lab.callables.columns import RESERVED

__all__ = ["CallableSession"]

_PLAIN = {float, bool, str, type(None)}  # nothing to check or convert; int may be too large


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
                yield self._outcome(unit, result)

    def _follow(self, unit: Unit, running: Generator[Any, None, Any]) -> Iterator[Outcome | Progress]:
        last: dict[str, Any] = {}
        step = -1
        try:
            while True:
                try:
                    given = next(running)
                except StopIteration as end:
                    yield self._outcome(unit, last if end.value is None else end.value)
                    return
                last, step = self._step(given, step)
                if numbers := {k: float(v) for k, v in last.items() if isinstance(v, int | float)}:
                    yield Progress(unit.key, step, numbers)
                if self._stopped(unit.key):
                    running.close()
                    yield self._outcome(unit, last, stopped=step)
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
            raise _Unfit(f"the generator yielded {_short(given)}; it must yield a dict of metrics")
        metrics = {name: _plain(name, value) for name, value in given.items()}
        step = metrics.pop("step", before + 1)
        if type(step) is not int or step <= before:
            raise _Unfit(f"`step` must be a whole number that rises; got {step!r} after {before}")
        return metrics, step

    def _outcome(self, unit: Unit, result: object, stopped: int | None = None) -> Outcome:
        """The row of a result; a result that can't be a row is a failed row with the reason."""
        try:
            if not isinstance(result, Mapping):
                raise _Unfit(f"the function returned {_short(result)}; it must return a dict of metrics")
            metrics = {n: v if type(v) in _PLAIN and type(n) is str else _plain(n, v) for n, v in result.items()}
            status, error = _verdict(metrics) if "status" in metrics else (Status.ok, None)
            if self._types is not None:
                metrics = {n: _typed(n, v, self._types) for n, v in metrics.items()}
            if clash := RESERVED & metrics.keys():
                raise _Unfit(f"the row has columns of its own named {sorted(clash)}; give these metrics other names")
            if stopped is not None and error is None:
                status, error = Status.pruned, f"stopped after step {stopped}"
        except _Unfit as e:
            return Outcome(unit.key, {}, Status.failed, str(e), Cause.error)
        return Outcome(unit.key, metrics, status, error)


class _Unfit(Exception):
    """A result that can't become a row."""


def _verdict(metrics: dict[str, Any]) -> tuple[Status, str | None]:
    """Take `status`, and the `error` that belongs to it, out of the metrics."""
    status = metrics.pop("status")
    if status not in ("ok", "diverged"):
        raise _Unfit(f"the function returned status {status!r}; allowed are 'ok' and 'diverged'; raise to fail")
    if status == "ok":
        return Status.ok, None
    error = metrics.pop("error", None)
    return Status.diverged, "the function says so" if error is None else str(error)


def _plain(name: object, value: object) -> Metric:
    """A metric as a Python value; arrays and tensors of one element without dimensions count as scalars."""
    if not isinstance(name, str):
        raise _Unfit(f"names of metrics must be text; got {name!r}")
    if isinstance(value, float):
        return float(value)  # NumPy's float64 is a float, too
    if isinstance(value, bool | int | str | None):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _Unfit(f"the metric {name} is an int of {value.bit_length()} bits; 64 fit: give it as float or text")
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        inner = value.item()
        if isinstance(inner, bool | int | float | str):
            return _plain(name, inner)
    raise _Unfit(f"the metric {name} is {_short(value)}; a metric is a number, a flag, text or None")


def _typed(name: str, value: Metric, types: Mapping[str, str]) -> Metric:
    """A metric as its declared column stores it."""
    if name not in types:
        raise _Unfit(f"the metric {name} is not among the declared columns {sorted(types)}; declare it or leave it out")
    kind = types[name]
    fits = {
        "float": isinstance(value, int | float),
        "int": isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**63),
        "bool": isinstance(value, bool),
        "text": isinstance(value, str),
    }
    if value is not None and not fits[kind]:
        raise _Unfit(f"the metric {name} is {_short(value)}, but its column is declared as {kind}")
    return int(value) if kind == "int" and value is not None else value


def _raised(unit: Unit, e: BaseException, last: Mapping[str, Any] | None = None, step: int = -1) -> Outcome:
    """The outcome of a unit whose function raised; the traceback begins in the function."""
    if isinstance(e, _Unfit):
        return Outcome(unit.key, {}, Status.failed, str(e), Cause.error)
    if isinstance(e, FloatingPointError):
        when = f" after step {step}" if step >= 0 else ""
        return Outcome(unit.key, last or {}, Status.diverged, f"FloatingPointError{when}: {e}")
    theirs = e.__traceback__.tb_next if e.__traceback__ else None
    return Outcome(unit.key, {}, Status.failed, text_of(e, theirs), Cause.error)


def _out_of_memory(e: BaseException) -> bool:
    return isinstance(e, MemoryError) or type(e).__name__ == "OutOfMemoryError"  # accelerators' have no common base


def _short(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} of type {type(value).__name__}"
