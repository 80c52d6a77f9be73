"""What something costs: in a process of its own, and in memory."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["in_a_fork", "most_resident", "of_a_command", "resident"]

# A process of its own, since a command's largest memory counts that of the process which it was started from.
_METER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps({"seconds": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1e3}))
sys.exit(os.waitstatus_to_exitcode(status))
"""


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


def of_a_command(words: Sequence[str], folder: Path, variables: Mapping[str, str]) -> dict[str, float]:
    """Processor seconds and the most memory, MB, of a command and of the children that it has waited for."""
    meter, environment = [sys.executable, "-c", _METER, *words], {**os.environ, **variables}
    done = subprocess.run(meter, capture_output=True, text=True, cwd=folder, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
