"""Regular expressions in a process of their own, in bounded time and memory: a few characters can take years, or all.

While one searches, nothing else in its process runs, and only a signal ends it; so the process has an alarm, which ends
it. What it may find and take is bounded too. The file is also the program of that process, and imports nothing that
Python does not bring.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Match", "Searcher", "TooMuch", "TooSlow"]

_LINE = 10.0  # s for one line
_LEAST = 1e-3  # s
_AT_ONCE = 1000  # lines
_LARGEST = 1 << 24  # characters that are found in a line; each match counts as some, also an empty one
_OF_A_MATCH = 64  # characters
_MEMORY = 1 << 30  # bytes by which the process may grow
_UNBOUND = 3  # exit code of a process that can't bound itself


class TooSlow(Exception):
    """A line took too long, or all of them together.

    Attributes:
        line: which one was searched.
        seconds: how long it may have taken.
    """

    def __init__(self, line: str, seconds: float) -> None:
        super().__init__(line, seconds)
        self.line, self.seconds = line, seconds


class TooMuch(Exception):
    """More was found in a line, or taken for the search in it, than memory is there for.

    Attributes:
        line: which one was searched.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class Match(NamedTuple):
    """One match in a line.

    Attributes:
        pattern: number of the pattern.
        groups: what its named groups hold; null where one has no part in it.
    """

    pattern: int
    groups: dict[str, str | None]


class Searcher:
    """Searches lines; its process starts when it is first needed, and again after it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def search(self, patterns: Sequence[str], lines: Sequence[str], most: float) -> Iterator[tuple[list[Match], float]]:
        """For each line all matches, and the seconds that it took.

        Args:
            patterns: regular expressions.
            lines: to search.
            most: seconds for all of them.

        Raises:
            TooSlow: names the line.
            TooMuch: names the line.
            OSError: the memory for it can't be bounded.
        """
        for start in range(0, len(lines), _AT_ONCE):
            for matches, seconds in self._searched(patterns, lines[start : start + _AT_ONCE], most):
                most -= seconds
                yield matches, seconds

    def _searched(
        self, patterns: Sequence[str], lines: Sequence[str], most: float
    ) -> Iterator[tuple[list[Match], float]]:
        process = self._process if self._process is not None and self._process.poll() is None else self._started()
        assert process.stdin is not None and process.stdout is not None
        order = json.dumps([list(patterns), list(lines), min(most, 1e9)]).encode() + b"\n"
        self._process = None  # until all answers are read: the next order must not get those that nobody wanted
        with suppress(BrokenPipeError):
            process.stdin.write(order)
            process.stdin.flush()
        try:
            for line in lines:
                answer = process.stdout.readline()
                if not answer.endswith(b"\n"):
                    code = process.wait()
                    if code == -signal.SIGALRM:
                        raise TooSlow(line, max(min(_LINE, most), _LEAST))
                    if code == _UNBOUND:
                        raise OSError(
                            "no pattern is searched: the memory for it can't be bounded, because this system does not "
                            "say in /proc/self/statm how much a process takes. Mount /proc"
                        )
                    raise TooMuch(line)
                matches, seconds = json.loads(answer)
                most -= seconds
                yield [Match(*match) for match in matches], seconds
        except BaseException:
            _end(process)
            raise
        self._process = process

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", __file__]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, **pipes)
        weakref.finalize(self, _end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _serve() -> None:
    """Answer each order with a line for each line in it; the alarm ends the process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a process that ignores or blocks it hands that on
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    try:
        _bound()
    except (OSError, ValueError, IndexError):
        sys.exit(_UNBOUND)
    for order in sys.stdin.buffer:
        texts, lines, most = json.loads(order)
        patterns = [re.compile(text) for text in texts]
        for line in lines:
            began = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(min(_LINE, most), _LEAST))
            matches = _matches(patterns, line)
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds = time.monotonic() - began
            most -= seconds
            sys.stdout.buffer.write(json.dumps([matches, seconds]).encode() + b"\n")
            sys.stdout.buffer.flush()


def _matches(patterns: Sequence[re.Pattern[str]], line: str) -> list[tuple[int, dict[str, str | None]]]:
    """Number and groups of each match.

    Raises:
        MemoryError: they are too many, or too long.
    """
    matches = []
    room = _LARGEST
    for number, pattern in enumerate(patterns):
        for match in pattern.finditer(line):
            groups = match.groupdict()
            room -= _OF_A_MATCH + sum(len(text) for text in groups.values() if text)
            if room < 0:
                raise MemoryError
            matches.append((number, groups))
    return matches


def _bound() -> None:
    """Let this process grow by so much; systems other than Linux have no such bound.

    Raises:
        OSError, ValueError, IndexError: the system does not say how large it is, such as one without /proc.
    """
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + _MEMORY
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    _serve()
