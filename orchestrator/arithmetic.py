"""Arithmetic in a spec or on the command line: parsed and computed by a walk over its tree, never evaluated as code.

Names stand as they are where they are of letters, digits, `_` and dots, such as `net.hidden.0`; others stand in
backticks: `` `Training FLOP` / 6 / data.args.N ``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError

__all__ = ["FUNCTIONS", "Expression", "Floats", "Resolver", "compute", "name_of", "parsed"]

Floats: TypeAlias = NDArray[np.float64]

_BINARY: dict[type[ast.operator], Callable[[Floats, Floats], Floats]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
FUNCTIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "log": np.log,
    "log10": np.log10,
    "exp": np.exp,
    "sqrt": np.sqrt,
}
"""Functions of numbers that every expression may use."""

_DEEPEST = 100  # what goes down into an expression takes up to five of Python's 1,000 calls for each level
_PIECES = re.compile(
    r"(?P<text>'[^']*'|\"[^\"]*\")|`(?P<quoted>[^`]+)`"
    r"|(?P<numbered>\b[A-Za-z_]\w*(?:\.\w+)*?\.\d+(?:\.\w+)*)"  # such as net.hidden.0, which Python can't read
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A text as a tree.

    Attributes:
        text: as it was given.
        tree: Python's tree of it, with a plain name in place of each name in backticks.
        quoted: those plain names, to the names that they stand for.
    """

    text: str
    tree: ast.expr
    quoted: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resolver:
    """What names and calls stand for.

    Attributes:
        name: the values of a name.
        call: the values of a function that is not in `FUNCTIONS`, or None where there is no such function.
        refuse: the error for whatever is no arithmetic.
    """

    name: Callable[[str], Floats]
    call: Callable[[str, Sequence[ast.expr]], Floats | None]
    refuse: Callable[[], UsageError]


def parsed(text: str, longest: int) -> Expression | None:
    """The tree of a text; None where it can't be read.

    Raises:
        UsageError: it is too long, or has too many levels.
    """
    if len(text) > longest:
        raise UsageError(f"an expression of {len(text)} characters; at most {longest} are allowed")
    quoted: dict[str, str] = {}

    def place(match: re.Match[str]) -> str:
        if match["text"]:
            return match["text"]
        name = f"quoted_{len(quoted)}_"
        quoted[name] = match["quoted"] or match["numbered"]
        return f" {name} "

    try:
        tree = ast.parse(_PIECES.sub(place, text).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if _levels(tree.body) > _DEEPEST:
        raise UsageError(f"an expression of more than {_DEEPEST} operations and brackets inside each other")
    return Expression(text, tree.body, quoted)


def _levels(tree: ast.expr) -> int:
    """How many nodes lie inside each other; a chain of sums has one level for each."""
    count, level = 0, [tree]
    while level := [inner for node in level for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.expr)]:
        count += 1
    return count


def name_of(node: ast.expr, quoted: Mapping[str, str]) -> str | None:
    """A name, or names joined by dots, such as `data.args.N`; None for anything else."""
    if isinstance(node, ast.Name):
        return quoted.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (before := name_of(node.value, quoted)) is not None:
        return f"{before}.{node.attr}"
    return None


def compute(expression: Expression, node: ast.expr, resolver: Resolver) -> Floats:
    """The values of a part of an expression; what is not finite stays so.

    Raises:
        UsageError: it holds anything but arithmetic.
    """
    with np.errstate(all="ignore"):  # what is not finite is refused where the values are used
        return _value(expression, node, resolver)


def _value(expression: Expression, node: Any, resolver: Resolver) -> Floats:  # noqa: ANN401 - matched below
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            try:
                return np.asarray(float(number))
            except OverflowError:
                raise UsageError(f"{expression.text!r}: the number is too large") from None
        case ast.Name() | ast.Attribute() if (name := name_of(node, expression.quoted)) is not None:
            return resolver.name(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(expression, left, resolver), _value(expression, right, resolver))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(expression, inner, resolver)
        case ast.Call(func=ast.Name(id=function), args=[inner], keywords=[]) if function in FUNCTIONS:
            return FUNCTIONS[function](_value(expression, inner, resolver))
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
            if (values := resolver.call(function, arguments)) is not None:
                return values
    raise resolver.refuse()
