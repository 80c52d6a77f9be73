"""Processes that a unit forks off.

A child of `os.fork` is a copy of its worker: left alone, it would go on in the worker's loop and speak in its name, and
it would treat signals as its worker does. Here it ends where the user's code ends.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from landsweep.orchestrator.run.leaving import leave

__all__ = ["end_if_forked", "generation", "shielded"]

_forks: list[None] = []  # grows in each child; asking the system for the process id costs more, for each unit
os.register_at_fork(after_in_child=lambda: _forks.append(None))


def generation() -> int:
    """How often this process and those before it were forked: another number means another process."""
    return len(_forks)


def end_if_forked(worker: int, error: BaseException | None = None) -> None:
    """End this process unless it is the worker itself.

    Args:
        worker: the generation of the worker.
        error: what the user's code raised; a `SystemExit` gives the exit code, any other error 1, none 0.
    """
    if generation() == worker:
        return
    code: object = 0
    if isinstance(error, SystemExit):
        code = error.code
    elif error is not None:
        code = 1
        with suppress(Exception):
            traceback.print_exception(error)
    leave(code)


@contextmanager
def shielded(what: str) -> Iterator[None]:
    """Run the user's code so that only this process comes back from it, and not even `sys.exit` ends the worker.

    Args:
        what: names the code in the error.

    Raises:
        RuntimeError: it called `sys.exit`, or raised what is no `Exception`.
    """
    worker = generation()
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit) as e:
        end_if_forked(worker, e)
        raise
    except BaseException as e:
        end_if_forked(worker, e)
        event = f"called sys.exit({e.code!r})" if isinstance(e, SystemExit) else f"raised {type(e).__name__}: {e}"
        raise RuntimeError(f"{what} {event}") from e
    end_if_forked(worker)
