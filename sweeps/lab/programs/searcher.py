"""Regular expressions in a process of their own, in bounded time: a few characters can keep one busy for years.

While one searches, nothing else in its process runs, and only a signal ends it; so the process has an alarm, which ends
it. The file is also the program of that process, and imports nothing that Python does not bring.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

__all__ = ["Match", "Searcher", "TooSlow"]

_LINE = 10.0  # s for one line
_LEAST = 1e-3  # s
_AT_ONCE = 1000  # lines


class TooSlow(Exception):
    """A line took too long, or all of them together.

    Attributes:
        line: which one was searched.
        seconds: how long it may have taken.
    """

    def __init__(self, line: str, seconds: float) -> None:
        super().__init__(line, seconds)
        self.line, self.seconds = line, seconds


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
                    raise TooSlow(line, max(min(_LINE, most), _LEAST))
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
    for order in sys.stdin.buffer:
        texts, lines, most = json.loads(order)
        patterns = [re.compile(text) for text in texts]
        for line in lines:
            began = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(min(_LINE, most), _LEAST))
            matches = [(n, match.groupdict()) for n, pattern in enumerate(patterns) for match in pattern.finditer(line)]
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds = time.monotonic() - began
            most -= seconds
            sys.stdout.buffer.write(json.dumps([matches, seconds]).encode() + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
