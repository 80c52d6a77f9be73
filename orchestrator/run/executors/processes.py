"""What the operating system knows of processes. Light to import: it is done in a fresh process of each node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import psutil

from landsweep.orchestrator.pid_namespace import pid_namespace

__all__ = ["ENDED", "ProcessId", "processor_seconds"]

ENDED = -1.0
"""In the place of seconds: the process has ended."""


class ProcessId(NamedTuple):
    """A process of a machine.

    Attributes:
        pid: its id.
        space: the namespace of ids, which each container has of its own; empty where the system has none.
    """

    pid: int
    space: str

    @classmethod
    def me(cls) -> ProcessId:
        """This process."""
        return cls(os.getpid(), pid_namespace())


def processor_seconds(processes: Sequence[ProcessId]) -> list[float | None]:
    """Processor seconds that each process has used with all below it, those that have ended included.

    Args:
        processes: of this machine.

    Returns:
        For each process user and system time, s, or `ENDED`; None if it can't be seen from here, in another container.
    """
    here = pid_namespace()
    return [_seconds(process.pid) if process.space == here else None for process in processes]


def _seconds(pid: int) -> float:
    try:
        root = psutil.Process(pid)
        if root.status() == psutil.STATUS_ZOMBIE:
            return ENDED
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return ENDED
    seconds = 0.0
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
