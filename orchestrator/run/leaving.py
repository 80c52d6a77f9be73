"""The end of a process, at once; and the refusal to end it from inside of a unit."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

__all__ = ["ProcessEnd", "end_process", "leave", "no_end"]

end_process = os._exit
_ENDS = ("_exit", "execv", "execve")  # by which Python code ends or replaces its process without a word
_really: dict[str, Any] = {name: getattr(os, name) for name in _ENDS}


class ProcessEnd(BaseException):
    """A unit tried to end the process in which the whole sweep runs."""


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
    end_process(0 if code is None else code & 0xFF if isinstance(code, int) else 1)


@contextmanager
def no_end() -> Iterator[None]:
    """While this lasts, `os._exit` and `os.exec...` raise in this process and thread, and do as ever in its children.

    They would end the sweep, with the code 0 for example, as if it were done. Called from another thread, where an
    error would go unheard, `os._exit(0)` ends the process with 1.

    Raises:
        ProcessEnd: it was tried.
    """
    process, thread = os.getpid(), threading.get_ident()

    def refused(name: str) -> Any:  # noqa: ANN401 - a function
        def end(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it was called with
            if os.getpid() != process:
                return _really[name](*given, **named)
            if threading.get_ident() == thread:
                shown = f"({given[0]})" if name == "_exit" and given else ""
                raise ProcessEnd(f"the unit called os.{name}{shown}, which would have ended the whole sweep")
            with suppress(Exception):
                sys.stderr.write(f"a thread of a unit called os.{name}, so the sweep ends; the same command goes on\n")
            return end_process((given[0] if name == "_exit" and given else 1) or 1)

        return end

    before = {name: getattr(os, name) for name in _ENDS}
    for name in _ENDS:
        setattr(os, name, refused(name))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(os, name, function)
