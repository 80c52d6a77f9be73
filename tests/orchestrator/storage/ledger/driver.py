"""A driver in a process of its own that writes known rows, and can be killed, stopped or starved at named points."""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.row import Column, Outcome, Progress, RowMaker, series_batch
from landsweep.orchestrator.storage.ledger import Holder, Ledger, Store, Writer
from landsweep.orchestrator.unit import Unit

MAKER = RowMaker([Column("x", "place")], [Column("loss", "of the model"), Column("note", "any text", type="text")])


def key(i: int) -> str:
    return hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest()


def batch(numbers: Iterable[int], note: str = "") -> pa.RecordBatch:
    units = [Unit(key(i), {"x": i / 7}) for i in numbers]
    outcomes = [Outcome(u.key, {"loss": float(u.params["x"]) ** 2, "note": u.key[:8] + note}) for u in units]
    meters = [{"attempt": 1, "worker": "here:1", "ended": 1e9, "seconds": 0.5} for _ in units]
    return MAKER.batch(units, outcomes, meters)


def series(numbers: Iterable[int]) -> pa.RecordBatch:
    return series_batch([Progress(key(i), step, {"loss": i / (step + 1)}) for i in numbers for step in range(3)])


def work(writer: Writer, units: int, size: int, note: str = "") -> None:
    """Write whatever is missing of the first `units` rows, `size` at a time."""
    missing = [i for i in range(units) if key(i) not in writer.done]
    for at in range(0, len(missing), size):
        some = missing[at : at + size]
        writer.append(batch(some, note), series(some))
        writer.commit()


def content(ledger: Ledger) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """The whole table and all series, in an order that does not depend on history."""
    rows = ledger.rows().sort_by("key").to_pylist()
    order = [("key", "ascending"), ("metric", "ascending"), ("step", "ascending")]
    return rows, ledger.series().sort_by(order).to_pylist()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("dir")
    parser.add_argument("--units", type=int, default=60)
    parser.add_argument("--size", type=int, default=2)
    parser.add_argument("--at", default="")
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--signal", default="SIGKILL")
    parser.add_argument("--after", type=float, default=0.0, help="seconds between the point and the signal")
    parser.add_argument("--host", default="")
    parser.add_argument("--fsize", type=int, default=0, help="from the point on, no file may be larger")
    parser.add_argument("--note", default="")
    given = parser.parse_args()
    seen = 0

    def strike() -> None:
        os.kill(os.getpid(), getattr(signal, given.signal))

    def hook(point: str) -> None:
        nonlocal seen
        seen += point == given.at
        if point != given.at or seen != given.nth:
            return
        if given.fsize:
            resource.setrlimit(resource.RLIMIT_FSIZE, (given.fsize, resource.RLIM_INFINITY))
        elif given.after:
            threading.Timer(given.after, strike).start()
        else:
            strike()

    me = Holder.me()
    try:
        ledger = Ledger.open(Store.at(given.dir))
        holder = replace(me, host=given.host) if given.host else me
        with ledger.writing(hook, holder=holder, beat=0.05) as writer:
            print("driving", flush=True)
            work(writer, given.units, given.size, given.note)
    except LandsweepError as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
