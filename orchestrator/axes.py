"""Axes: names with ordered, exact values.

Values are computed from rationals or from 60-digit decimals and rounded once, at the end. So the value at one third of
an axis is the same float whether the axis has 4 points or 301: a finer grid contains the coarser one bit for bit,
and its rows are found again by key.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_serializer,
    model_validator,
)

from landsweep.orchestrator.canonical import Value, canonical, plain
from landsweep.orchestrator.schema import SHORT

__all__ = ["PATHS", "Axis", "AxisLike", "DefaultedAxis", "DefaultedAxisLike", "Number", "Value"]

PATHS = "keyed_by_path"  # in the schema of a model: a mapping to it has paths as keys, whose dots part no fields

Number: TypeAlias = int | float
Span: TypeAlias = tuple[Number, Number, Annotated[int, Field(ge=1)]]

_MOST = 10_000_000  # points of one axis: they are held in memory
_DIGITS = Context(prec=60)


def _exact(x: Number) -> Fraction:
    """The rational that the shortest decimal text of `x` stands for: 0.1 is one tenth."""
    return Fraction(repr(x))


def _decimal(x: Fraction) -> Decimal:
    return _DIGITS.divide(Decimal(x.numerator), Decimal(x.denominator))


def _positions(count: int) -> list[Fraction]:
    return [Fraction(i, count - 1) for i in range(count)] if count > 1 else [Fraction(0)]


def _linear(start: Number, stop: Number, count: int) -> list[float]:
    a, d, steps = _exact(start), _exact(stop) - _exact(start), max(1, count - 1)
    first, step = a.numerator * d.denominator * steps, d.numerator * a.denominator
    below = a.denominator * d.denominator * steps
    return [(first + step * i) / below for i in range(count)]  # Python rounds the quotient of whole numbers correctly


def _countable(span: Span) -> Span:
    """The same span, if its points fit into memory."""
    if span[2] > _MOST:
        raise ValueError(f"an axis has at most {_MOST:,} points; got {span[2]:,}")
    return span


def _power(base: Decimal, exponent: Fraction) -> Decimal:
    return _DIGITS.power(base, _decimal(exponent))


def _log2(start: Number, stop: Number, count: int) -> list[float]:
    a, b = _exact(start), _exact(stop)
    return [float(_power(Decimal(2), a + (b - a) * t)) for t in _positions(count)]


def _geometric(start: Number, stop: Number, count: int) -> list[float]:
    if start <= 0 or stop <= 0:
        raise ValueError(f"geometric needs both ends above 0, got {start} and {stop}; use symlog to pass through 0")
    a, b = _decimal(_exact(start)), _decimal(_exact(stop))
    return [float(_DIGITS.multiply(_power(a, 1 - t), _power(b, t))) for t in _positions(count)]


def _symlog(start: Number, stop: Number, count: int, threshold: Number) -> list[float]:
    """Equal steps of sign(x) log10(1 + |x| / threshold): linear near 0, logarithmic far from it."""
    width = _decimal(_exact(threshold))

    def squeeze(x: Number) -> Decimal:
        size = _DIGITS.log10(_DIGITS.add(1, _DIGITS.divide(_decimal(_exact(abs(x))), width)))
        return size if x >= 0 else size.copy_negate()  # unary minus would round to 28 digits

    def stretch(u: Decimal) -> float:
        size = _DIGITS.multiply(width, _DIGITS.subtract(_DIGITS.power(Decimal(10), u.copy_abs()), 1))
        return float(size.copy_sign(u))

    a, b = squeeze(start), squeeze(stop)
    mixed = ((_DIGITS.multiply(a, _decimal(1 - t)), _DIGITS.multiply(b, _decimal(t))) for t in _positions(count))
    return [stretch(_DIGITS.add(x, y)) for x, y in mixed]


_SPACINGS: dict[str, Callable[[Number, Number, int], list[float]]] = {
    "linear": _linear,
    "log2": _log2,
    "geometric": _geometric,
}
_NUMBERS = {int, float}
_FORMS = ("values", "linear", "log2", "geometric", "symlog", "range")


def _a_value(value: Any) -> Any:  # noqa: ANN401 - whatever was given
    """What an axis may hold.

    Raises:
        ValueError: it is no value, or holds nan or inf.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("an axis can't hold nan or inf")
    if isinstance(value, list | tuple):
        return [_a_value(v) for v in value]
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {k: _a_value(v) for k, v in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError("a value of an axis is a number, text, a flag, null, or a list or mapping of these")


Given: TypeAlias = Annotated[Any, AfterValidator(_a_value)]


class Axis(BaseModel):
    """An ordered set of values, given in exactly one form.

    Example:
        >>> Axis(linear=(-1, 1, 5)).points()
        (-1.0, -0.5, 0.0, 0.5, 1.0)
        >>> Axis(log2=(-3, 0, 4)).points()
        (0.125, 0.25, 0.5, 1.0)
        >>> Axis(geometric=(0.001, 1, 4)).points()
        (0.001, 0.01, 0.1, 1.0)
        >>> Axis(range=(0, 10, 4)).points()
        (0, 4, 8)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra={PATHS: True, SHORT: [{"type": "array"}]})

    values: tuple[Given, ...] | None = Field(None, description="the values themselves; also lists and mappings")
    linear: Span | None = Field(None, description="[start, stop, count], equal steps, both ends included")
    log2: Span | None = Field(None, description="[start, stop, count] of the exponents: 2**start to 2**stop")
    geometric: Span | None = Field(None, description="[start, stop, count], equal ratios; both ends above 0")
    symlog: Span | None = Field(None, description="[start, stop, count], logarithmic on both sides of 0")
    threshold: float = Field(1e-3, gt=0, description="where symlog turns from linear to logarithmic")
    range: tuple[int, ...] | None = Field(
        None,
        description="stop, [start, stop] or [start, stop, step]; whole numbers",
        json_schema_extra={SHORT: [{"type": "integer"}]},
    )

    _points: tuple[Value, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _range_from_one_number(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
        if isinstance(data, dict) and isinstance(data.get("range"), int):
            return {**data, "range": (0, data["range"])}
        return data

    @model_validator(mode="after")
    def _one_form_with_points(self) -> Axis:
        forms = [name for name in _FORMS if getattr(self, name) is not None]
        if len(forms) != 1:
            allowed = f"a list of values, or one of {', '.join(_FORMS)}"
            raise ValueError(f"an axis is {allowed}; got {' and '.join(forms) or 'none of them'}")
        points = self._points = self._computed()
        if not points:
            raise ValueError(f"the axis is empty ({forms[0]}: {getattr(self, forms[0])}); give it at least one value")
        if any(isinstance(p, float) and not math.isfinite(p) for p in points):
            raise ValueError("an axis can't hold nan or inf")
        seen: dict[Value, Value] = {}
        for p in points:
            identity = (
                p if p and type(p) in _NUMBERS else canonical(p)
            )  # equal numbers are one value; 0 and -0.0 are two
            if identity in seen:
                first = seen[identity]
                twice = f"{p!r} twice" if repr(p) == repr(first) else f"{first!r} and {p!r}, one number, twice"
                raise ValueError(f"the axis holds {twice}; each value makes units of its own, so give it once")
            seen[identity] = p
        return self

    @model_serializer
    def _as_given(self) -> dict[str, Any]:
        """Only the form that was given: this is what people read in `sweep.json` and the report."""
        return self._form()

    def _form(self) -> dict[str, Any]:
        form = next(name for name in _FORMS if getattr(self, name) is not None)
        return {form: getattr(self, form)} | ({"threshold": self.threshold} if form == "symlog" else {})

    def points(self) -> tuple[Value, ...]:
        """The values in order as units' params: lists and mappings as canonical text. No computed one is -0.0."""
        return self._points

    def objects(self) -> dict[str, Any]:
        """The lists and mappings among the values, by the text that stands for each as a param."""
        return {canonical(v): v for v in self.values or () if isinstance(v, list | dict)}

    def _computed(self) -> tuple[Value, ...]:
        if self.values is not None:
            return tuple(plain(v) for v in self.values)
        raw: list[Value]
        if self.range is not None:
            if not 1 <= len(self.range) <= 3 or (len(self.range) == 3 and self.range[2] == 0):
                raise ValueError(f"range is stop, [start, stop] or [start, stop, step != 0]; got {list(self.range)}")
            if range(*self.range)[_MOST:][:1]:
                raise ValueError(f"range {list(self.range)} has more than {_MOST:,} points; give fewer")
            raw = list(range(*self.range))
        elif self.symlog is not None:
            raw = list(_symlog(*_countable(self.symlog), self.threshold))
        else:
            name, spacing = next((n, f) for n, f in _SPACINGS.items() if getattr(self, n) is not None)
            raw = list(spacing(*_countable(getattr(self, name))))
        return tuple(0.0 if isinstance(p, float) and p == 0 else p for p in raw)

    def __len__(self) -> int:
        return len(self.points())


def _from_list(data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
    return {"values": data} if isinstance(data, list | tuple) else data


class DefaultedAxis(Axis):
    """An axis that may be added to a sweep that has rows already: it can say which value they had.

    Example:
        >>> DefaultedAxis(values=(0, 0.5, 0.9), default=0).before
        0
    """

    default: Given = Field(
        None,
        description="for an axis that is new in a sweep: which of its values the rows that are there had",
    )

    @model_validator(mode="after")
    def _default_is_a_point(self) -> DefaultedAxis:
        if not self.has_default:
            return self
        texts = {canonical(p) for p in self.points()}
        if canonical(self.before) not in texts:
            raise ValueError(f"default: {self.default!r} is none of the axis's values; add it to them")
        if self.before is not None and canonical(None) in texts:
            raise ValueError(
                "an axis with a default can't hold null beside it: existing rows have null there, so the two "
                "could not be told apart"
            )
        return self

    @property
    def has_default(self) -> bool:
        """Whether one is given; it may be null."""
        return "default" in self.model_fields_set

    @property
    def before(self) -> Value:
        """The value that existing rows had, as a unit's param."""
        return plain(self.default)

    @model_serializer
    def _as_given(self) -> dict[str, Any]:
        return self._form() | ({"default": self.default} if self.has_default else {})


AxisLike = Annotated[Axis, BeforeValidator(_from_list)]
"""A field type: an `Axis`, also written as a plain list of values."""

DefaultedAxisLike = Annotated[DefaultedAxis, BeforeValidator(_from_list)]
"""The same for a `DefaultedAxis`."""
