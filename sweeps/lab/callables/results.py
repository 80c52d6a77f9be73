"""Metrics that a user's code gives, as the row of a unit: checked, converted, or a failed row with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from landsweep.orchestrator.canonical import as_python
from landsweep.orchestrator.row import Cause, Metric, Outcome, Status
from landsweep.sweeps.lab.callables.columns import RESERVED

__all__ = ["Unfit", "missing_goal", "outcome_of", "plain_metric", "shown", "step_of"]

_PLAIN = {float, bool, str, type(None)}  # nothing to check or convert; int may be too large


class Unfit(Exception):
    """A result that can't become a row."""


def missing_goal(goals: Iterable[str], row: Mapping[str, object], who: str) -> str:
    """Which goal has no number in what a function or program gave, in words; empty if all have one."""
    for name in goals:
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            problem = "is not among them" if name not in row else f"is {value!r}, no number"
            return f"the goal {name} {problem}; the {who} gave {', '.join(sorted(row)) or 'no metrics'}"
    return ""


def outcome_of(
    key: str, result: object, types: Mapping[str, str] | None, who: str = "function", stopped: int | None = None
) -> Outcome:
    """The row of a result; a result that can't be a row is a failed row with the reason.

    Args:
        key: of the unit.
        result: what the user's code gave; only a mapping of metrics can be a row.
        types: of the declared columns; None when any metric is allowed.
        who: what gave it, for messages.
        stopped: the step after which it was stopped, if it was.
    """
    try:
        if not isinstance(result, Mapping):
            raise Unfit(f"the {who} returned {shown(result)}; it must return a dict of metrics")
        metrics = {n: v if type(v) in _PLAIN and type(n) is str else plain_metric(n, v) for n, v in result.items()}
        status, error = _verdict(metrics, who) if "status" in metrics else (Status.ok, None)
        if types is not None:
            metrics = {n: _typed(n, v, types) for n, v in metrics.items()}
        if clash := RESERVED & metrics.keys():
            raise Unfit(f"the row has columns of its own named {sorted(clash)}; give these metrics other names")
        if stopped is not None and error is None:
            status, error = Status.pruned, f"stopped after step {stopped}"
    except Unfit as e:
        return Outcome(key, {}, Status.failed, str(e), Cause.error)
    return Outcome(key, metrics, status, error)


def _verdict(metrics: dict[str, Any], who: str) -> tuple[Status, str | None]:
    """Take `status`, and the `error` that belongs to it, out of the metrics."""
    status = metrics.pop("status")
    if status not in ("ok", "diverged"):
        raise Unfit(f"the {who} returned status {status!r}; allowed are 'ok' and 'diverged'; raise to fail")
    if status == "ok":
        return Status.ok, None
    error = metrics.pop("error", None)
    return Status.diverged, f"the {who} says so" if error is None else str(error)


def step_of(value: object, before: int) -> int:
    """A step that was given, as a whole number.

    Raises:
        Unfit: it is none, or does not rise.
    """
    step = plain_metric("step", value)
    if type(step) is not int or step <= before:
        raise Unfit(f"`step` must be a whole number that rises; got {step!r} after {before}")
    return step


def plain_metric(name: object, value: object) -> Metric:
    """A metric as a Python value; arrays and tensors of one element without dimensions count as scalars."""
    if not isinstance(name, str):
        raise Unfit(f"names of metrics must be text; got {name!r}")
    if isinstance(value, float):
        return float(value)  # NumPy's float64 is a float, too
    if isinstance(value, bool | int | str | None):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Unfit(f"the metric {name} is an int of {value.bit_length()} bits; 64 fit: give it as float or text")
        return value
    inner = as_python(value)
    if inner is not value and isinstance(inner, bool | int | float | str):
        return plain_metric(name, inner)
    raise Unfit(f"the metric {name} is {shown(value)}; a metric is a number, a flag, text or None")


def _typed(name: str, value: Metric, types: Mapping[str, str]) -> Metric:
    """A metric as its declared column stores it."""
    if name not in types:
        raise Unfit(f"the metric {name} is not among the declared columns {sorted(types)}; declare it or leave it out")
    kind = types[name]
    fits = {
        "float": isinstance(value, int | float),
        "int": isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**63),
        "bool": isinstance(value, bool),
        "text": isinstance(value, str),
    }
    if value is not None and not fits[kind]:
        raise Unfit(f"the metric {name} is {shown(value)}, but its column is declared as {kind}")
    return int(value) if kind == "int" and value is not None else value


def shown(value: object) -> str:
    """A value and its type, shortened, for messages."""
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} of type {type(value).__name__}"
