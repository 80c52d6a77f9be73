"""A process that races for the lock of a ledger, each time it is told to: `python -m tests.attack.racer RESULTS`.

For each line on its input it tries to become the driver. It prints `locked`, or `won` and then writes rows until it is
killed. The first line that it prints says that the imports are done.
"""

from __future__ import annotations

import sys
import time

from landsweep.orchestrator.errors import SweepLocked
from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.orchestrator.storage.ledger.driver import work

UNITS = 20_000  # more than a winner can write before it is killed


def main() -> None:
    print("begun", flush=True)
    for _ in sys.stdin:
        try:
            writer = Ledger.open(Store.at(sys.argv[1])).writing()
        except SweepLocked:
            print("locked", flush=True)
            continue
        print("won", flush=True)
        work(writer, UNITS, 1)
        time.sleep(3600)


if __name__ == "__main__":
    main()
