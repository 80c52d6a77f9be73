"""A training that is cut off anywhere and goes on ends with the same bits and has told the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, TrainingEvent, train_pack
from tests.support.paths import ROOT
from tests.sweeps.lab.training.cases import (
    OPTIMIZERS,
    as_kept,
    blobs,
    digits,
    ends,
    finals,
    label,
    recipe,
    run,
    same,
    told,
)
from tests.sweeps.lab.training.driver import long_recipes

CNN = {"net": "cnn", "channels": [4], "norm": "batch"}
POLICY: dict[str, Any] = {
    "evaluate": {"every_steps": 7, "splits": ["test"]},
    "checkpoints": {"every_steps": 10, "best": "test_loss"},
}
LATE = {"shape": "step", "at": [0.2], "factor": 1e30}


def pack(**fields: Any) -> list[Recipe]:
    """Models with dropout, noise, clipping, warm-up, one that diverges at step 7."""
    net = {"net": "mlp", "hidden": [12], "dropout": 0.2}
    each: list[dict[str, Any]] = [
        {"clip": 0.5, "schedule": {"shape": "cosine", "warmup": 0.2}},
        {"schedule": LATE},
        {"label_noise": 0.3},
    ]
    return [recipe(i, **{"net": net, **POLICY, **more, **fields}) for i, more in enumerate(each)]


def cut(recipes: Sequence[Recipe], data: Data, backend: str, at: int, file: Path) -> list[TrainingEvent]:
    """Train until so many steps are made, forget all but the state, and go on from there."""
    training = train_pack(recipes, data, backend=backend)
    for event in training:
        if isinstance(event, Beat) and training.step >= at:
            break
    assert at <= training.step < training.calendar.total
    return run(recipes, data, backend, resume=as_kept(training.state(), file))


@pytest.mark.parametrize("at", [1, 7, 20])
@pytest.mark.parametrize("backend", ["loop", "vmap", "bmm"])
def test_goes_on_with_the_same_bits(backend: str, at: int, tmp_path: Path) -> None:
    data, recipes = digits(), pack()
    whole, resumed = run(recipes, data, backend), cut(recipes, data, backend, at, tmp_path / "state")
    assert ends(whole)[1].status == "diverged"
    assert all(same(finals(whole)[i], finals(resumed)[i]) for i in range(3))
    assert told(resumed) == told(whole)


@pytest.mark.parametrize(
    "optimizer",
    [
        *OPTIMIZERS,
        {"method": "class", "name": "torch.optim:Adagrad", "learning_rate": 0.01},
        {"method": "class", "name": "pytorch_optimizer:Lamb", "learning_rate": 0.01},
    ],
    ids=label,
)
def test_optimizers_go_on(optimizer: dict[str, Any], tmp_path: Path) -> None:
    fewer = {"clip": None} if optimizer["method"] == "egn" else {}  # which refuses it
    data, recipes = digits(), pack(optimizer=optimizer, schedule={"shape": "linear"}, **fewer)
    backend = "loop" if optimizer["method"] == "class" else "bmm"
    resumed = cut(recipes, data, backend, 14, tmp_path / "state")
    assert all(same(f, finals(resumed)[i]) for i, f in finals(run(recipes, data, backend)).items())


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_statistics_of_batch_normalisation_go_on(backend: str, tmp_path: Path) -> None:
    data, augment = blobs(), {"shift": 1, "flip": True}
    recipes = [recipe(i, net=CNN, augment=augment, **POLICY) for i in range(3)]
    resumed = cut(recipes, data, backend, 14, tmp_path / "state")
    assert all(same(f, finals(resumed)[i]) for i, f in finals(run(recipes, data, backend)).items())


def test_a_state_belongs_to_its_recipes(tmp_path: Path) -> None:
    data, recipes = digits(), pack()
    training = train_pack(recipes, data, backend="bmm")
    next(training)
    for others, backend in ((recipes[:2], "bmm"), (recipes, "loop")):
        with pytest.raises(SpecError, match="give the same recipes in order, and that back-end"):
            train_pack(others, data, backend=backend, resume=training.state())
    assert train_pack(recipes, data, backend="auto", resume=training.state()).backend == "bmm"


def test_a_state_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    """A session that is told so starts the pack anew; see `landsweep.sweeps.lab.training_units.pack_run`."""
    recipes, data = [recipe(i, **POLICY) for i in range(2)], blobs()
    training = train_pack(recipes, data, backend="bmm")
    while training.step < 12:
        next(training)
    state = as_kept(training.state(), tmp_path / "state")
    assert {n.partition("/")[0] for n in state} >= {"about", "weights", "updater", "best", "snapshot", "events"}
    for name, array in state.items():
        for damaged in ({k: v for k, v in state.items() if k != name}, {**state, name: np.append(array, array)}):
            with pytest.raises(SpecError, match="resume: "):
                train_pack(recipes, data, backend="auto", resume=damaged)
    assert train_pack(recipes, data, backend="auto", resume=state).step == training.step


def test_killed_and_started_again(tmp_path: Path) -> None:
    """SIGKILL wherever it strikes after a third of the steps; then to the end."""
    command = [sys.executable, "-m", "tests.sweeps.lab.training.driver", str(tmp_path / "state")]
    reached = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            reached = int(line)
            if reached >= 300:
                process.send_signal(signal.SIGKILL)
                break
    assert 300 <= reached < 900
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert int(done.stdout.split()[0]) > 300
    for i, state in finals(run(long_recipes(), digits(), "bmm")).items():
        assert same(load_file(tmp_path / f"state.{i}"), state)
