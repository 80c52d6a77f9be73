"""One text per value, for identities and for cells of text: values that differ have texts that differ."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["Value", "as_python", "as_text", "canonical", "decoded", "plain"]

Value: TypeAlias = int | float | str | bool | None  # what a unit's parameter may be

_PLAIN = {type(None), bool, int, float, str}


def canonical(value: object) -> str:
    """One text per value: sorted keys, no spaces, whole floats below 2**53 written as whole numbers.

    So 1 and 1.0 are one value. True, "1", None and -0.0 are values of their own, and so are inf, -inf and nan, which
    JSON does not have: they are written as JavaScript writes them. Scalars of NumPy and of Arrow, as the cells of a
    table are, count as the Python values that they hold.

    Example:
        >>> canonical({"b": 1.0, "a": [True, None, 0.1, -0.0]})
        '{"a":[true,null,0.1,-0.0],"b":1}'
        >>> canonical([float("inf"), "inf", None])
        '[Infinity,"inf",null]'

    Raises:
        TypeError: the value holds something that has no stable text, such as a function or an object.
    """
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(_normal(value))  # what json.dumps writes, ten times faster: most values of axes are numbers
    return json.dumps(_normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _normal(value: object) -> object:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if value == 0:
            return value if math.copysign(1.0, value) < 0 else 0
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list | tuple):
        return [_normal(v) for v in value]
    if isinstance(value, Mapping):
        if not all(isinstance(k, str) for k in value):
            raise TypeError(f"keys of a mapping must be text, got {list(value)}")
        return {k: _normal(v) for k, v in value.items()}
    if (unpacked := as_python(value)) is not value:
        return _normal(unpacked)
    kind = type(value).__name__
    raise TypeError(f"{value!r} of type {kind} can't be part of an identity; use numbers, text, lists and mappings")


def as_python(value: Any) -> Any:  # noqa: ANN401 - a cell of a table
    """A cell of a table as a Python value: scalars of NumPy and Arrow are unpacked, all else is given back as it is.

    Example:
        >>> import numpy as np
        >>> as_python(np.int64(64)), as_python("x")
        (64, 'x')
    """
    if type(value) in _PLAIN:
        return value
    if hasattr(value, "as_py"):
        return value.as_py()
    scalar = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    masked = scalar and bool(getattr(value, "mask", False))  # NumPy's: there is no number
    return value.item() if scalar and not masked else value


def plain(value: Any) -> Value:  # noqa: ANN401 - whatever a spec may hold
    """A value as a unit's param: lists and mappings become canonical text.

    Example:
        >>> plain(0.1), plain([64, 64])
        (0.1, '[64,64]')
    """
    return value if value is None or isinstance(value, bool | int | float | str) else canonical(value)


def decoded(value: object) -> Any:  # noqa: ANN401 - whatever a spec may hold
    """What `plain` was given: lists and mappings again; a text that only begins like one stays as it is.

    Example:
        >>> decoded(0.1), decoded("[64,64]"), decoded("[x")
        (0.1, [64, 64], '[x')
    """
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def as_text(value: Value) -> str | None:
    """A value in a column of text: text as it is, null as null, anything else canonical; inf and nan as Python's.

    Example:
        >>> [as_text(v) for v in ("a", 1.0, True, float("inf"))]
        ['a', '1', 'true', 'inf']
    """
    if value is None or isinstance(value, str):
        return value
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else canonical(value)
