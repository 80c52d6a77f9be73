"""Values of a results folder as JSON for the browser: safe to show, and none of them changed in silence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

from landsweep.orchestrator.text import one_line, printable, shortened

__all__ = ["Cell", "cell", "cells", "command_text", "line", "text"]

Cell: TypeAlias = str | int | float | bool | None

_EXACT = 2**53  # whole numbers that JavaScript holds exactly
_LONGEST = 300  # characters of a text in a table
_LONGEST_COMMAND = 4_000


def cell(value: object, most: int = _LONGEST) -> Cell:
    r"""A value for a table. What JSON can't hold is text: nan and infinite numbers, and whole numbers beyond 2**53.

    Example:
        >>> cell(0.5), cell(float("nan")), cell(float("-inf")), cell(2**60), cell(None), cell("a\nb")
        (0.5, 'nan', '-inf', '1152921504606846976', None, 'a\\nb')
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _EXACT else str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return line(value, most)


def line(value: object, most: int = _LONGEST) -> str:
    """A text in one line, cut where it is long; control characters and marks of direction are written as escapes."""
    return one_line(shortened(str(value), most))


def text(value: str, most: int) -> str:
    """The same for a text of several lines."""
    return printable(shortened(value, most))


def command_text(command: str) -> str:
    """A command line in one line, or a remark in its place: were it cut, quoted text could become a command."""
    if len(command) > _LONGEST_COMMAND:
        return f"# this command has {len(command):,} characters, too many to be shown here"
    return line(command, _LONGEST_COMMAND)


def cells(values: Iterable[object]) -> list[Cell]:
    """A column."""
    return [cell(v) for v in values]
