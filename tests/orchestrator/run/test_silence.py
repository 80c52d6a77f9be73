"""Silent workers are named after a while, then ever more rarely; a worker without work is not silent."""

from __future__ import annotations

from pathlib import Path

import pytest

import landsweep.orchestrator.run.silence
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.executors.local import LocalExecutor
from landsweep.orchestrator.run.silence import Silence, Silent
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.orchestrator.unit import Unit
from tests.chaos.driver import spec_data


def test_a_worker_is_named_after_a_while_then_ever_more_rarely() -> None:
    silence = Silence(first=10)
    silence.started("w0", 1, now=0)
    named = [now for now in range(100) if silence.complaints(now)]
    assert named == [10, 20, 40, 80]
    assert silence.longest(99) == Silent("w0", 99, 1)


def test_a_sign_of_any_kind_ends_the_silence() -> None:
    silence = Silence(first=10)
    silence.started("w0", 1, now=0)
    silence.started("w1", 2, now=0)
    silence.heard(1, 9, ended=False)
    assert silence.complaints(18) == [Silent("w1", 18, 2)]
    assert silence.complaints(19) == [Silent("w0", 10, 1)]
    silence.heard(2, 20, ended=False)
    silence.heard(1, 20, ended=True)
    assert silence.complaints(29) == [], "it speaks again, so the count begins anew"
    assert silence.complaints(30) == [Silent("w1", 10, 2)]


def test_work_that_waits_at_a_worker_is_not_silent_and_one_without_work_is_not_either() -> None:
    silence = Silence(first=10)
    silence.started("w0", 1, now=0)
    silence.started("w0", 2, now=5)
    silence.heard(1, 9, ended=True)
    assert silence.longest(18) is None
    assert silence.longest(19) == Silent("w0", 10, 2)
    silence.heard(2, 20, ended=True)
    assert silence.longest(1000) is None and silence.complaints(1000) == []
    silence.heard(2, 21, ended=True)  # a late word of a work that has ended
    silence.started("w0", 3, now=1000)
    assert silence.complaints(1005) == []


def test_params_of_any_length_and_kind_stay_one_line() -> None:
    for value in ("x" * 10_000, "a\nb" * 100, "\x1b[31m"):
        text = Silent("w0", 600, 1).text([Unit("a" * 32, {"net": value})])
        assert len(text) < 300 and text.isprintable(), text


def test_a_run_names_the_worker_and_its_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no patience at all each turn of the loop that finds a unit at work says so."""
    kind = kind_named("function")
    monkeypatch.setattr(landsweep.orchestrator.run.silence.Silence.__init__, "__defaults__", (0.0,))
    watch = QuietWatch()
    spec = parse(kind.spec, spec_data(3, 0.2), "test")
    site = Site(executor="local", probe_seconds=0)
    run_sweep(kind, spec, site, tmp_path, folder=tmp_path, watch=watch, executor=LocalExecutor())
    lines = [line for line in watch.said if "no news" in line]
    assert any("worker local for 0 min (unit {'i': " in line and "site.unit_timeout" in line for line in lines)
