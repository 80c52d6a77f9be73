"""Calling what a spec names: imports and arguments checked beforehand, with errors for the one who wrote the spec."""

from __future__ import annotations

import difflib
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.canonical import canonical
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench

__all__ = ["call_setup", "check_arguments", "check_defaults", "check_setup", "imported"]

_LENT = ("device", "threads", "folder")


def imported(field: str, path: str, folder: Path) -> Callable[..., Any]:
    """The callable that a field of the spec names.

    Raises:
        SpecError: there is none, or its module raises while it is imported.
    """
    try:
        return import_callable(path, folder)
    except SpecError as e:
        raise SpecError(f"{field}: {e}") from e
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # whatever a module does at import
        module = path.partition(":")[0]
        last = traceback.extract_tb(e.__traceback__)[-1]
        # A SyntaxError says by itself where it is.
        where = "" if isinstance(e, SyntaxError) else f" ({last.filename}, line {last.lineno})"
        message = f"{field}: importing {module} failed: {type(e).__name__}: {e}{where}"
        raise SpecError(f"{message}; try `python -c 'import {module}'`") from e


def check_arguments(function: Callable[..., Any], path: str, given: Sequence[str]) -> None:
    """Whether a callable takes all that it would be given by keyword, and needs no more.

    Raises:
        SpecError: it does not; names the arguments and the signature.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some built-in callables don't tell
    shown = f"{path.partition(':')[2]}{signature}"
    by_position = [n for n, p in signature.parameters.items() if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    if by_position:
        raise SpecError(f"function: {shown} takes {by_position} by position only; arguments are passed by keyword")
    parameters = {n: p for n, p in signature.parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_all = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    lines = []
    for name in given:
        if name not in parameters and not takes_all:
            close = difflib.get_close_matches(name, parameters, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            lines.append(f"it takes no argument {name!r}{hint}")
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in given]
    if missing:
        lines.append(f"it needs {missing}: give them under axes, samples or fixed")
    if lines:
        raise SpecError(f"function: {shown}: " + "; ".join(lines))


def check_defaults(function: Callable[..., Any], path: str, defaults: Mapping[str, object]) -> None:
    """Whether a callable without some arguments does what it does with these.

    Args:
        function: the callable.
        path: of it, for messages.
        defaults: argument to the value that an axis says that it had.

    Raises:
        SpecError: the signature has no default, or another one.
    """
    parameters = _parameters(function)
    for name, value in defaults.items():
        has = parameters[name].default if name in parameters else inspect.Parameter.empty
        if has is inspect.Parameter.empty:
            why = f"{path} has no default for {name}"
        elif _text(has) != _text(value):
            why = f"without {name} {path} takes {has!r}"
        else:
            continue
        raise SpecError(
            f"axes.{name}: default: {value!r}, but {why}; existing rows would be mistaken for others. Give what the "
            "signature has, or leave default out"
        )


def _text(value: object) -> str | None:
    try:
        return canonical(value)
    except TypeError:  # an object, which no axis can hold
        return None


def check_setup(setup: Callable[..., Any], path: str) -> None:
    """Whether a set-up function needs only what a worker can lend.

    Raises:
        SpecError: it needs more.
    """
    missing = [n for n, p in _parameters(setup).items() if p.default is p.empty and n not in _LENT]
    if missing:
        raise SpecError(f"setup: {path} needs {missing}; a set-up function is given only {', '.join(_LENT)}")


def call_setup(setup: Callable[..., Any], bench: Workbench) -> Any:  # noqa: ANN401 - whatever the user's function gives
    """What a set-up function gives, called with those of device, threads and folder that it takes."""
    names = _parameters(setup)
    return setup(**{name: getattr(bench, name) for name in _LENT if name in names})


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {n: p for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
