"""Values of a table for people: one way to write them, one order to put them in."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from landsweep.orchestrator.text import one_line, shortened
from landsweep.orchestrator.unit import as_python

__all__ = [
    "LABEL",
    "brief",
    "group_labels",
    "in_words",
    "is_missing",
    "label",
    "number",
    "ordered",
    "share",
    "shown",
    "within",
]

LABEL = 40  # characters of a text in a figure
_CELL = 200  # characters of a text in a table
_LARGEST = 1e6  # whole numbers from here on are written with six digits, as other numbers are
_PIECES = re.compile(r"(\d+\.?\d*(?:e[-+]?\d+)?)")


def number(x: float | int | None, digits: int = 6) -> str:
    """A number as short text that keeps six digits, or fewer.

    Example:
        >>> number(1.5766696757096255), number(1.5766696757096255, 4), number(12345.0), number(None)
        ('1.57667', '1.577', '12,345', '-')
    """
    if x is None:
        return "-"
    if isinstance(x, float) and math.isnan(x):
        return "nan"
    if isinstance(x, float) and x.is_integer() and abs(x) < _LARGEST:
        x = int(x)
    return f"{x:,}" if isinstance(x, int) and abs(x) < 10**30 else f"{x:.{digits}g}"


def within(x: float, error: float) -> str:
    """A number with the digits that are known: to the second digit of its error, and two where it is less than that.

    Example:
        >>> within(2.8212, 0.0343), within(0.42713, 0.2), within(6511.3, 9e9), within(12345.6, 310.0)
        ('2.821', '0.43', '6,500', '12,350')
    """
    if not (math.isfinite(x) and math.isfinite(error) and error > 0 and x):
        return number(x, 4)
    places = 1 - math.floor(math.log10(error))
    digits = max(2, math.floor(math.log10(abs(x))) + 1 + places)
    rounded = float(f"{x:.{min(digits, 15)}g}")
    return number(rounded, min(digits, 15))


def share(x: float) -> str:
    """A part of 1 in percent, with two digits.

    Example:
        >>> share(0.1552), share(0.0336), share(0.00021), share(1.0), share(0.998)
        ('16 %', '3.4 %', '0.021 %', '100 %', '99.8 %')
    """
    percent = 100 * x
    digits = 3 if 99 < percent < 100 else 2
    return f"{number(float(f'{percent:.{digits}g}'), 3)} %"


def in_words(name: str) -> str:
    """The name of a metric in words; fields of a spec keep their path.

    Example:
        >>> in_words("test_loss"), in_words("optimizer.learning_rate")
        ('test loss', 'optimizer.learning_rate')
    """
    return name if "." in name else name.replace("_", " ")


def is_missing(value: object) -> bool:
    """Whether a cell of a table holds nothing: None, nan, or what pandas shows for a null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in ("NAType", "NaTType")


def shown(value: object, digits: int = 6, most: int = _CELL) -> str:
    r"""A cell as text of one line: numbers with so many digits, flags as yes and no, nothing as `-`; long text is cut.

    Example:
        >>> shown(0.123456789), shown(True), shown(None), shown(2048), shown("a\nb")
        ('0.123457', 'yes', '-', '2048', 'a\\nb')
    """
    value = as_python(value)
    if is_missing(value):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**18 else f"{value:.{digits}g}" if abs(value) < 10**300 else "huge"
    if isinstance(value, float):
        return number(value, digits).replace(",", "")
    return one_line(shortened(str(value), most))


def label(value: object) -> str:
    """A value beside a line, a bar or a panel: four digits, at most `LABEL` characters, `none` where it is null."""
    return "none" if is_missing(as_python(value)) else shown(value, 4, LABEL)


def ordered(values: Iterable[Any], given: Sequence[Any] = ()) -> list[Any]:
    """The distinct values of a column in the order in which people expect them; nulls come last.

    Numbers by size; flags before them; text in natural order (`b2` before `b10`); lists, also as the canonical text
    that a column holds, item by item.

    Args:
        values: cells, of any types side by side.
        given: an order that is known, such as that of a spec; what is not in it comes after it.

    Example:
        >>> ordered(["b10", "b2", None, 3, 0.5, True])
        [True, 0.5, 3, 'b2', 'b10', None]
        >>> ordered(["[16,8]", "[4]", "[16,2]"])
        ['[4]', '[16,2]', '[16,8]']
    """
    distinct: dict[tuple[str, Any], Any] = {}
    for value in map(as_python, values):
        distinct.setdefault(_mark(value), None if is_missing(value) else value)
    places = {_mark(as_python(v)): i for i, v in enumerate(given)}
    return [distinct[m] for m in sorted(distinct, key=lambda m: (places.get(m, len(places)), _order(distinct[m])))]


def group_labels(values: Iterable[Any], given: Sequence[Any] = ()) -> tuple[list[str], list[str]]:
    """A label for each cell, and the distinct labels in order. Values that differ have labels that differ.

    Args:
        values: cells.
        given: as `ordered` takes it.
    """
    codes, cells = _distinct(values)
    texts: dict[tuple[str, Any], str] = {}
    taken: dict[str, int] = {}
    for value in ordered(cells, given):
        text = label(value)
        taken[text] = taken.get(text, 0) + 1
        texts[_mark(value)] = text if taken[text] == 1 else f"{text} ({taken[text]})"
    names = [texts[_mark(cell)] for cell in cells]
    return [names[code] for code in codes], list(texts.values())


def _distinct(values: Iterable[Any]) -> tuple[list[int], list[Any]]:
    """For each cell the number of its value, and the values: equal ones of one type are one."""
    if hasattr(values, "factorize") and str(getattr(values, "dtype", "object")) != "object":
        codes, distinct = values.factorize(use_na_sentinel=False)  # a column of one type, which may be long
        return codes.tolist(), [as_python(v) for v in distinct]
    places: dict[tuple[type, Any], int] = {}
    kinds = ((type(v), v if v == v else None) for v in map(as_python, map(_null, values)))  # nan is unequal to itself
    numbers = [places.setdefault(kind, len(places)) for kind in kinds]
    return numbers, [value for _, value in places]


def _null(value: object) -> object:
    return None if is_missing(value) else value


def _mark(value: object) -> tuple[str, Any]:
    """What tells values apart: 1 and 1.0 are one value, 1, True and "1" are three."""
    if is_missing(value):
        return "none", None
    if isinstance(value, bool):
        return "flag", value
    if isinstance(value, int | float):
        return "number", value
    return "text", str(value)


def _order(value: object) -> tuple[Any, ...]:
    kind, plain = _mark(value)
    if kind == "text":
        return 2, _natural(plain)
    return ("flag", "number", "", "none").index(kind), plain if kind != "none" else 0


def _natural(text: str) -> list[tuple[int, float, str]]:
    if text[:1] == "[":
        try:
            if isinstance(items := json.loads(text), list):
                return [(0, 0.0, "["), *(piece for item in items for piece in _natural(str(item)))]
        except (ValueError, RecursionError):
            pass
    pieces = _PIECES.split(text[:_CELL])
    parts = [(0, float(p), "") if i % 2 else (1, 0.0, p) for i, p in enumerate(pieces) if p]
    return [*parts, (2, 0.0, text)]


def brief(data: Any, most: int = 20_000) -> Any:  # noqa: ANN401 - nested data
    """Nested data as plain values that YAML can write, only the beginning where there are many: a page shows no more.

    Fields without a value are left out, and so is the middle of long texts.

    Args:
        data: a spec, which may come from anybody.
        most: values, and characters of one of them.

    Example:
        >>> brief({"a": [1, 2, 3, 4], "b": None, "c": (5,)}, most=2)
        {'a': [1, 2, '...']}
    """
    left = most

    def plain(value: object) -> Any:  # noqa: ANN401 - as above
        nonlocal left
        if isinstance(value, Mapping):
            items = ((k, v) for k, v in value.items() if v is not None)
            return {shortened(str(k), most): plain(v) for k, v in itertools.takewhile(lambda pair: left > 0, items)}
        if isinstance(value, list | tuple):
            values = [plain(v) for v in itertools.takewhile(lambda v: left > 0, value)]
            return [*values, "..."] if len(values) < len(value) else values
        left -= 1
        return value if isinstance(value, bool | int | float | None) else shortened(str(value), most)

    return plain(data)
