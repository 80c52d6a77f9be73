"""Functions of the user's by name: `package.module:function`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.errors import LandsweepError, SpecError
from landsweep.orchestrator.trust import load

__all__ = ["import_callable", "refused"]


def import_callable(path: str, folder: Path | None = None) -> Callable[..., Any]:
    """The object that `package.module:function` names.

    Args:
        path: module and attribute, with a colon between.
        folder: of the spec; the module is looked for there, after what is installed.

    Raises:
        SpecError: not of that form, no such module, or no such callable in it.
        Untrusted: the name comes from a results folder that nobody has trusted.
    """
    function = load(path, folder)
    if not callable(function):
        raise SpecError(f"{path!r} names {function!r}, which can't be called")
    return function


@contextmanager
def refused(field: str, path: str) -> Iterator[None]:
    """While a spec is checked: what a function of the user's raises is an error of the spec, not of landsweep.

    Args:
        field: of the spec that names the function.
        path: of the function, for the message.

    Raises:
        SpecError: in place of what it raised, with file and line; what says that memory ran out stays as it is.
    """
    try:
        yield
    except LandsweepError:
        raise
    except Exception as e:  # whatever the user's function does
        if of_the_machine(e):
            raise
        last = traceback.extract_tb(e.__traceback__)[-1]
        message = f"{field}: {path} raised {type(e).__name__}: {e} ({last.filename}, line {last.lineno})"
        raise SpecError(message) from e
