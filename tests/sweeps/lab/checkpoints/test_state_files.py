"""States in files: weights of checkpoints are written once, and a state is whole or there is none."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from landsweep.orchestrator.errors import StorageError
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import FIXED_ARRAYS, Beat, Training, train_pack
from landsweep.sweeps.lab.training_units.saver import Saver
from landsweep.sweeps.lab.training_units.states import StateFiles
from tests.support.damage import flip
from tests.support.s3 import S3
from tests.sweeps.lab.training.cases import digits, finals, recipe, same, told

UNITS = [Unit("a" * 32, {"i": 0}), Unit("b" * 32, {"i": 1})]
KEYS = [u.key for u in UNITS]


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def recipes() -> list[Recipe]:
    policy = {"checkpoints": {"every_steps": 2}, "evaluate": {"every_steps": 5, "splits": ["test"]}}
    return [recipe(i, net={"net": "mlp", "hidden": [4]}, **policy) for i in range(2)]


def saved(folder: Path, training: Training, until: int) -> StateFiles:
    """Train, and save at each beat."""
    files = StateFiles(Artifacts(str(folder)), "x")
    for event in training:
        if isinstance(event, Beat):
            files.save(UNITS, KEYS, training.state())
            if training.step >= until:
                break
    return files


def weights(folder: Path) -> list[Path]:
    return sorted((folder / "states").glob("x.weights-*"))


def equal(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n], equal_nan=True) for n in a)


def test_weights_of_checkpoints_are_written_once(data: Data, tmp_path: Path) -> None:
    """So the file that is replaced at each save does not grow with them."""
    training = train_pack(recipes(), data, backend="bmm")
    early = saved(tmp_path, training, 4)
    first = sum(a.nbytes for n, a in load_file(tmp_path / "states/x.safetensors").items() if n != "events")
    times = {file: file.stat().st_mtime_ns for file in weights(tmp_path)}
    del early
    for event in training:
        if isinstance(event, Beat) and training.step >= 20:
            break
    state, files = training.state(), StateFiles(Artifacts(str(tmp_path)), "x")
    assert files.load() is not None
    files.save(UNITS, KEYS, state)
    last = load_file(tmp_path / "states/x.safetensors")
    assert not any(n.startswith(FIXED_ARRAYS) for n in last)
    assert sum(a.nbytes for n, a in last.items() if n not in ("events", "about", "elsewhere")) <= first
    assert {file: file.stat().st_mtime_ns for file in times} == times, "what lay there already was not written again"
    held = [n for file in weights(tmp_path) for n in load_file(file)]
    assert sorted(held) == sorted(n for n in state if n.startswith(FIXED_ARRAYS)), "each once"


@pytest.mark.parametrize("until", [2, 7, 20])
def test_what_is_loaded_is_what_was_saved_and_goes_on(data: Data, tmp_path: Path, until: int) -> None:
    whole = list(train_pack(recipes(), data, backend="bmm"))
    training = train_pack(recipes(), data, backend="bmm")
    saved(tmp_path, training, until)
    state = StateFiles(Artifacts(str(tmp_path)), "x").load()
    assert state is not None and equal(state, training.state())
    resumed = list(train_pack(recipes(), data, resume=state))
    assert told(resumed) == told(whole)
    assert all(same(finals(resumed)[i], finals(whole)[i]) for i in range(2))


def test_a_state_in_one_file_of_an_earlier_version_is_loaded(data: Data, tmp_path: Path) -> None:
    training = train_pack(recipes(), data, backend="bmm")
    while training.step < 8:
        next(training)
    artifacts, state = Artifacts(str(tmp_path)), training.state()
    artifacts.keep("states/x.safetensors", state)
    files = StateFiles(artifacts, "x")
    found = files.load()
    assert found is not None and equal(found, state)
    files.save(UNITS, KEYS, state)
    again = StateFiles(artifacts, "x").load()
    assert weights(tmp_path) and again is not None and equal(again, state)


@pytest.mark.parametrize("harm", ["missing", "a byte flipped", "another's"])
def test_without_all_its_files_there_is_no_state(data: Data, tmp_path: Path, harm: str) -> None:
    saved(tmp_path, train_pack(recipes(), data, backend="bmm"), 8)
    first, second, *_ = weights(tmp_path)
    match harm:
        case "missing":
            first.unlink()
        case "a byte flipped":
            flip(first, -1)
        case _:
            first.write_bytes(second.read_bytes())
    files = StateFiles(Artifacts(str(tmp_path)), "x")
    assert files.load() is None
    training = train_pack(recipes(), data, backend="bmm")  # what a worker does then, and it saves under the same name
    while training.step < 6:
        next(training)
    files.save(UNITS, KEYS, training.state())
    again = StateFiles(Artifacts(str(tmp_path)), "x").load()
    assert again is not None and equal(again, training.state())


def test_nothing_of_a_dropped_state_stays_and_nothing_else_goes(data: Data, tmp_path: Path) -> None:
    """Not even weights of a worker that was killed before it saved the file that names them."""
    saved(tmp_path, train_pack(recipes(), data, backend="bmm"), 8)
    artifacts = Artifacts(str(tmp_path))
    artifacts.keep("states/x.weights-0123.safetensors", {"snapshot/0/w": np.zeros(3)})
    for other in ("xy", "x.weightsy"):
        StateFiles(artifacts, other).save(UNITS, KEYS, {"snapshot/0/w": np.zeros(3), "about": np.zeros(1)})
    StateFiles(artifacts, "x").drop()
    assert {p.name.partition("-")[0] for p in (tmp_path / "states").glob("x.weights-*")} == set()
    assert StateFiles(artifacts, "x").load() is None
    assert all(StateFiles(artifacts, other).load() is not None for other in ("xy", "x.weightsy"))


def steps_kept(folder: Path, kept: int, *steps: int) -> StateFiles:
    """Save a state that says its step at each of these."""
    files = StateFiles(Artifacts(str(folder)), "x", kept)
    files.load()
    for step in steps:
        files.save(UNITS, KEYS, {"about": np.array([step])})
    return files


def steps_there(folder: Path, kept: int) -> list[int]:
    return [int(state["about"][0]) for state in StateFiles(Artifacts(str(folder)), "x", kept).all()]


@pytest.mark.parametrize("harm", ["missing", "a byte flipped", "none"])
def test_so_many_states_are_kept_and_an_older_one_serves(tmp_path: Path, harm: str) -> None:
    steps_kept(tmp_path, 3, 1, 2, 3, 4, 5)
    assert steps_there(tmp_path, 3) == [5, 4, 3]
    newest = tmp_path / "states/x.1.safetensors"  # 1, 2, 3 went to 0, 1, 2; 4 and 5 to 0 and 1
    if harm == "missing":
        newest.unlink()
    elif harm == "a byte flipped":
        flip(newest, -1)
    left = [5, 4, 3] if harm == "none" else [4, 3]
    assert steps_there(tmp_path, 3) == left
    steps_kept(tmp_path, 3, 6)
    assert steps_there(tmp_path, 3) == [6, *left[:2]] and len(list((tmp_path / "states").iterdir())) == 4
    steps_kept(tmp_path, 1, 7)
    assert steps_there(tmp_path, 1) == [7] and len(list((tmp_path / "states").glob("x.*safetensors"))) == 2
    StateFiles(Artifacts(str(tmp_path)), "x").drop()
    assert not list((tmp_path / "states").iterdir())


def test_an_index_names_no_file_of_others(tmp_path: Path) -> None:
    """It may come from anybody; with a state of before, which has no list of places."""
    steps_kept(tmp_path, 1, 1)
    artifacts, victims = Artifacts(str(tmp_path)), ["rows.txt", "states/y.part-1-0.safetensors"]
    for victim in victims:
        artifacts.write(victim, b"dear")
    index = artifacts.load("states/x.index.safetensors")
    assert index is not None
    told = json.dumps([[0, [*victims, "states/x.part-1/../../rows.txt"]]]).encode()
    artifacts.keep("states/x.index.safetensors", {**index, "places": np.frombuffer(told, np.uint8)})
    steps_kept(tmp_path, 1, 2)
    steps_kept(tmp_path, 2, 3)
    assert steps_there(tmp_path, 2) == [3, 2]
    assert all(artifacts.read(victim) == b"dear" for victim in victims)


class Slow(StateFiles):
    """Whose writing waits, and may fail."""

    def __init__(self, artifacts: Artifacts, fault: Exception | None = None) -> None:
        super().__init__(artifacts, "x")
        self.begun, self.go, self.fault = threading.Event(), threading.Event(), fault

    def save(self, *state: Any) -> None:
        self.begun.set()
        assert self.go.wait(60)
        if self.fault is not None:
            raise self.fault
        super().save(*state)


@pytest.mark.parametrize("fault", [None, StorageError("the disk is full")])
def test_a_saver_writes_while_training_goes_on(tmp_path: Path, data: Data, fault: Exception | None) -> None:
    files = Slow(Artifacts(str(tmp_path)), fault)
    saver, training = Saver(files), train_pack(recipes(), data, backend="bmm")
    while training.step < 4:
        next(training)
    saver.save(UNITS, KEYS, training.state())
    wanted = training.state()
    assert files.begun.wait(60)
    while training.step < 12:
        next(training)
    assert not (tmp_path / "states").exists(), "it is still being written"
    files.go.set()
    if fault is None:
        saver.finish()
        state = StateFiles(Artifacts(str(tmp_path)), "x").load()
        assert state is not None and equal(state, wanted), "as it was when it was asked for"
    else:
        with pytest.raises(StorageError, match="the disk is full"):
            saver.finish()
        saver.finish()  # it is said once


def test_states_go_to_an_object_store(data: Data, s3: S3) -> None:
    """Two of them, beside the training; then what they leave elsewhere, and nothing once they are dropped."""
    files = StateFiles(Artifacts(f"s3://{s3.bucket}/states-of-units"), "x", 2)
    saver, training = Saver(files), train_pack(recipes(), data, backend="bmm")
    wanted = []
    for event in training:
        if isinstance(event, Beat) and len(wanted) < 3:
            wanted.append(training.state())
            saver.save(UNITS, KEYS, wanted[-1])
    saver.finish()
    again = StateFiles(Artifacts(f"s3://{s3.bucket}/states-of-units"), "x", 2)
    found = list(again.all())
    assert len(found) == 2 and all(equal(a, b) for a, b in zip(found, wanted[:0:-1], strict=True))
    again.drop()
    assert not Artifacts(f"s3://{s3.bucket}/states-of-units").files("states")
