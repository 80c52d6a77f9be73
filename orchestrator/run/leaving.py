"""The end of a process, at once."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

__all__ = ["leave"]


def leave(code: object) -> NoReturn:
    """End this process with what it has printed, without Python's own way out.

    That way joins threads and processes that a unit has left behind, for ever if they wait for something. It also
    destroys native libraries while their threads run, which aborts the process now and then (SIGABRT).

    Args:
        code: as `sys.exit` takes it: None is 0, a text is printed and means 1.
    """
    with suppress(Exception):  # nobody reads the streams any more
        if code is not None and not isinstance(code, int):
            sys.stderr.write(f"{code}\n")
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0 if code is None else code & 0xFF if isinstance(code, int) else 1)
