"""Drivers that want one sweep at the same time: one has it, the others are refused, no row is there twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import metrics_of
from tests.attack.amounts import attacks, chance, held
from tests.orchestrator.storage.ledger.conftest import Start, start, where  # noqa: F401 - a fixture
from tests.orchestrator.storage.ledger.driver import content, key, work
from tests.support.cli import LANDSWEEP, LOCAL, write_spec
from tests.support.paths import ROOT
from tests.support.processes import wait_until_stopped

DRIVERS = 4


def racer(ledger: Ledger) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.attack.racer", where(ledger)]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def racers() -> Iterator[list[subprocess.Popen[str]]]:
    racing: list[subprocess.Popen[str]] = []
    yield racing
    for process in racing:
        process.kill()
        process.communicate()


def race(ledger: Ledger, racing: list[subprocess.Popen[str]], moments: random.Random) -> bool:
    """Four processes at once, the winner killed; whether there was one winner."""
    while len(racing) < DRIVERS:
        racing.append(process := racer(ledger))
        assert answer(process) == "begun"
    for process in racing:
        assert process.stdin is not None
        process.stdin.write("\n")
    for process in racing:
        assert process.stdin is not None
        process.stdin.flush()
    answers = [answer(process) for process in racing]
    time.sleep(moments.uniform(0, 0.15))
    for process in [p for p, said in zip(racing, answers, strict=True) if said == "won"]:
        process.kill()
        process.communicate()
        racing.remove(process)
    return sorted(answers) == ["locked"] * (DRIVERS - 1) + ["won"]


def undisturbed(folder: Path, units: int) -> object:
    ledger = Ledger.create(Store.at(folder), {})
    with ledger.writing() as writer:
        work(writer, units, 1)
    return content(ledger)


def raced(name: str, ledger: Ledger, racing: list[subprocess.Popen[str]], n: int, folder: Path) -> None:
    """The same ledger in all races, so that each winner goes on where a dead one was stopped."""
    moments = chance(name)
    winners = sum(race(ledger, racing, moments) for _ in range(n))
    with ledger.writing() as writer:
        units = len(writer.done)
        assert not writer.set_aside
    assert ledger.verify(key(i) for i in range(units)).sound
    assert content(ledger) == undisturbed(folder / "undisturbed", units)
    held(name, winners, n)


@attacks(1, full=24)
def test_for_the_lock_on_disk(tmp_path: Path, racers: list[subprocess.Popen[str]], n: int) -> None:
    raced("races on disk", Ledger.create(Store.at(tmp_path / "sweep"), {}), racers, n, tmp_path)


@attacks(None, full=14)
def test_for_the_lock_on_s3(bucket_url: str, tmp_path: Path, racers: list[subprocess.Popen[str]], n: int) -> None:
    raced("races on S3", Ledger.create(Store.at(bucket_url), {}), racers, n, tmp_path)


def gated(i: int, gate: str) -> dict[str, float]:
    """Ends when a file is there."""
    while not Path(gate).exists():
        time.sleep(0.02)
    return {"y": float(i)}


@attacks(None, full=8)
def test_three_commands_at_one_instant(tmp_path: Path, n: int) -> None:
    """In a fresh folder; the winner can't end before the others have, or they would find all rows there."""
    rounds = 0
    for i in range(n):
        folder = tmp_path / str(i)
        folder.mkdir()
        rounds += three_commands(folder)
    held("three drivers at one instant", rounds, n)


def three_commands(folder: Path) -> bool:
    gate = folder / "gate"
    axes: dict[str, Any] = {"i": {"range": 300}}
    spec = {"kind": "function", "name": "gated", "function": "tests.attack.test_races:gated", "axes": axes}
    write_spec(folder, spec | {"fixed": {"gate": str(gate)}})
    words = [*LANDSWEEP, "run", "spec.yaml", *LOCAL, "site.probe_seconds=0", "--out", "out"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = (folder / "log").open("w")
    drivers = [subprocess.Popen(words, cwd=folder, env=env, stdout=log, stderr=log) for _ in range(3)]
    log.close()
    try:
        while sum(process.poll() is not None for process in drivers) < 2:
            time.sleep(0.05)
        gate.touch()
        codes = sorted(process.wait() for process in drivers)
    finally:
        for process in drivers:
            process.kill()
            process.wait()
    said = (folder / "log").read_text()
    assert said.count("is being worked on by") == 2 and "Traceback" not in said, said
    assert sorted(row["i"] for row in metrics_of(folder / "out").values()) == list(range(300))
    return codes == [0, 2, 2]


@attacks(1, full=7)
def test_a_driver_that_is_stopped_and_wakes_after_another_took_over(
    tmp_path: Path,
    start: Start,  # noqa: F811
    n: int,
) -> None:
    """It runs under the name of another host, so that only its silence can tell that it is dead."""
    moments, gave_way = chance("take-over"), 0
    for i in range(n):
        ledger = Ledger.create(Store.at(tmp_path / str(i)), {})
        gave_way += taken_over(ledger, start, moments)
    held("SIGSTOP and take-over", gave_way, n)


@attacks(None, full=5)
def test_a_driver_on_s3_that_is_stopped_and_wakes_after_another_took_over(
    bucket_url: str,
    start: Start,  # noqa: F811
    n: int,
) -> None:
    moments = chance("take-over on S3")
    ledgers = (Ledger.create(Store.at(f"{bucket_url}-{i}"), {}) for i in range(n))
    held("SIGSTOP and take-over on S3", sum(taken_over(ledger, start, moments) for ledger in ledgers), n)


def taken_over(ledger: Ledger, start: Start, moments: random.Random) -> bool:  # noqa: F811
    first = start(ledger, host="elsewhere", units=20_000, size=1, note="first")
    assert first.stdout is not None
    first.stdout.readline()
    time.sleep(moments.uniform(0, 0.3))
    os.kill(first.pid, signal.SIGSTOP)
    wait_until_stopped(first.pid)
    with ledger.writing(stale=0.6) as writer:
        theirs = set(writer.done)
        units, early = len(theirs) + 40, moments.random() < 0.5
        if early:  # what it was about to write may come before our first commit
            os.kill(first.pid, signal.SIGCONT)
            _, said = first.communicate()
        work(writer, units, 2)
    if not early:
        os.kill(first.pid, signal.SIGCONT)
        _, said = first.communicate()
    assert first.returncode == 3 and "TakenOver" in said, said
    findings = ledger.verify(key(i) for i in range(units))
    assert findings.sound and not findings.missing and findings.rows == units
    rows, series = content(ledger)
    assert len(series) == 3 * units
    return {row["key"] for row in rows if str(row["note"]).endswith("first")} == theirs
