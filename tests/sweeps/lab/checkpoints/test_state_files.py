"""States in files: weights of checkpoints are written once, and a state is whole or there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import FIXED_ARRAYS, Beat, Training, train_pack
from landsweep.sweeps.lab.training_units.states import StateFiles
from tests.support.damage import flip
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
