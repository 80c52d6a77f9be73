"""The function kind: any Python callable, swept over any axes.

The callable gets the unit's params, the arguments under `fixed` and, if asked for, a seed and the result of a set-up
function, all by keyword. What it gives back becomes the row:

- a dict: column name to number, flag, text or None; NumPy scalars are converted;
- the key `status` with the value `diverged` marks the unit as diverged, `error` then says why. A raised
  `FloatingPointError` does the same. A value that is nan or inf does not: it is stored as it is;
- a generator yields such dicts while it runs: their numbers become the unit's series, under the key `step` if there is
  one, else under 0, 1, 2, .... What it returns is the row; if it returns nothing, what it yielded last is;
- anything else, and any exception, makes a failed row, whose traceback begins in the callable.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from orchestrator.axes import AxisLike
from orchestrator.callables import import_callable
from orchestrator.faults import text_of
from orchestrator.forks import end_if_forked, generation
from orchestrator.kind import Arrays, SweepKind, Workbench
from orchestrator.planner import GridPlanner
from orchestrator.report.parts import Report
from orchestrator.row import METERS, Cause, Column, Metric, Outcome, Progress, Status
from orchestrator.spec import IsAxis, IsLabel, Model, Spec
from orchestrator.unit import Keys, Unit, stream_seed
from sweeps.lab.calls import call_setup, check_arguments, check_setup, imported

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnSpec", "FunctionKind", "FunctionSession", "FunctionSpec"]

_RESERVED = {"key", *(c.name for c in METERS)}
_PLAIN = {float, bool, str, type(None)}  # nothing to check or convert; int may be too large
_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class ColumnSpec(Model):
    """What a metric means."""

    doc: str = Field("", description="one sentence: what the number is")
    unit: str = Field("", description="such as s, MB or %")
    type: Literal["float", "int", "bool", "text"] = Field("float", description="how it is stored")


class FunctionSpec(Spec):
    """A callable and the axes it is swept over."""

    kind: Annotated[Literal["function"], IsLabel()] = Field("function", description="this kind")
    function: str = Field(pattern=_PATH, description="the callable: package.module:function")
    version: int = Field(1, description="raise it when the function changed so that it gives other results")
    setup: str | None = Field(
        None,
        pattern=_PATH,
        description="a callable that runs once per worker; its result is passed as `setup`. "
        "It may take the arguments device, threads and folder",
    )
    fixed: dict[str, Any] = Field(default_factory=dict, description="further arguments, equal for all units")
    axes: Annotated[dict[str, AxisLike], IsAxis()] = Field(min_length=1, description="argument name to its values")
    zip: Annotated[tuple[tuple[str, ...], ...], IsAxis()] = Field((), description="groups of axes that move together")
    seed_argument: str | None = Field(
        None, description="the argument that gets a seed drawn from the unit's params: 0 <= seed < 2**63"
    )
    columns: Annotated[dict[str, ColumnSpec] | None, IsLabel()] = Field(
        None, description="metrics with meaning, unit and type; left out: whatever the units give"
    )
    repeats: Annotated[tuple[str, ...] | None, IsLabel()] = Field(
        None,
        description="axes that only repeat a unit, over which the report averages; left out: those that are called "
        "seed, replicate, repeat, trial or fold",
    )
    goal: Annotated[dict[Literal["minimise", "maximise"], str] | None, IsLabel()] = Field(
        None,
        max_length=1,
        description="metric by which the report ranks units, such as {minimise: loss}; left out: the first one that "
        "varies, of which less is better unless its name speaks of an accuracy, score or reward",
    )
    deterministic: Annotated[bool, IsLabel()] = Field(
        True,
        description="whether a unit gives the same metrics every time; the first one is then run twice, "
        "unless it takes longer than `site.probe_seconds`",
    )

    @model_validator(mode="after")
    def _names_are_free(self) -> FunctionSpec:
        if both := sorted(self.axes.keys() & self.fixed.keys()):
            raise ValueError(f"{both} stand under axes and under fixed; an argument can have one source only")
        injected = {"setup"} if self.setup else set()
        if self.seed_argument is not None:
            injected.add(self.seed_argument)
        if taken := sorted(injected & {*self.axes, *self.fixed}):
            raise ValueError(f"{taken} are given by setup or seed_argument, so they can't be axes or fixed")
        if clash := sorted(_RESERVED & self.axes.keys()):
            raise ValueError(
                f"the rows have columns of their own named {clash}, so no axis can be called so; "
                "rename the argument, or wrap the function"
            )
        if self.columns is not None and (clash := sorted((_RESERVED | self.axes.keys()) & self.columns.keys())):
            raise ValueError(f"the names {clash} under columns are taken by axes or by the row's own columns")
        if unknown := sorted(set(self.repeats or ()) - self.axes.keys()):
            raise ValueError(f"repeats names {unknown}, which are no axes; the axes are {list(self.axes)}")
        return self

    def arguments(self) -> list[str]:
        """Names of all arguments that the callable is given."""
        extra = [self.seed_argument] if self.seed_argument else []
        return [*self.axes, *self.fixed, *extra, *(["setup"] if self.setup else [])]


class FunctionKind(SweepKind[FunctionSpec]):
    """Any Python callable over any axes."""

    name = "function"
    summary = "any Python callable `package.module:function`, swept over any axes"
    spec = FunctionSpec
    hint_not_deterministic = (
        "the function draws random numbers without a seed (name its seed under `seed_argument`), reads the clock, "
        "or keeps state between calls; if that is meant, set `deterministic: false`"
    )

    def example(self) -> FunctionSpec:
        return FunctionSpec.model_validate(
            {
                "name": "function-example",
                "function": "sweeps.lab.functions:descend",
                "fixed": {"function": "himmelblau", "steps": 200},
                "axes": {"start": {"range": 8}, "lr": [0.001, 0.01]},
            }
        )

    def params(self, spec: FunctionSpec) -> tuple[Column, ...]:
        return self.planner(spec).params

    def columns(self, spec: FunctionSpec) -> tuple[Column, ...] | None:
        if spec.columns is None:
            return None
        return tuple(Column(name, c.doc, c.unit, c.type) for name, c in spec.columns.items())

    def planner(self, spec: FunctionSpec) -> GridPlanner:
        keys = Keys(self.name, self.version, spec.context())
        return GridPlanner(keys, {name: axis.points() for name, axis in spec.axes.items()}, spec.zip)

    def deterministic(self, spec: FunctionSpec) -> bool:
        return spec.deterministic

    def check(self, spec: FunctionSpec, bench: Workbench) -> None:
        """Import the callables and compare their arguments with those of the spec.

        Raises:
            SpecError: a callable can't be imported, or does not take what it would be given.
        """
        check_arguments(imported("function", spec.function, bench.folder), spec.function, spec.arguments())
        if spec.setup is not None:
            check_setup(imported("setup", spec.setup, bench.folder), spec.setup)

    def open(self, spec: FunctionSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> FunctionSession:
        del prepared
        function = import_callable(spec.function, bench.folder)
        fixed = dict(spec.fixed)
        if spec.setup is not None:
            fixed["setup"] = call_setup(import_callable(spec.setup, bench.folder), bench)
        types = None if spec.columns is None else {name: c.type for name, c in spec.columns.items()}
        objects = {name: found for name, axis in spec.axes.items() if (found := axis.objects())}
        return FunctionSession(function, fixed, spec.seed_argument, types, bench, objects)

    def report(self, spec: FunctionSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from orchestrator.report.generic import Reading, generic_section
        from orchestrator.report.tables import described

        params, metrics = described({"params": self.params(spec), "columns": self.columns(spec)}, rows)
        reading = Reading(spec.repeats)
        for way, metric in (spec.goal or {}).items():
            reading = Reading(spec.repeats, metric, way == "minimise")
        return Report([generic_section(rows, params, metrics, series, reading)])


class FunctionSession:
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
            if clash := _RESERVED & metrics.keys():
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
