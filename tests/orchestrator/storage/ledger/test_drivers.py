"""Two drivers: one works, the other is refused or takes over; and a paused one can't come back."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from landsweep.orchestrator.errors import StorageError, SweepLocked, TakenOver
from landsweep.orchestrator.storage.ledger import Holder, Ledger, Store, Writer
from tests.orchestrator.storage.ledger.conftest import Start
from tests.orchestrator.storage.ledger.driver import batch, content, key, series, work
from tests.support.processes import wait_until_stopped


def lock_files(ledger: Ledger) -> list[str]:
    return [name for name, _ in ledger.store.list("lock")]


def test_second_is_refused_while_the_first_lives(ledger: Ledger, start: Start) -> None:
    first = start(ledger, at="after-commit", nth=2, signal="SIGSTOP")
    wait_until_stopped(first.pid)
    with pytest.raises(SweepLocked, match=rf"process {first.pid} .*suspended.*landsweep status"):
        ledger.writing()
    assert len(ledger.keys()) == 4  # reading needs no lock


def test_second_takes_over_at_once_when_the_first_was_killed(ledger: Ledger, start: Start) -> None:
    first = start(ledger, at="after-commit", nth=2)
    assert first.wait(60) == -signal.SIGKILL
    with ledger.writing(stale=1e9) as writer:
        assert len(writer.done) == 4


def test_the_heartbeat_outlives_errors_of_any_kind(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [OSError(5, "Input/output error"), StorageError("no room"), PermissionError("not now")]
    replace_file = Store.replace

    def failing(store: Store, path: str, data: bytes, **more: bool) -> None:
        if path.startswith("lock/") and failures:
            raise failures.pop()
        replace_file(store, path, data, **more)

    monkeypatch.setattr(Store, "replace", failing)
    with ledger.writing(beat=0.01):
        end = time.monotonic() + 60
        while not json.loads(ledger.store.read(f"lock/{lock_files(ledger)[0]}"))["beat"]:
            assert time.monotonic() < end, "it beats no more"
            time.sleep(0.01)
    assert not failures


def test_same_process_twice_is_refused(ledger: Ledger) -> None:
    with ledger.writing(), pytest.raises(SweepLocked):
        ledger.writing()
    ledger.writing().close()


def test_on_another_machine_the_heartbeat_decides(ledger: Ledger, start: Start) -> None:
    first = start(ledger, host="elsewhere", units=10**6, size=1)
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(SweepLocked, match="elsewhere"):
        ledger.writing(stale=20)
    first.kill()
    first.wait()
    with ledger.writing(stale=1.0) as writer:
        assert len(writer.done) == ledger.rows().num_rows


def test_a_used_process_id_is_not_its_former_owner(ledger: Ledger) -> None:
    ledger.writing(holder=replace(Holder.me(), started=1.0), beat=1e9)
    assert lock_files(ledger) == ["000001.json"]
    with ledger.writing(stale=1e9):  # not refused, and without waiting for a heartbeat
        assert lock_files(ledger) == ["000002.json"]


def test_paused_driver_that_comes_second_is_refused(ledger: Ledger, start: Start) -> None:
    paused = start(ledger, host="elsewhere", units=10, size=2, at="writing", nth=3, signal="SIGSTOP", note="late")
    wait_until_stopped(paused.pid)  # its check is done, its put is next
    with ledger.writing(stale=0.6) as writer:
        work(writer, 10, 2)
        os.kill(paused.pid, signal.SIGCONT)
        _, said = paused.communicate(timeout=60)
        assert paused.returncode == 3
        assert "TakenOver" in said
    assert ledger.verify(key(i) for i in range(10)).sound
    assert ledger.rows(["note"], keys=[key(4)]).column("note").to_pylist() == [key(4)[:8]]  # the successor's


def test_paused_driver_that_comes_first_leaves_no_duplicate(ledger: Ledger, start: Start) -> None:
    paused = start(ledger, host="elsewhere", units=10, size=2, at="writing", nth=3, signal="SIGSTOP", note="late")
    wait_until_stopped(paused.pid)
    writer = ledger.writing(stale=0.6)
    os.kill(paused.pid, signal.SIGCONT)
    paused.communicate(timeout=60)
    assert paused.returncode == 3  # its late put was lucky, the commit after it was refused
    assert len(writer.done) == 4
    with writer:
        writer.append(batch(range(4, 10)), series(range(4, 10)))
        writer.commit()
        # Its series were dropped as a leftover before its rows came, so that part is not whole: ours count.
        assert [d.path for d in writer.set_aside] == ["rows/part-000002.parquet"]
    found = ledger.verify(key(i) for i in range(10))
    assert (found.duplicates, found.missing, found.rows) == ([], [], 10)
    assert found.sound
    assert [len(table) for table in content(ledger)] == [10, 30]
    assert not any("late" in str(r["note"]) for r in ledger.rows(keys=[key(4), key(5)]).to_pylist())


def test_lock_that_was_taken_is_noticed_before_the_next_commit(ledger: Ledger) -> None:
    writer = ledger.writing(holder=replace(Holder.me(), host="elsewhere"), beat=1e9)
    with ledger.writing(stale=0.2):
        writer.append(batch([1]))
        with pytest.raises(TakenOver):
            writer.commit()
    with pytest.raises(TakenOver):  # and also after its successor has gone
        writer.commit()


def test_lock_that_was_removed_by_hand_is_noticed(ledger: Ledger) -> None:
    writer = ledger.writing()
    ledger.store.delete("lock/000001.json")
    writer.append(batch([1]))
    with pytest.raises(TakenOver, match="removed"):
        writer.close()


@pytest.mark.parametrize("ended", [False, True], ids=["the third works", "the third has ended"])
def test_a_late_taker_does_not_harm_its_successors(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """It sees a dead driver and is paused; two others come. It wakes between series and rows of the third's commit."""
    ledger.writing(holder=replace(Holder.me(), started=1.0), beat=1e9)
    paused, wake, create, outcome = threading.Event(), threading.Event(), Store.create, list[object]()

    def late(store: Store, path: str, data: bytes | bytearray) -> bool:
        if threading.current_thread() is taker and not wake.is_set():
            paused.set()
            assert wake.wait(60)
        return create(store, path, data)

    def take() -> None:
        try:
            outcome.append(ledger.writing())
        except SweepLocked as e:
            outcome.append(e)

    taker = threading.Thread(target=take)
    monkeypatch.setattr(Store, "create", late)
    taker.start()
    assert paused.wait(60)
    ledger.writing().close()

    def hook(point: str) -> None:
        if point == "after-series" and not ended:
            wake.set()
            taker.join(60)

    with ledger.writing(hook) as third:
        work(third, 4, 2)
    wake.set()
    taker.join(60)
    if ended:
        assert isinstance(outcome[0], Writer)
        assert len(outcome[0].done) == 4
        outcome[0].close()
    else:
        assert isinstance(outcome[0], SweepLocked)
    found = ledger.verify(key(i) for i in range(4))
    assert found.sound and not found.missing
    ledger.writing().close()  # epochs go on rising


def test_a_driver_that_was_replaced_deletes_nothing(ledger: Ledger) -> None:
    """It wakes after its merge was committed, and before it deletes what it has merged."""

    def hook(point: str) -> None:
        if point == "compacted":
            ledger.writing(stale=0.2).close()

    writer = ledger.writing(hook, holder=replace(Holder.me(), host="elsewhere"), beat=1e9)
    for i in range(3):
        writer.append(batch([i]), series([i]))
        writer.commit()
    with pytest.raises(TakenOver):
        writer.close()
    found = ledger.verify(key(i) for i in range(3))
    assert found.sound and not found.missing
