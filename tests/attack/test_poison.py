"""Units of every evil sort in one sweep: each fails alone or is ok, and all others are as if it were not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of
from tests.attack.amounts import attacks, held
from tests.support.paths import ROOT


class Evil:
    """What can't be shown and can't be sent."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle")


class EvilError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")


class Base(BaseException):
    """Not an `Exception`."""


def recursion() -> Any:
    return recursion()


def segv() -> None:
    import ctypes

    ctypes.string_at(0)


def flood() -> None:
    line = "x" * 1023 + "\n"
    for _ in range(64 * 1024):
        sys.stdout.write(line)


def raising(error: BaseException) -> Any:
    raise error


def nothing() -> Iterator[dict[str, float]]:
    yield from ()


def one_step(**metrics: Any) -> Iterator[dict[str, Any]]:
    yield metrics


def closed_files() -> dict[str, float]:
    os.closerange(0, 3)
    return {"y": 0.0}


SORTS: dict[str, Callable[[], Any]] = {
    "exit": lambda: os._exit(3),
    "segv": segv,
    "recursion": recursion,
    "memory": lambda: bytearray(2**62),
    "BaseException": lambda: raising(Base("x")),
    "KeyboardInterrupt": lambda: raising(KeyboardInterrupt()),
    "SystemExit": lambda: sys.exit("x"),
    "stdout flood": flood,
    "evil repr": Evil,
    "evil str": lambda: raising(EvilError()),
    "unpicklable": lambda: {"y": Evil()},
    "10^30": lambda: {"y": 10**30},
    "surrogate": lambda: {"y": "\ud800"},
    "closed fds": closed_files,
    "30 MB error": lambda: raising(ValueError("x" * 30_000_000)),
    "empty generator": nothing,
    "step 2^70": lambda: one_step(step=2**70, y=1.0),
    "GeneratorExit": lambda: raising(GeneratorExit()),
}
OK = {"stdout flood", "closed fds", "empty generator"}  # of those that end alone, too
UNITS = 60


def poisoned(i: int) -> Any:
    """Every third unit is of an evil sort."""
    sort = list(SORTS)[i // 3] if i % 3 == 1 and i // 3 < len(SORTS) else None
    given = SORTS[sort]() if sort is not None else {"y": float(i)}
    return {"y": 0.0} if given is None else given


def spec_data() -> dict[str, Any]:
    function = "tests.attack.test_poison:poisoned"
    return {"kind": "function", "name": "poison", "function": function, "axes": {"i": {"range": UNITS}}}


@pytest.mark.ray
@attacks(None, full=1)
@pytest.mark.filterwarnings("default")
def test_one_sweep_of_every_evil_sort(tmp_path: Path, n: int) -> None:
    """Two workers of Ray, as many sweeps as said."""
    kind = kind_named("function")
    spec = parse(kind.spec, spec_data(), "test")
    site = Site(workers=2, cpus=0.5, shard_seconds=1, tracking=False, probe_seconds=0)
    alone = 0
    for round_ in range(n):
        folder = tmp_path / str(round_)
        end = run_sweep(kind, spec, site, folder, folder=ROOT, watch=QuietWatch())
        assert (end.phase, end.done) == ("done", UNITS)
        alone += failed_alone(folder)
    held("poison, of each sort", alone, n * len(SORTS))


def failed_alone(folder: Path) -> int:
    """Of how many sorts the unit ended as it must."""
    rows = {row["i"]: row for row in Ledger.open(Store.at(folder)).rows().to_pylist()}
    evil = {3 * place + 1: sort for place, sort in enumerate(SORTS)}
    others = {i: (row["status"], row["y"]) for i, row in rows.items() if i not in evil}
    y = {i: str(float(i)) if isinstance(value, str) else float(i) for i, (_, value) in others.items()}
    assert others == {i: ("ok", y[i]) for i in range(UNITS) if i not in evil}
    sweep = Sweep.at(folder)
    assert sweep.verify().sound and len(metrics_of(folder)) == UNITS
    assert all(len(row["error"] or "") < 30_000 for row in rows.values())
    wrong = {sort: rows[i] for i, sort in evil.items() if rows[i]["status"] != ("ok" if sort in OK else "failed")}
    assert not wrong, wrong
    return len(evil) - len(wrong)
