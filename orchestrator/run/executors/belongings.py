"""What a process has once, and a unit that is computed inside the driver may change: each gets its own back."""

from __future__ import annotations

import gc
import locale
import os
import resource
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from landsweep.orchestrator.run.unit_code import lift

__all__ = ["Belongings", "MaskAndAlarm", "standard_files"]

_LIMITED = ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")  # not all systems have each
_LIMITS = {getattr(resource, f"RLIMIT_{name}"): name for name in _LIMITED if hasattr(resource, f"RLIMIT_{name}")}
_NEEDED = 32  # files that a driver opens at once


@dataclass(frozen=True, slots=True)
class Belongings:
    """Current folder, environment, standard streams, filters of warnings, what NumPy raises, the locale, and limits.

    The depth of recursion is one of these limits.

    Attributes:
        folder: None where it has been removed.
        environment: variable to value.
        streams: `sys.stdin`, `sys.stdout`, `sys.stderr`.
        filters: of `warnings`.
        numpy: what `numpy.geterr` gives.
        locale: all categories, as `locale.setlocale` writes them.
        depth: of calls inside each other, `sys.getrecursionlimit`.
        limits: number of a resource, such as `resource.RLIMIT_NOFILE`, to its soft and hard limit.
    """

    folder: Path | None
    environment: dict[str, str]
    streams: tuple[Any, Any, Any]
    filters: list[Any]
    numpy: Any
    locale: str
    depth: int
    limits: dict[int, tuple[int, int]]

    @classmethod
    def now(cls) -> Self:
        """Those of this moment."""
        streams = (sys.stdin, sys.stdout, sys.stderr)
        filters = list(warnings.filters)
        limits = {number: resource.getrlimit(number) for number in _LIMITS}
        depth, category = sys.getrecursionlimit(), locale.setlocale(locale.LC_ALL)
        return cls(_folder(), dict(os.environ), streams, filters, np.geterr(), category, depth, limits)

    def restore(self) -> None:
        """Make them what they were; a stream that was closed meanwhile is opened again."""
        with suppress(RecursionError):  # the calls that have led here are more already
            sys.setrecursionlimit(self.depth)
        if self.folder is not None and _folder() != self.folder:
            os.chdir(self.folder)
        if dict(os.environ) != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        sys.stdin, sys.stdout, sys.stderr = (_open(n, stream) for n, stream in enumerate(self.streams))
        if warnings.filters != self.filters:
            warnings.filters = list(self.filters)
            warnings._filters_mutated()  # type: ignore[attr-defined] # as catch_warnings does
        np.seterr(**self.numpy)
        if locale.setlocale(locale.LC_ALL) != self.locale:
            locale.setlocale(locale.LC_ALL, self.locale)
        for number, limits in self.limits.items():
            _limit(number, *limits)

    def lowered(self) -> list[str]:
        """Warnings of hard limits that stay lower than they were, since only root may raise them."""
        now = {number: resource.getrlimit(number)[1] for number in self.limits}
        return [
            f"a unit has lowered the hard limit RLIMIT_{_LIMITS[number]} of this process from {_shown(before)} to "
            f"{now[number]:,} for good: the run and all later units have it. Units that set limits belong into "
            "processes of their own, as with site.executor=ray"
            for number, (_, before) in self.limits.items()
            if _lower(before, now[number]) != before
        ]

    def lost(self) -> str:
        """The limit that stays so low that no driver could write rows, or files that leave it none; "": nothing."""
        if limit := lift(self.limits):
            return limit
        if not _files_left():
            gc.collect()  # an error may hold frames in a circle, and these the files
            if not _files_left():
                return "it has left so many files open that no others can be opened"
        return ""


def _files_left() -> bool:
    """Whether a driver could still open what it needs."""
    opened: list[int] = []
    try:
        while len(opened) < _NEEDED:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    finally:
        for number in opened:
            os.close(number)
    return True


def _limit(number: int, soft: int, hard: int) -> None:
    """Give a resource its limits back; a hard one that has become lower stays so where only root may raise it."""
    if resource.getrlimit(number) == (soft, hard):
        return
    try:
        resource.setrlimit(number, (soft, hard))
    except (ValueError, OSError):  # which of the two depends on the version of Python
        hard = resource.getrlimit(number)[1]
        resource.setrlimit(number, (_lower(soft, hard), hard))


def _shown(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit:,}"


def _lower(soft: int, hard: int) -> int:
    """The soft limit, or the hard one where that has become lower."""
    if resource.RLIM_INFINITY in (soft, hard):
        return hard if soft == resource.RLIM_INFINITY else soft
    return min(soft, hard)


def _folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _open(number: int, stream: Any) -> Any:  # noqa: ANN401 - whatever stands in for a stream
    """The stream, or a new one in its place if it was closed."""
    if not getattr(stream, "closed", False):
        return stream
    return os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)


class MaskAndAlarm:
    """The access that new files get, and a signal that is to come: reading either of them sets it."""

    def __init__(self) -> None:
        self._mask = os.umask(0o077)
        os.umask(self._mask)
        self._alarm = (0.0, 0.0)

    @contextmanager
    def of_units(self) -> Iterator[None]:
        """While this lasts, they are as the last unit left them."""
        ours = os.umask(self._mask)
        if any(self._alarm):
            signal.setitimer(signal.ITIMER_REAL, *self._alarm)
        try:
            yield
        finally:
            self._alarm = signal.setitimer(signal.ITIMER_REAL, 0.0)
            self._mask = os.umask(ours)


@contextmanager
def standard_files() -> Iterator[None]:
    """At the end, descriptors 0 to 2 are what they were: a unit that closes them would have the next file opened there.

    A closed stream can be opened again on them.
    """
    before = tuple(_identity(number) for number in range(3))
    spares = _spares(before)
    try:
        yield
    finally:
        for number, (identity, spare) in enumerate(zip(before, spares, strict=True)):
            if spare is not None and _identity(number) != identity:
                os.dup2(spare, number)


def _identity(number: int) -> tuple[int, int] | None:
    """Of the file that a descriptor leads to; None for a closed one."""
    try:
        about = os.fstat(number)
    except OSError:  # a service may have none of them
        return None
    return about.st_dev, about.st_ino


@lru_cache(maxsize=1)
def _spares(identities: tuple[tuple[int, int] | None, ...]) -> tuple[int | None, ...]:
    """Second descriptors of the files with these identities, which 0 to 2 lead to now."""
    return tuple(None if identity is None else os.dup(number) for number, identity in enumerate(identities))
