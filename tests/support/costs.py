"""What something costs: in a process of its own, and in memory."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path

__all__ = ["in_a_fork", "most_resident", "resident"]


def resident() -> float:
    """Memory of this process now, MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


def most_resident() -> float:
    """The most memory that this process has had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def in_a_fork(act: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What a function gives in a process of its own, in which all that was imported here is imported already."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: theirs.send(act()))
    process.start()
    theirs.close()
    try:
        found: dict[str, float] = ours.recv()
    except EOFError:
        raise SystemExit("a measurement failed, as said above") from None
    process.join()
    return found
