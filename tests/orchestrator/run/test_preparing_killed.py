"""A preparation that kills the driver again and again is named instead of tried for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landsweep.orchestrator.errors import ClusterLost, PreparationFailed, StopSweep
from landsweep.orchestrator.run.driver_deaths import PREPARING, preparing
from landsweep.orchestrator.storage.ledger import Store
from tests.support.installed import install

KIND = """
import os, signal, sys
import numpy as np
from landsweep.orchestrator.kind import Preparation
from landsweep.sweeps.function.kind import FunctionKind

class Kind(FunctionKind):
    name = "killing"
    def preparations(self, spec): return (Preparation("weights", 1),)
    def prepare(self, spec, name, have, bench):
        if sys.argv[1] == "die": os.kill(os.getpid(), signal.SIGKILL)
        return {"a": np.zeros(1)}
"""
DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, ".")
from landsweep.orchestrator.errors import PreparationFailed
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
kind = kind_named("killing")
site = Site(executor="local", tracking=False, budgets={"driver": 1})
try:
    print(run_sweep(kind, kind.example(), site, "out", folder=Path.cwd(), watch=QuietWatch()).phase)
except PreparationFailed as e:
    print(e)
"""


def test_it_is_said_when_the_budget_is_spent_and_then_tried_again(tmp_path: Path) -> None:
    install(tmp_path, "killing", KIND)

    def run(how: str) -> tuple[int, str]:
        driver = [sys.executable, "-c", DRIVER, how]
        done = subprocess.run(driver, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
        return done.returncode, done.stdout.strip()

    assert [run("die") for _ in range(2)] == 2 * [(-9, "")]
    code, text = run("die")
    assert code == 0 and text.startswith("the driver or its Ray died 2 times in a row while weights was prepared; ")
    assert run("live") == (0, "done")
    assert not (tmp_path / "out" / PREPARING).exists() and not (tmp_path / "out/in-flight.json").exists()


def test_an_orderly_end_is_no_death_and_a_lost_ray_is_one(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    for error in (StopSweep("disk full"), KeyboardInterrupt(), PreparationFailed("it raised"), RuntimeError()):
        with pytest.raises(type(error)), preparing(store, ["a"], 0):
            raise error
    with preparing(store, ["a"], 0):
        pass
    with pytest.raises(ClusterLost), preparing(store, ["a"], 0):
        raise ClusterLost("gone")
    with pytest.raises(PreparationFailed, match="died 1 times in a row while a, b was prepared"):
        preparing(store, ["a", "b"], 0).__enter__()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"deaths": null}'])
def test_a_damaged_count_is_one_death(tmp_path: Path, text: str) -> None:
    (tmp_path / PREPARING).write_text(text, encoding="utf-8")
    with preparing(Store.at(tmp_path), ["a"], 1):
        pass
    (tmp_path / PREPARING).write_text(text, encoding="utf-8")
    with pytest.raises(PreparationFailed):
        preparing(Store.at(tmp_path), ["a"], 0).__enter__()
