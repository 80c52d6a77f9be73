"""Columns of a table, and simple arithmetic of columns: `D = C / 6 / N`. Nothing else is ever evaluated.

Names stand as they are where they are of letters, digits, `_` and dots; others stand in backticks:
`` `Training FLOP` / 6 / data.args.N ``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np

from landsweep.orchestrator.arithmetic import Resolver, compute, parsed
from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats

__all__ = ["assignments", "evaluate", "split_assignments"]

_EXAMPLES = {
    "--columns": "N=params,D=C/6/N",
    "--fixed": "E=1.69,alpha=0.34",
    "--bounds": "alpha=0:1,A=1:",
    "--start": "E=1.69,alpha=0.34",
    "--thresholds": "sharp=10,similar=0.7",
}
_LONGEST = 200  # characters of an expression
_ALLOWED = "numbers, columns, + - * / **, brackets, log, log10, exp, sqrt"


Option: TypeAlias = Literal["--columns", "--fixed", "--bounds", "--start", "--thresholds"]


def assignments(texts: Sequence[str], option: Option) -> dict[str, str]:
    """What an option that was given once or several times says, name to expression; together, not the last alone.

    Raises:
        UsageError: a part is no `NAME=EXPRESSION`, or a name is given two expressions.
    """
    named: dict[str, str] = {}
    for name, expression in (pair for text in texts for pair in split_assignments(text, option)):
        if named.setdefault(name, expression) != expression:
            raise UsageError(
                f"{option}: {name} is given twice, as {named[name]!r} and as {expression!r}; leave one of them out"
            )
    return named


def split_assignments(text: str, option: Option) -> list[tuple[str, str]]:
    """`N=Model Size, D=C/6/N` as pairs of name and expression, in order; `option` is what an error names.

    Raises:
        UsageError: a part is no `NAME=EXPRESSION`.
    """
    pairs = []
    for part in re.split(r",(?=(?:[^`]*`[^`]*`)*[^`]*$)", text):  # commas outside backticks
        name, equals, expression = part.partition("=")
        if not equals or not name.strip().isidentifier() or not expression.strip():
            raise UsageError(f"{option}: {part.strip()!r} is not of the form NAME=VALUE, such as {_EXAMPLES[option]}")
        pairs.append((name.strip(), expression.strip()))
    return pairs


def evaluate(text: str, columns: Mapping[str, Floats]) -> Floats:
    """The values [n] of a column, or of arithmetic of columns.

    Args:
        text: a column's name as it stands in the table, or an expression.
        columns: values [n] of those that may be used.

    Raises:
        UsageError: a column is missing, or the expression holds anything but arithmetic.
    """
    if text in columns:
        return columns[text]
    expression = parsed(text, _LONGEST)
    if expression is None:
        raise _missing(text, columns, text)

    def column(name: str) -> Floats:
        if name not in columns:
            raise _missing(name, columns, text)
        return columns[name]

    def refused() -> UsageError:
        return UsageError(f"{text!r}: only {_ALLOWED} are allowed{_quoting(text, columns)}")

    value = compute(expression, expression.tree, Resolver(column, lambda function, arguments: None, refused))
    length = len(next(iter(columns.values()))) if columns else 0
    return np.broadcast_to(np.asarray(value, np.float64), (length,)).copy()


def _quoting(text: str, columns: Mapping[str, Floats]) -> str:
    """What to write instead, where a column in the text has a name that arithmetic would take apart."""
    unquoted = [
        c for c in columns if c in text and f"`{c}`" not in text and not all(p.isidentifier() for p in c.split("."))
    ]
    if not unquoted:
        return ""
    name = max(unquoted, key=len)
    return f". The column {name!r} stands in backticks in arithmetic: {text.replace(name, f'`{name}`')}"


def _missing(name: str, columns: Mapping[str, Floats], text: str) -> UsageError:
    return UsageError(
        f"there is no numeric column {name!r}; the table has {', '.join(columns) or 'none'}"
        + (
            _quoting(text, columns)
            or ". Say which column is meant with --columns NAME=COLUMN; in arithmetic, names of other characters than "
            "letters, digits, _ and dots stand in `backticks`"
        )
    )
