"""How long units take: wall and processor time between one outcome and the next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["UnitClock"]


class UnitClock:
    """Wall time and processor time of this process since the last outcome, s."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """Wall and processor seconds since the last lap; the next one begins."""
        wall, cpu = time.perf_counter(), time.process_time()
        seconds = wall - self._wall, cpu - self._cpu
        self._wall, self._cpu = wall, cpu
        return seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time meanwhile: it is not the unit's."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._wall += time.perf_counter() - wall
            self._cpu += time.process_time() - cpu
