"""Code of units, in the process of a worker: what it gives, and what it may not change for the units after it.

A unit may put something else in the place of `open`, `json.dumps` or `time.time`, for the whole process: then the next
units fail, and in the driver's own process the run with them.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import resource
import signal
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

from landsweep.orchestrator.kind import Session
from landsweep.orchestrator.row import Outcome, Progress
from landsweep.orchestrator.unit import Unit

__all__ = ["LEAST_LIMITS", "Originals", "StartFolder", "items_of", "lift"]

_OF_OS = (
    "chdir", "close", "dup", "dup2", "environ", "fchdir", "fspath", "fstat", "fsync", "getcwd", "getpid", "kill",
    "link", "listdir", "lstat", "makedirs", "mkdir", "open", "path", "pipe", "read", "readlink", "remove", "rename",
    "replace", "rmdir", "scandir", "stat", "umask", "unlink", "urandom", "write",
)  # fmt: skip
_MODULES = (builtins, io, json, time)
_ANY = Exception  # the name may be gone too

LEAST_LIMITS = {resource.RLIMIT_NOFILE: ("its open files", 64), resource.RLIMIT_FSIZE: ("bytes of its files", 1 << 20)}
"""By number of a resource: its name in a sentence, and the least limit with which a process is of use."""


def lift(before: Mapping[int, tuple[int, int]]) -> str:
    """Lift limits that a unit has set so low that the process would be of no use.

    A hard limit stays, since only root may raise it: the answer names it. It is empty where nothing stays.

    Args:
        before: soft and hard limits, at least of `LEAST_LIMITS`, by number of the resource.
    """
    for number, (name, least) in LEAST_LIMITS.items():
        soft, hard = resource.getrlimit(number)
        if before[number][1] != hard != resource.RLIM_INFINITY and hard < least:
            return f"{name} to {hard:,}"
        if before[number][0] != soft != resource.RLIM_INFINITY and soft < least:
            resource.setrlimit(number, (hard, hard))
    return ""


class Originals:
    """Python's own functions as they are now: of `builtins`, `io`, `json` and `time`, and of `os` those for files.

    Attributes:
        notes: a line for the user about each unit that replaced some of them; whoever shows them clears the list.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._said: set[tuple[str, ...]] = set()
        # Name of a module, its namespace, and its functions as they are now.
        self._modules: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            ("os", vars(os), {n: vars(os)[n] for n in _OF_OS})
        ]
        for module in _MODULES:
            names = vars(module)
            self._modules.append((module.__name__, names, {n: names[n] for n in names if callable(names[n])}))
        self._of_os = itemgetter(*_OF_OS)
        self._see()

    def _see(self) -> None:
        """Keep the values of all namespaces: to compare them at once is quicker than name by name."""
        self._values = [(names, [*names.values()]) for _, names, _ in self._modules[1:]]
        self._values_of_os = self._of_os(self._modules[0][1])

    def put_back(self, units: Sequence[Unit], item: Outcome | Progress | None) -> None:
        """Put them back if units have replaced or deleted them; nothing of `builtins` is called before.

        Args:
            units: those that were computing.
            item: what one of them yielded, if anything.
        """
        try:  # the same objects are equal without a look at them
            if self._of_os(self._modules[0][1]) == self._values_of_os:
                for names, values in self._values:
                    if [*names.values()] != values:
                        break
                else:
                    return
        except _ANY:  # a name is gone, or a new value compares in its own way
            pass
        replaced: tuple[str, ...] = ()
        for module, names, originals in self._modules:
            for name in originals:
                if name not in names or names[name] is not originals[name]:
                    names[name] = originals[name]
                    replaced += (f"{module}.{name}",)
        self._see()
        if replaced:  # else the modules have only got more names
            self._note(replaced, units if item is None else [unit for unit in units if unit.key == item.key])

    def _note(self, replaced: tuple[str, ...], units: Sequence[Unit]) -> None:
        if replaced in self._said:
            return
        self._said.add(replaced)
        whose = f"the unit {dict(units[0].params)}" if len(units) == 1 else f"one of {len(units):,} units"
        what = ", ".join(replaced[:5]) + (f" and {len(replaced) - 5} others" if len(replaced) > 5 else "")
        self.notes.append(f"{whose} has replaced {what} of its process for all units after it: put back")


class StartFolder:
    """The current folder at this moment, to which the process returns after each unit."""

    def __init__(self) -> None:
        self._handle = os.open(os.curdir, os.O_RDONLY)
        self._path: Path | None = None
        with suppress(FileNotFoundError):  # it was removed
            self._path = Path.cwd()
        self._closing = weakref.finalize(self, os.close, self._handle)

    def enter(self) -> None:
        """Make it the current one again, also where a unit has closed all descriptors."""
        try:
            os.fchdir(self._handle)  # asking where we are costs more
        except OSError:
            if self._path is None:
                raise
            os.chdir(self._path)
            self._closing.detach()
            self._handle = os.open(os.curdir, os.O_RDONLY)
            self._closing = weakref.finalize(self, os.close, self._handle)


class _Interrupted(Exception):
    """A unit raised an exception that would end the process or the generator."""


def items_of(session: Session, units: Sequence[Unit], originals: Originals) -> Iterator[Outcome | Progress | None]:
    """What the session yields. A `KeyboardInterrupt` or `GeneratorExit` that a unit raises is an error of this unit.

    While Python's own handler of Ctrl-C is installed, an interrupt is the user's, who runs the sweep from a script.
    """
    items = iter(session.evaluate(units))
    while True:
        item: Outcome | Progress | None = None
        try:
            try:
                item = next(items)
            finally:
                originals.put_back(units, item)
        except StopIteration:
            return
        except (KeyboardInterrupt, GeneratorExit) as e:
            if isinstance(e, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                raise
            raise _Interrupted(f"the unit raised {type(e).__name__}") from e
        yield item
