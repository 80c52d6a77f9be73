"""The worker where units fail, end the process, or take too much memory: a row each, and the others go on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import DeviceFailed
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.row import Outcome, Progress
from landsweep.orchestrator.run.messages import Chunk, Message, Prepare
from tests.support.shards import rows, shard, worker_of

worker = partial(worker_of, __name__)


def large(x: float) -> dict[str, Any]:
    """Too much of everything."""
    match int(x):
        case 0:
            return {"text": "x" * 100_000_000}
        case 1:
            raise RuntimeError("x" * 30_000_000)
        case 2:
            return {f"m{i}": 1.0 for i in range(100_000)}
        case 3:
            return {"status": "diverged", "error": "x" * 1_000_000}
        case 4:
            return {"m" * 5000: 1.0}
    return {"text": "short"}


class Stop(BaseException):
    """No Exception."""


def leaves(x: float) -> dict[str, float]:
    match int(x):
        case 0:
            raise Stop("away")
        case 1:
            sys.exit(3)
        case 2:
            raise RuntimeError("plain")
    return {"y": x}


def setup_that_exits() -> None:
    sys.exit("no licence")


def with_setup(x: float, setup: object) -> dict[str, float]:
    return {"y": x}


def test_what_no_table_can_hold_fails_its_unit_with_a_clear_text_or_is_cut() -> None:
    table = rows(list(worker("large").run(shard(6))))
    assert [r["status"] for r in table] == ["failed", "failed", "failed", "diverged", "failed", "ok"]
    assert all(len(r["error"]) < 21_000 for r in table[:5])
    assert "text of 100,000,000 characters; at most 100,000 fit" in table[0]["error"]
    assert "RuntimeError" in table[1]["error"] and "characters left out" in table[1]["error"]
    assert "gave 100,000 metrics; at most 10,000 fit" in table[2]["error"]
    assert "name has 5,000 characters" in table[4]["error"]
    assert table[5]["text"] == "short"


def test_too_many_undeclared_metrics_do_not_make_an_endless_complaint() -> None:
    table = rows(list(worker("large", columns={"text": {"type": "text"}}).run(shard(3))))
    assert all(len(r["error"]) < 21_000 for r in table)


def test_units_that_raise_what_is_no_exception_fail_alone() -> None:
    table = rows(list(worker("leaves").run(shard(5))))
    assert [r["status"] for r in table] == ["failed", "failed", "failed", "ok", "ok"]
    assert "Stop: away" in table[0]["error"] and "SystemExit: 3" in table[1]["error"]


def test_a_keyboard_interrupt_of_the_user_is_not_a_units_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[__name__], "leaves", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            list(worker("leaves").run(shard(2)))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_keyboard_interrupt_that_no_user_can_have_meant_is_a_units_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run handles Ctrl-C itself, none reaches a unit."""

    def interrupted(x: float) -> dict[str, float]:
        raise KeyboardInterrupt if x == 0 else GeneratorExit if x == 1 else RuntimeError("plain")

    monkeypatch.setattr(sys.modules[__name__], "leaves", interrupted)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        table = rows(list(worker("leaves").run(shard(3))))
    finally:
        signal.signal(signal.SIGINT, before)
    assert [row["status"] for row in table] == ["failed", "failed", "failed"]
    assert "KeyboardInterrupt" in table[0]["error"] and "GeneratorExit" in table[1]["error"]


def test_a_set_up_function_that_exits_is_an_error_and_not_the_end() -> None:
    with pytest.raises(RuntimeError, match=r"opening the sweep called sys.exit\('no licence'\)"):
        worker("with_setup", setup="tests.orchestrator.run.test_worker_failures:setup_that_exits").open()


def test_a_preparation_that_exits_is_an_error_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(kind_named("function"))
    monkeypatch.setattr(kind, "prepare", lambda *_: sys.exit(0))
    with pytest.raises(RuntimeError, match=r"preparing base called sys.exit\(0\)"):
        list(worker("leaves").run(Prepare(1, "base")))


def test_a_unit_leaves_the_next_one_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = rows(list(worker("wanders").run(shard(4))))
    assert {r["here"] for r in table} == {str(tmp_path)}


def wanders(x: float) -> dict[str, str]:
    """Goes into a folder that it removes."""
    here, gone = Path.cwd(), Path("gone").absolute()
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    return {"here": str(here)}


class Tight:
    """Computes at most so many units at once; a larger number runs out of memory half-way."""

    def __init__(self, fits: int, halvings: int) -> None:
        self.size, self.fits, self.halvings = 8, fits, halvings
        self.tried: list[int] = []

    def evaluate(self, units: Any) -> Iterator[Outcome | Progress]:
        for start in range(0, len(units), self.size):
            pack = units[start : start + self.size]
            self.tried.append(len(pack))
            for unit in pack:
                yield Progress(unit.key, 0, {"y": 1.0})
            if len(pack) > self.fits:
                raise MemoryError(f"{len(pack)} units")
            yield from (Outcome(unit.key, {"y": 1.0}) for unit in pack)


class Saving(Tight):
    def save_memory(self) -> bool:
        self.halvings -= 1
        self.size = max(1, self.size // 2)
        return self.halvings >= 0


@pytest.mark.parametrize(
    ("session", "statuses", "tried"),
    [
        (Saving(2, 9), ["ok"] * 8, [8, 4, 2, 2, 2, 2]),
        (Saving(8, 9), ["ok"] * 8, [8]),
        (Saving(2, 1), ["ok"] * 8, [8, 4, 1, 1, 1, 1, 1, 1, 1, 1]),  # can't get smaller: each alone
        (Tight(1, 0), ["ok"] * 8, [8, 1, 1, 1, 1, 1, 1, 1, 1]),  # knows of no smaller packs
        (Saving(0, 4), ["failed"] * 8, None),
        (Tight(0, 0), ["failed"] * 8, None),
    ],
)
def test_what_does_not_fit_into_memory_is_given_again_in_what_fits(
    monkeypatch: pytest.MonkeyPatch, session: Tight, statuses: list[str], tried: list[int] | None
) -> None:
    w = worker("leaves", flush_seconds=1e9)
    monkeypatch.setattr(type(kind_named("function")), "open", lambda *_: session)
    messages = list(w.run(shard(8)))
    table = rows(messages)
    assert [row["status"] for row in table] == statuses
    assert tried is None or session.tried == tried
    assert {row["cause"] for row in table} == ({None} if "ok" in statuses else {"oom"})
    batches = [m.series for m in messages if isinstance(m, Chunk) and m.series is not None]
    assert not pa.Table.from_batches(batches).to_pandas().duplicated(["key", "step"]).any()


def test_units_after_a_failed_device_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as part of the shard nor alone; what ended before keeps its row."""
    seen = []

    class Breaks:
        def evaluate(self, units: Any) -> Iterator[Outcome]:
            for unit in units:
                seen.append(unit.params["x"])
                if unit.params["x"] == 2.0:
                    raise RuntimeError("CUDA error: device-side assert triggered")
                yield Outcome(unit.key, {"y": 1.0})

    w = worker("leaves", flush_seconds=1e9)
    monkeypatch.setattr(type(kind_named("function")), "open", lambda *_: Breaks())
    messages: list[Message] = []
    with pytest.raises(DeviceFailed, match=r"cpu of the worker .* has failed: CUDA error: device-side assert"):
        for message in w.run(shard(5)):
            messages.append(message)
    assert seen == [0.0, 1.0, 2.0]
    assert [row["x"] for row in rows(messages)] == [0.0, 1.0]
