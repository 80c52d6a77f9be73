"""What the operating system knows of processes. Light to import: it is done in a fresh process of each node."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import psutil

__all__ = ["processor_seconds"]


def processor_seconds(pids: Sequence[int]) -> list[float | None]:
    """Processor seconds that each process has used with all below it, those that have ended included.

    Args:
        pids: of processes on this machine.

    Returns:
        For each process user and system time, s; None if there is no such process.
    """
    return [_seconds(pid) for pid in pids]


def _seconds(pid: int) -> float | None:
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    seconds = 0.0
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
