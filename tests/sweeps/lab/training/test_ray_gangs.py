"""Gangs and single workers on one Ray of two CPUs, and actors of a gang that are killed."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from landsweep.orchestrator.site import Site
from tests.support.cli import command as run
from tests.support.gangs import DEADLINE, has_state, kill, losses, recipe, rows, run_gangs, story, when
from tests.support.paths import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("default")]


def actors(*, first: bool) -> list[psutil.Process]:
    """First members of gangs, or the others, on the Ray of this process; a unit must be running."""
    processes = []
    for process in psutil.Process().children(recursive=True):
        try:
            title = " ".join(process.cmdline())
            if "ray::Actor" in title and ("ray::Actor.run" in title) is first:
                processes.append(process)
        except psutil.Error:  # it has just ended
            continue
    return processes


def test_models_of_both_sizes_share_two_cpus(own_ray: None, tmp_path: Path) -> None:
    """Small models train alone, large ones on both CPUs: workers make room for the gang, and come back."""
    rule = {"by_parameters": {3000: 2}}
    axes = {"net.hidden.0": {"values": [4, 64]}}
    run_gangs(tmp_path / "ray", Site(workers=2), devices=rule, axes=axes, seeds=3)
    run_gangs(tmp_path / "alone", Site(executor="local"), devices=1, axes=axes, seeds=3)
    table = rows(tmp_path / "ray")
    assert set(table["status"]) == {"ok"}, story(tmp_path / "ray")
    sizes = list(zip(table["net.hidden.0"], table["devices"], strict=True))
    assert sizes == [(4, 1)] * 3 + [(64, 2)] * 3, story(tmp_path / "ray")
    assert float((losses(tmp_path / "ray") - losses(tmp_path / "alone")).abs().max()) < 1e-6


@pytest.mark.parametrize("first", [True, False])
def test_a_killed_actor_ends_its_gang_and_the_unit_goes_on(own_ray: None, first: bool, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    long = recipe(steps=1500, evaluate={"every_steps": 500})
    killer = when(lambda: has_state(folder), lambda: kill(actors(first=first)[0]))
    run_gangs(folder, Site(workers=2, state_seconds=0.2), recipe=long)
    killer.join(1)
    assert not killer.is_alive(), "nobody was killed"
    row = rows(folder).iloc[0]
    assert (row["status"], row["attempt"], row["devices"]) == ("ok", 2, 2), story(folder)
    assert 0 < row["resumed_at"] < 1500, story(folder)
    assert not has_state(folder)


def test_a_scaling_study_whose_largest_model_spans_two_devices(tmp_path: Path) -> None:
    """The command of docs/training.md, on a Ray of its own."""
    out = tmp_path / "study"
    words = [
        "run",
        "sweeps/specs/scaling_markov.yaml",
        "widths=[8,12,16,32]",
        "budgets=[1e9,4e9]",
        "seeds=[0]",
        "validate=null",
        'devices={by_parameters: {"1e4": 2}}',
        "site.workers=2",
        "site.tracking=off",
    ]
    run(*words, "--out", str(out), cwd=ROOT, timeout=2 * DEADLINE)
    table = rows(out)
    assert dict(zip(table["width"], table["devices"], strict=True)) == {8: 1, 12: 1, 16: 1, 32: 2}
    assert set(table["status"]) == {"ok"} and (out / "report" / "index.html").exists()
