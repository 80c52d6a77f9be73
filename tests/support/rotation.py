"""Which tests that take turns are due today: each is one day of four, so that all have run after four days."""

from __future__ import annotations

import os
from datetime import date
from zlib import crc32

__all__ = ["DAY", "due"]

DAYS = 4
# Noted for the processes that share the tests of one run, also where midnight comes between their starts.
DAY = int(os.environ.setdefault("LANDSWEEP_TEST_DAY", str(date.today().toordinal())))


def due(test: str, day: int) -> bool:
    """Whether the test of this name has its turn on a day, counted from any one."""
    return crc32(test.encode()) % DAYS == day % DAYS
