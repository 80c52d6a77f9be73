"""Processes of programs whose guard was killed: found by the environment that they were started with, and ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from landsweep.sweeps.lab.programs.guard import started_at

__all__ = ["end_leftovers", "end_orphans"]


def end_leftovers(folder: Path) -> int:
    """Kill what earlier attempts of a unit have left on this machine; gives how many processes.

    Args:
        folder: of the unit; whoever calls this has the right to compute it.
    """
    return _kill(lambda env: env.get("LANDSWEEP_UNIT") == str(folder))


def end_orphans(results: Path) -> int:
    """Kill what programs of a sweep have left on this machine, where their guards are dead; gives how many processes.

    Args:
        results: folder of the sweep's units.
    """
    return _kill(lambda env: env.get("LANDSWEEP_RESULTS") == str(results) and not _guarded(env))


def _guarded(env: Mapping[str, str]) -> bool:
    pid, _, began = env.get("LANDSWEEP_GUARD", "").partition(":")
    return pid.isdigit() and bool(began) and started_at(int(pid)) == began


def _kill(chosen: Callable[[Mapping[str, str]], bool]) -> int:
    ended = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and chosen(process.environ()):
                process.kill()
                ended.append(process)
    psutil.wait_procs(ended, timeout=5)
    return len(ended)
