"""Metrics of a running program: records from its sources, as points of series and as the row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from landsweep.orchestrator.row import Metric
from landsweep.sweeps.lab.callables.results import Unfit, plain_metric, shown

__all__ = ["Collected", "History", "flat", "number_of", "parsed"]

Point = tuple[int, dict[str, float]]


def parsed(text: str, source: str) -> dict[str, Any]:
    """A line of JSON as a record.

    Raises:
        Unfit: it is no JSON object.
    """
    try:
        record = json.loads(text)
        if isinstance(record, dict):
            return flat(record)
    except (ValueError, RecursionError) as e:
        raise Unfit(f"{source}: {text[:200]!r} is no JSON that can be read: {e}") from e
    raise Unfit(f"{source}: {shown(record)}; each line must be an object, such as {{'step': 10, 'loss': 0.5}}")


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Nested metrics under names with dots.

    Example:
        >>> flat({"step": 1, "eval": {"loss": 0.5, "acc": {"top1": 0.9}}})
        {'step': 1, 'eval.loss': 0.5, 'eval.acc.top1': 0.9}
    """
    level: dict[str, Any] = {}
    for name, value in record.items():
        inner = flat(value) if isinstance(value, Mapping) else None
        level |= {name: value} if inner is None else {f"{name}.{below}": v for below, v in inner.items()}
    return level


def number_of(text: str) -> int | float | None:
    """A number that was printed, also nan and inf; None for any other text.

    Example:
        >>> number_of("3"), number_of("1e-3"), number_of("-inf"), number_of("1_0"), number_of("n/a")
        (3, 0.001, -inf, None, None)
    """
    if "_" in text:
        return None
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


class Collected:
    """What a unit has reported.

    Attributes:
        row: the last value of each metric.
        step: the highest one; None where there was none.
        steps: metric to the last step at which it was reported.
    """

    def __init__(self) -> None:
        self.row: dict[str, Metric] = {}
        self.step: int | None = None
        self.steps: dict[str, int] = {}

    def take(self, record: Mapping[str, Any], source: str) -> Point | None:
        """Take in a record; gives the point of the series that it makes, if it has a step.

        Raises:
            Unfit: a value is no metric, a step no whole number or lower than the last one, or text stands at a step.
        """
        metrics = {n: plain_metric(n, v) for n, v in record.items() if n != "step"}
        given = record.get("step")
        if given is None:
            self.row |= metrics
            return None
        step = self._whole(given, source)
        numbers: dict[str, float] = {}
        for name, value in metrics.items():
            if value is None:
                continue
            if isinstance(value, str):
                raise Unfit(
                    f"{source}: the metric {name} is the text {value[:80]!r} at step {step}; series are numbers"
                )
            if (last := self.steps.get(name, -1)) > step:
                raise Unfit(
                    f"{source}: the step of {name} fell from {last} to {step}. Let one process alone report, steps "
                    "only rise, and give what counts otherwise a name of its own"
                )
            if last < step:
                numbers[name] = float(value)
            self.steps[name] = step
            self.row[name] = value
        self.step = step if self.step is None else max(self.step, step)
        return (step, numbers) if numbers else None

    @staticmethod
    def _whole(given: object, source: str) -> int:
        step = plain_metric("step", given)
        if isinstance(step, float) and math.isfinite(step) and step.is_integer():
            step = int(step)
        if type(step) is not int or step < 0:
            raise Unfit(f"{source}: `step` must be a whole number, 0 or more; got {shown(given)}")
        return step


class History:
    """Points that earlier attempts of a unit have reported: those before the step where this one goes on belong to it.

    Args:
        path: the file that keeps them.
        again: whether there were earlier attempts.
    """

    def __init__(self, path: Path, *, again: bool) -> None:
        self._path = path
        self._past = _points(path) if again else []
        self._file = None if self._past else path.open("w", encoding="utf-8")

    def add(self, point: Point) -> Iterator[Point]:
        """A new point, after those of the past that are part of the same training."""
        if self._file is None:
            past, self._past = [p for p in self._past if p[0] < point[0]], []
            self._file = self._path.open("w", encoding="utf-8")
            for old in past:
                self._write(old)
            yield from past
        self._write(point)
        yield point

    def all_of_the_past(self) -> list[Point]:
        """The points of a training that had ended before: this attempt has reported none."""
        past, self._past = self._past, []
        return past

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, point: Point) -> None:
        assert self._file is not None
        self._file.write(json.dumps([point[0], point[1]]) + "\n")
        self._file.flush()


def _points(path: Path) -> list[Point]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    points: list[Point] = []
    for line in lines:
        try:
            step, numbers = json.loads(line)
            points.append((int(step), {str(name): float(value) for name, value in numbers.items()}))
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            break  # the worker was killed while it wrote this line
    return points
