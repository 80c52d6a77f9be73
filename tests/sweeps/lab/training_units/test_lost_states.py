"""States to go on from, and points of branches, with changed bytes: set aside and told, and the bits are the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from landsweep import Zoo
from landsweep.orchestrator.commands.display import findings_text
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Outcome
from landsweep.orchestrator.run.plan import planned
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.arrays import Spoilt, has_digest, pack, unpack
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.ledger import Store, check_states
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of
from landsweep.sweeps.zoo.kind import ZooSpec
from tests.support.damage import flip, swap
from tests.support.paths import ROOT
from tests.support.zoos import (
    BRANCHED_RECIPE,
    BRANCHES,
    KIND,
    assert_same_zoos,
    long_zoo_spec,
    resumed_packs,
    train_zoo,
)
from tests.sweeps.lab.training.cases import distance

pytestmark = pytest.mark.rotating

Harm = Callable[[list[Path]], None]


def two_packs() -> ZooSpec:
    axes = {"optimizer.learning_rate": [0.05], "net.hidden.0": [8, 6]}
    spec = long_zoo_spec(steps=240, seeds=2, backend="bmm").model_dump(mode="json", exclude_defaults=True)
    return KIND.parse({"kind": "zoo", "name": "two", **spec, "axes": axes}, "spec")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train_zoo(two_packs(), folder)
    return folder


@pytest.fixture(scope="module")
def stopped_as_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped, as by a kill, in the middle of the second pack: both have states, and no unit has a row."""
    folder = tmp_path_factory.mktemp("stopped")
    bench = Workbench(artifacts=Artifacts(str(folder)), state_seconds=0.0)
    for item in KIND.open(two_packs(), {}, bench).evaluate(list(planned(KIND, two_packs()))):
        assert not isinstance(item, Outcome)
        if len(list((folder / "states").glob("*.index.safetensors"))) == 2:
            return folder
    raise AssertionError("it ended without two states")


@pytest.fixture
def stopped(stopped_as_made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped_as_made, tmp_path / "zoo"))


def files(folder: Path, *, index: bool) -> list[Path]:
    """Those that are replaced as training goes on; weights of checkpoints lie in others."""
    states = [p for p in (folder / "states").iterdir() if ".weights-" not in p.name]
    return sorted(p for p in states if p.name.endswith(".index.safetensors") == index)


def finish(folder: Path, spec: ZooSpec, **options: Any) -> list[str]:
    """Gives what was said to be set aside."""
    watch, site = QuietWatch(), Site(executor="local", tracking=False, **options)
    run_sweep(KIND, spec, site, folder, folder=ROOT, watch=watch)
    return [line for line in watch.said if line.startswith("set aside")]


def within(file: Path, text: bytes) -> None:
    flip(file, file.read_bytes().index(text) + 3)


def older(file: Path) -> None:
    """As an earlier version wrote it."""
    save_file(load_file(file), file)


HARMS: dict[str, tuple[Harm, int, list[bool]]] = {  # how many files are set aside, and which packs go on from a state
    "nothing": (lambda states: None, 0, [True, True]),
    "a byte flipped": (lambda states: flip(states[0], -1), 1, [False, True]),
    "a name in the header": (lambda states: within(states[0], b'"about"'), 1, [False, True]),
    "the digest": (lambda states: within(states[0], b"landsweep.digest"), 1, [False, True]),
    "cut off": (lambda states: states[1].write_bytes(states[1].read_bytes()[:-3]) and None, 1, [False, True]),
    "emptied": (lambda states: states[1].write_bytes(b"") and None, 1, [False, True]),
    "two swapped": (lambda states: swap(*states), 2, [False, False]),
    "written by an earlier version": (lambda states: [older(s) for s in states] and None, 0, [True, True]),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_state_is_set_aside_and_the_bits_are_those_of_an_undisturbed_run(
    stopped: Path, whole: Path, harm: str
) -> None:
    change, aside, went_on = HARMS[harm]
    change(files(stopped, index=False))
    with resumed_packs() as began:
        said = finish(stopped, two_packs())
    assert sorted(began) == sorted(went_on)
    assert len(said) == aside and all("begins earlier" in line for line in said), said
    assert len(list((stopped / "damaged").glob("*"))) == aside
    assert_same_zoos(stopped, whole)


@pytest.mark.parametrize("harm", ["a byte flipped", "cut off", "two swapped"])
def test_a_damaged_index_of_a_state_too(stopped: Path, whole: Path, harm: str) -> None:
    """The index alone says which units a state holds; without it the pack is cut as if there were none."""
    HARMS[harm][0](files(stopped, index=True))
    assert len(finish(stopped, two_packs())) == HARMS[harm][1]
    assert_same_zoos(stopped, whole)


def text_of(index: Path) -> Any:
    return json.loads(load_file(index)["units"].tobytes())


def index_with(text: str | bytes) -> dict[str, np.ndarray[Any, Any]]:
    return {"units": np.frombuffer(text if isinstance(text, bytes) else text.encode(), np.uint8)}


JUNK: dict[str, Callable[[Any], dict[str, np.ndarray[Any, Any]]]] = {
    "no JSON": lambda told: index_with(b'[["torn'),
    "no text": lambda told: index_with(b"\xff\xfe"),
    "deep": lambda told: index_with("[" * 100_000),
    "no units": lambda told: {"zzz": np.zeros(3)},
    "a number": lambda told: index_with("3"),
    "an object": lambda told: index_with(json.dumps({"units": told})),
    "no params": lambda told: index_with(json.dumps([[key, None, wanted] for key, _, wanted in told])),
    "entries of two": lambda told: index_with(json.dumps([entry[:2] for entry in told])),
    "an entry is missing": lambda told: index_with(json.dumps(told[1:])),
    "the entries in another order": lambda told: index_with(json.dumps(told[::-1])),
    "none": lambda told: index_with("[]"),
}


@pytest.mark.parametrize("junk", JUNK)
def test_an_older_index_that_can_not_be_understood_is_none(stopped: Path, whole: Path, junk: str) -> None:
    for file in files(stopped, index=True):
        save_file(JUNK[junk](text_of(file)), file)
    assert finish(stopped, two_packs()) == []
    assert_same_zoos(stopped, whole)


def test_one_flipped_byte_is_found_wherever_it_lies() -> None:
    arrays = {"a": np.arange(3.0), "b": np.zeros((0, 2), np.int8), "c": np.array(True)}
    data = pack("states/x", arrays)
    back = unpack("states/x", data)
    assert has_digest(data) and back.keys() == arrays.keys()
    assert all(
        back[n].dtype == a.dtype and back[n].shape == a.shape and (back[n] == a).all() for n, a in arrays.items()
    )
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            try:
                found = unpack("states/x", bytes(changed))
            except Spoilt:
                continue
            assert data[at : at + 1].isspace() or b"__metadata__" not in changed, (at, bit)  # the header means the same
            assert all((found[n] == a).all() for n, a in arrays.items())
    with pytest.raises(Spoilt, match="its name"):
        unpack("states/y", data)


def test_verify_says_what_it_has_seen_of_states(stopped: Path) -> None:
    site = Site(executor="local", tracking=False)
    store = Store.at(stopped)
    assert (check_states(store, deep=True).count, check_states(store, deep=True).unproved) == (8, 0)
    older(files(stopped, index=False)[0])
    kept = shutil.copytree(stopped / "states", stopped.parent / "kept")
    run_sweep(KIND, two_packs(), site, stopped, folder=ROOT, watch=QuietWatch())
    shutil.copytree(kept, stopped / "states", dirs_exist_ok=True)
    quick, deep = (Sweep.at(stopped).verify(deep=d) for d in (False, True))
    assert "saved states: 8, none cut off (--deep compares every byte)" in findings_text(quick, "zoo")
    assert "8, every byte compared, but 1 of an earlier version carry no digest" in findings_text(deep, "zoo")
    flip(files(stopped, index=False)[1], -1)
    assert Sweep.at(stopped).verify().sound, "not read, not claimed"
    (damage,) = Sweep.at(stopped).verify(deep=True).damaged
    assert damage.path.startswith("states/")
    rows = metrics_of(stopped)
    end = run_sweep(KIND, two_packs(), site, stopped, folder=ROOT, watch=QuietWatch(), deep=True)
    assert end.new == 0 and metrics_of(stopped) == rows
    found = Sweep.at(stopped).verify(deep=True)
    assert found.sound and found.states == 7
    files(stopped, index=True)[0].write_bytes(b"short")
    assert [d.path for d in Sweep.at(stopped).verify().damaged] == [f"states/{files(stopped, index=True)[0].name}"]


POINTS: dict[str, tuple[Callable[[Path, list[Path]], None], set[int]]] = {  # where branches at 30 begin then
    "a byte flipped": (lambda early, late: flip(late[0], -1), {15, 30}),
    "cut off": (lambda early, late: late[1].write_bytes(late[1].read_bytes()[:-3]) and None, {15, 30}),
    "two swapped": (lambda early, late: swap(*late), {15}),
    "an earlier one in its place": (lambda early, late: shutil.copy(early, late[0]) and None, {15, 30}),
    "written by an earlier version": (lambda early, late: [older(p) for p in late] and None, {30}),
}


@pytest.fixture(scope="module")
def main_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mains")
    finish(folder, branched(BRANCHES))
    return folder


@pytest.mark.parametrize("case", POINTS)
def test_a_branch_starts_before_a_damaged_point_and_has_the_same_bits(
    main_runs: Path, tmp_path: Path, case: str
) -> None:
    folder = Path(shutil.copytree(main_runs, tmp_path / "zoo"))
    harm, begun = POINTS[case]
    early, late = (sorted((folder / "points").glob(f"*-{at:06d}.*")) for at in (15, 30))
    harm(early[0], late)
    deep = Sweep.at(folder).verify(deep=True)
    assert {d.path.split("/")[0] for d in deep.damaged} == ({"points"} if 15 in begun else set())
    assert deep.states == 4 and deep.unproved == (2 if "version" in case else 0)
    said = finish(
        folder, branched({**BRANCHES, "again": {"at": 30, "steps": 6}}), shard_seconds=1e-9
    )  # each unit alone
    assert len(said) == len(deep.damaged)
    zoo, fresh = Zoo(folder), Zoo(main_runs)
    assert set(zoo.rows.loc[zoo.rows["branch"] == "again", "begun_at"]) == begun
    assert all(distance(fresh[key].state("last"), zoo[key].state("last")) == 0 for key in fresh.keys)
    again = Path(tmp_path / "again")
    finish(again, branched({"again": {"at": 30, "steps": 6}}))
    for key, row in Zoo(again).rows.set_index("key").iterrows():
        assert json.dumps(row["test_loss"]) == json.dumps(zoo[str(key)].row["test_loss"])
        assert distance(Zoo(again)[str(key)].state("last"), zoo[str(key)].state("last")) == 0


def branched(branches: dict[str, Any]) -> ZooSpec:
    fields = {"kind": "zoo", "name": "b", "recipe": BRANCHED_RECIPE, "backend": "bmm", "seeds": {"range": 2}}
    return KIND.parse({**fields, "branches": branches}, "spec")
