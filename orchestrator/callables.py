"""Functions of the user's by name: `package.module:function`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.trust import load

__all__ = ["import_callable"]


def import_callable(path: str, folder: Path | None = None) -> Callable[..., Any]:
    """The object that `package.module:function` names.

    Args:
        path: module and attribute, with a colon between.
        folder: searched for the module first: the folder of the spec.

    Raises:
        SpecError: not of that form, no such module, or no such callable in it.
        Untrusted: the name comes from a results folder that nobody has trusted.
    """
    function = load(path, folder)
    if not callable(function):
        raise SpecError(f"{path!r} names {function!r}, which can't be called")
    return function
