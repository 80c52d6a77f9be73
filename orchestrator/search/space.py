"""Settings that a search chooses: a distribution each, and when one exists at all.

A space is a mapping of names to settings. A `choice` may be a mapping of names to sub-spaces: what stands in one of
them exists only where it was chosen. `when` says the same in a flat space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, Field, model_validator

from landsweep.orchestrator.axes import PATHS
from landsweep.orchestrator.canonical import Value, as_python, canonical, plain
from landsweep.orchestrator.distribution import FORMS, Distribution
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import param_columns
from landsweep.orchestrator.spec import parse

__all__ = ["Dimension", "Setting", "flat", "is_setting", "plain"]


def is_setting(value: object) -> bool:
    """Whether a value of a sub-space is a distribution; anything else there is a constant."""
    return isinstance(value, Mapping) and any(form in value for form in FORMS)


class Setting(Distribution):
    """A distribution that a sampler draws from, with steps and a condition.

    Example:
        >>> Setting(integer=(8, 64), step=8).edges()
        (8, 64)
        >>> Setting(choice={"sgd": {"momentum": 0.9}, "adam": {}}).options()
        ('sgd', 'adam')
    """

    model_config = ConfigDict(json_schema_extra={PATHS: True})

    noun: ClassVar[str] = "setting"

    choice: tuple[Any, ...] | dict[str, dict[str, Any]] | None = Field(
        None, description="a list of values, or names with what else is then set: {sgd: {momentum: {uniform: [0, 1]}}}"
    )
    step: float | None = Field(None, gt=0, description="distance between values, from the lower end")
    when: dict[str, Any] = Field({}, description="other setting to the value, or list of values, at which this exists")

    @model_validator(mode="after")
    def _a_sampler_can_draw(self) -> Self:
        if self.choice is not None:
            self._check_choice()
            return self
        form, (low, high) = self.form, super().bounds
        if self.whole and max(abs(low), abs(high)) >= 2**53:
            raise ValueError(
                f"{form}: samplers count in floats, exact below 2**53; give larger whole numbers as a `choice`"
            )
        if self.step is not None:
            if self.log:
                raise ValueError(f"{form} has no steps; leave out `step`, or use {form.removeprefix('log_')}")
            if self.step > high - low or (self.whole and self.step != int(self.step)):
                raise ValueError(f"step {self.step:g} does not fit into {form} [{low}, {high}]")
        return self

    def _check_choice(self) -> None:
        if not self.choice:
            raise ValueError("choice: there is nothing to choose from")
        first: dict[str, Any] = {}
        for option in self.choice:
            value = canonical(plain(option))
            if value in first:
                raise ValueError(f"choice: {_alike(first[value], option)}")
            first[value] = option
        if self.step is not None:
            raise ValueError("a choice has no `step`")

    def chosen(self, value: Value) -> Any:  # noqa: ANN401 - whatever a choice may hold
        """The option that a param stands for, as the spec gives it: a list where the param is its text."""
        return next(o for o in self.choice or () if canonical(plain(o)) == canonical(value))

    @property
    def bounds(self) -> tuple[float, float]:
        """Both ends of a range; the upper one is a value that can be reached in steps."""
        low, high = super().bounds
        if self.step is not None:
            first, step = Decimal(repr(low)), Decimal(repr(self.step))
            high = float(first + (Decimal(repr(high)) - first) // step * step)
        return low, high


def _alike(a: object, b: object) -> str:
    """Why two options can't be told apart."""
    if repr(a) == repr(b):
        return f"{a!r} is listed twice"
    if isinstance(a, str) or isinstance(b, str):
        return f"{a!r} and {b!r} are written alike in the rows; leave one out"
    return f"{a!r} and {b!r} are one value, so it is listed twice"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting of a flat space.

    Attributes:
        name: path with the names of the choices that lead to it: `optimizer.sgd.momentum`.
        setting: its distribution.
        when: names of other dimensions to the values at which this one exists; all must hold.
    """

    name: str
    setting: Setting
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def active(self, values: Mapping[str, Value]) -> bool:
        """Whether this setting exists beside these values."""
        return all(
            name in values and any(canonical(values[name]) == canonical(v) for v in allowed)
            for name, allowed in self.when.items()
        )

    def restored(self, cell: Any) -> Value:  # noqa: ANN401 - a cell of a table
        """The value that a row holds: tables turn whole numbers into floats, null into nan, mixed values into text."""
        cell = as_python(cell)
        if self.setting.choice is None:
            return int(cell) if self.setting.whole else float(cell)
        options = self.setting.options()
        (column,) = param_columns({self.name: options})
        cells = column.cells(options)
        for held in (cells, options):  # what a column holds, or the value itself
            for option, stored in zip(options, held, strict=True):
                if _same_cell(stored, cell):
                    return option
        raise SpecError(f"{self.name}: a row holds {cell!r}, which can't be chosen; {list(options)} can")

    def holds(self, value: Value) -> bool:
        """Whether this value can be drawn."""
        if self.setting.choice is not None:
            return canonical(value) in {canonical(o) for o in self.setting.options()}
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self.setting.bounds
        return low <= value <= high and (not self.setting.whole or value == int(value))


def _same_cell(stored: Value, cell: object) -> bool:
    missing = [v is None or v != v for v in (stored, cell)]
    return all(missing) if any(missing) else canonical(stored) == canonical(cell)


def flat(space: Mapping[str, Setting]) -> tuple[Dimension, ...]:
    """The dimensions of a space, each after those that it depends on.

    Raises:
        SpecError: a sub-space is not valid; a condition names no setting, a value that can't be, or goes in a circle.
    """
    dimensions = {d.name: d for name, setting in space.items() for d in _walk(name, setting, {})}
    for d in dimensions.values():
        for name, allowed in d.when.items():
            if name not in dimensions:
                raise SpecError(f"space.{d.name}.when: there is no setting {name!r}; there are {', '.join(dimensions)}")
            if wrong := [v for v in allowed if not dimensions[name].holds(v)]:
                edges = list(dimensions[name].setting.edges())
                raise SpecError(f"space.{d.name}.when: {name} is never {wrong[0]!r}; it is one of, or between, {edges}")
    ordered: dict[str, Dimension] = {}
    while len(ordered) < len(dimensions):
        ready = [d for n, d in dimensions.items() if n not in ordered and ordered.keys() >= d.when.keys()]
        if not ready:
            left = [n for n in dimensions if n not in ordered]
            raise SpecError(f"space: the conditions of {', '.join(left)} depend on each other in a circle")
        ordered |= {d.name: d for d in ready}
    return tuple(ordered.values())


def _walk(name: str, setting: Setting, when: Mapping[str, tuple[Value, ...]]) -> Iterator[Dimension]:
    conditions = {
        n: tuple(plain(v) for v in (a if isinstance(a, list | tuple) else [a])) for n, a in setting.when.items()
    }
    yield Dimension(name, setting, {**when, **conditions})
    if isinstance(setting.choice, Mapping):
        for branch, below in setting.choice.items():
            for inner, value in below.items():
                if is_setting(value):
                    path = f"{name}.{branch}.{inner}"
                    yield from _walk(
                        path, parse(Setting, value, f"space.{path}"), {**when, **conditions, name: (branch,)}
                    )
