"""What the operating system knows of processes. Light to import: it is done in a fresh process of each node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import NamedTuple

import psutil

from landsweep.orchestrator.pid_namespace import pid_namespace

__all__ = ["ProcessId", "Unseen", "processor_seconds"]


class Unseen(Enum):
    """Why nobody can say what a process has used."""

    ENDED = auto()
    ELSEWHERE = auto()  # in another container, or on a node that is gone


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


def processor_seconds(processes: Sequence[ProcessId]) -> list[float | Unseen]:
    """Processor seconds that each process has used with all below it, those that have ended included.

    Args:
        processes: of this machine.

    Returns:
        For each process user and system time, s, or why it is not known.
    """
    here = pid_namespace()
    return [_seconds(process.pid) if process.space == here else Unseen.ELSEWHERE for process in processes]


def _seconds(pid: int) -> float | Unseen:
    try:
        root = psutil.Process(pid)
        if root.status() == psutil.STATUS_ZOMBIE:
            return Unseen.ENDED
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return Unseen.ENDED
    seconds = 0.0
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
