"""Branches in a zoo: proposed when their main runs have ended, started from points, equal to runs of their own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.lab.training import Training
from landsweep.sweeps.zoo.audit import regenerate
from landsweep.sweeps.zoo.kind import ZooSpec
from tests.support.zoos import BRANCHED_RECIPE, BRANCHES, KIND, branched_zoo_spec
from tests.sweeps.lab.training.cases import distance


def train(spec: ZooSpec, folder: Path) -> Zoo:
    run_example(KIND, spec, folder)
    return Zoo(folder)


def weights(zoo: Zoo) -> dict[tuple[int, str], dict[str, Any]]:
    rows = zoo.rows if "branch" in zoo.rows else zoo.rows.assign(branch="")
    return {(r["seed"], r["branch"]): zoo[r["key"]].state("last") for _, r in rows.fillna({"branch": ""}).iterrows()}


def test_branches_come_when_their_main_runs_have_ended() -> None:
    planner = KIND.planner(branched_zoo_spec())
    mains = planner.ask(100)
    assert len(mains) == 2 and planner.total == 6 and not planner.exhausted
    assert planner.ask(100) == []
    planner.tell({"key": mains[0].key})
    assert planner.ask(100) == []  # those of a pack leave together, so that they can train together
    planner.tell({"key": mains[1].key})
    planner.tell({"key": mains[1].key})
    found = planner.ask(100)
    assert [u.params["branch"] for u in found] == ["early", "early", "late", "late"]
    assert len({u.key for u in found}) == 4 and len({u.pack for u in found}) == 2
    assert planner.exhausted


def test_units_that_have_rows_are_not_proposed_when_a_zoo_goes_on() -> None:
    first, again = (KIND.planner(branched_zoo_spec()) for _ in range(2))
    mains = first.ask(100)
    again.tell({"key": mains[0].key})
    assert again.ask(100) == mains[1:]
    for planner in (first, again):
        for unit in mains:
            planner.tell({"key": unit.key})
    branches = first.ask(100)
    again.tell({"key": branches[2].key})
    assert again.ask(100) == [*branches[:2], *branches[3:]] and again.exhausted and again.total == 6


def test_main_runs_keep_their_keys_and_branches_hold_their_definition() -> None:
    def keys(spec: ZooSpec) -> dict[Any, str]:
        planner = KIND.planner(spec)
        mains = planner.ask(100)
        for unit in mains:
            planner.tell({"key": unit.key})
        return {(u.params["seed"], u.params.get("branch")): u.key for u in [*mains, *planner.ask(100)]}

    plain, more = keys(branched_zoo_spec(branches={})), keys(branched_zoo_spec())
    assert plain.items() <= more.items()
    other = keys(branched_zoo_spec(branches={**BRANCHES, "late": {"at": 30, "steps": 13}}))
    assert other[0, "early"] == more[0, "early"] and other[0, "late"] != more[0, "late"]


def test_a_branch_from_a_point_has_the_bits_of_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, int]] = []

    really = Training.start_from

    def start_from(training: Training, points: Sequence[Any]) -> None:
        really(training, points)
        begun.append((training.step, len(points)))

    monkeypatch.setattr(Training, "start_from", start_from)
    zoo = train(branched_zoo_spec(), tmp_path / "zoo")
    assert sorted(begun) == [(15, 2), (30, 2)]
    rows = zoo.rows
    assert regenerate(zoo[str(rows.loc[rows["branch"] == "early", "key"].iloc[0])]).close
    assert sorted(rows["branch"].fillna("").tolist()) == ["", "", "early", "early", "late", "late"]
    assert set(rows.loc[rows["branch"] == "late", "steps_done"]) == {42}
    points = sorted((tmp_path / "zoo" / "points").iterdir())
    assert len(points) == 4 and int(load_file(points[0])["step"]) in (15, 30)
    fall = {"shape": "wsd", "cooldown_steps": 12, "decay": "linear", "warmup_steps": 5}
    alone = {**BRANCHED_RECIPE, "steps": 42, "schedule": fall}
    whole = weights(train(branched_zoo_spec(recipe=alone, branches={}, name="whole"), tmp_path / "whole"))
    assert all(distance(weights(zoo)[seed, "late"], whole[seed, ""]) == 0 for seed in range(2))


def test_a_branch_whose_point_is_gone_trains_from_the_beginning(tmp_path: Path) -> None:
    first = branched_zoo_spec(branches={"early": BRANCHES["early"]})
    train(first, tmp_path / "zoo")
    shutil.rmtree(tmp_path / "zoo" / "points")
    zoo = train(branched_zoo_spec(), tmp_path / "zoo")  # the sweep grows by a branch; its main runs have rows already
    fresh = train(branched_zoo_spec(), tmp_path / "fresh")
    assert weights(zoo).keys() == weights(fresh).keys()
    assert all(distance(state, weights(fresh)[mark]) == 0 for mark, state in weights(zoo).items())


def test_a_branch_starts_from_the_last_point_before_its_own(tmp_path: Path) -> None:
    """A branch that the sweep is given afterwards has no point of its own; torn files and later points do not count."""
    train(branched_zoo_spec(), tmp_path / "zoo")
    more = {"middle": {"at": 25, "steps": 5}, "first": {"at": 10, "steps": 5}}
    for file in (tmp_path / "zoo" / "points").glob("*-000030.safetensors"):
        file.write_bytes(b"torn")
    rows = train(
        branched_zoo_spec(branches={**BRANCHES, **more, "again": {"at": 30, "steps": 6}}), tmp_path / "zoo"
    ).rows
    begun = {name: set(found) for name, found in rows.groupby(rows["branch"].fillna("main"))["begun_at"]}
    assert begun == {"main": {0}, "early": {15}, "late": {30}, "middle": {15}, "first": {0}, "again": {15}}
    fresh = train(branched_zoo_spec(branches=more), tmp_path / "fresh")
    for mark, state in weights(fresh).items():
        assert distance(state, weights(Zoo(tmp_path / "zoo"))[mark]) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"branches": {"x": {"at": 41, "steps": 5}}}, "still holds its rate"),
        ({"recipe": {**BRANCHED_RECIPE, "schedule": {"shape": "cosine"}}}, "cosine, which holds no rate"),
        ({"branches": {"x": {"steps": 5}}}, "branches.x.at"),
    ],
)
def test_what_can_not_branch_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        branched_zoo_spec(**changes)
