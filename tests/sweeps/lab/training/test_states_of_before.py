"""States that an earlier version saved go on. `golden/states` holds some, each in the middle of a training."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Ended, Evaluated, train_pack
from tests.support.paths import GOLDEN
from tests.sweeps.lab.training.cases import blobs, digits, ends, recipe, told

STATES = GOLDEN / "states"
POLICY: dict[str, Any] = {
    "evaluate": {"every_steps": 7, "splits": ["test"]},
    "checkpoints": {"every_steps": 10, "best": "test_loss"},
}
NET = {"net": "mlp", "hidden": [3], "dropout": 0.2}
LATE = {"shape": "step", "at": [0.3], "factor": 1e30}
CNN = {"net": "cnn", "channels": [2], "norm": "batch"}


def small(**fields: Any) -> list[Recipe]:
    each: list[dict[str, Any]] = [
        {"clip": 0.5, "schedule": {"shape": "cosine", "warmup": 0.2}},
        {"schedule": LATE},
        {"label_noise": 0.3},
    ]
    return [recipe(i, **{"net": NET, **POLICY, **more, **fields}) for i, more in enumerate(each)]


def case(name: str) -> tuple[list[Recipe], Data]:
    match name:
        case "bmm":
            adam = {"method": "adam", "learning_rate": 0.003}
            return small(optimizer=adam, averaging={"average": "latest", "last": 2}), digits()
        case "class":
            return small(optimizer={"method": "class", "name": "torch.optim:Adagrad", "learning_rate": 0.01}), digits()
        case _:
            rates = (0.01, 1e25, 0.02)
            return [recipe(i, rate, net=CNN, steps=20, **POLICY) for i, rate in enumerate(rates)], blobs()


def header(state: dict[str, NDArray[Any]]) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(state["about"].tobytes())
    return about


@pytest.mark.parametrize("name", ["bmm", "class", "padded"])
def test_a_state_of_an_earlier_version_goes_on(name: str) -> None:
    """All that it holds is taken over bit for bit, and all events before it are emitted first."""
    recipes, data = case(name)
    state = load_file(STATES / f"{name}.safetensors")
    training = train_pack(recipes, data, resume=state)
    assert training.step == header(state)["step"] == 14
    saved = training.state()
    assert saved.keys() == state.keys()
    assert all(np.array_equal(saved[n], a, equal_nan=True) for n, a in state.items() if n not in ("about", "events"))
    assert json.loads(saved["events"].tobytes()) == json.loads(state["events"].tobytes())
    before, after = header(state), header(saved)
    assert {n: v for n, v in before.items() if n not in ("last", "entries")} == {
        n: v for n, v in after.items() if n != "entries"
    }
    events = list(training)
    assert len(ends(events)) == 3
    for i, end in ends(events).items():
        curve = {e.step: e.metrics["test_loss"] for e in events if isinstance(e, Evaluated) and e.index == i}
        finite = {step: loss for step, loss in curve.items() if np.isfinite(loss)}
        best = min(finite, key=lambda step: finite[step])
        assert (end.best["test_loss"].step, end.best["test_loss"].value) == (best, finite[best])
        assert (end.metrics["best_step"], end.metrics["best_test_loss"]) == (best, finite[best])


def test_models_that_had_ended_before_have_their_best_values() -> None:
    """The earlier version did not save them; they follow from the evaluations."""
    recipes, data = case("bmm")
    training = train_pack(recipes, data, resume=load_file(STATES / "bmm.safetensors"))
    (ended,) = [e for e in (next(training) for _ in range(9)) if isinstance(e, Ended)]
    assert ended.status == "diverged" and ended.best["test_loss"].value == ended.metrics["best_test_loss"]


@pytest.mark.parametrize("backend", ["bmm", "vmap", "loop"])
def test_best_values_are_the_same_whether_or_not_training_was_cut_off(backend: str) -> None:
    recipes, data = small(), digits()
    whole = ends(list(train_pack(recipes, data, backend=backend)))
    training = train_pack(recipes, data, backend=backend)
    while training.step < 14:
        next(training)
    resumed = list(train_pack(recipes, data, resume=training.state()))
    assert {i: e.best for i, e in ends(resumed).items()} == {i: e.best for i, e in whole.items()}
    assert told(resumed) == told(list(train_pack(recipes, data, backend=backend)))
    assert all(set(e.best) <= {"test_loss", "test_accuracy", "batch_loss"} and e.best for e in whole.values())


def test_a_state_of_a_back_end_that_there_is_not_is_refused() -> None:
    recipes, data = case("bmm")
    state = load_file(STATES / "bmm.safetensors")
    about = {**header(state), "backend": "fast"}
    state["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8).copy()
    with pytest.raises(SpecError, match="no back-end 'fast'"):
        train_pack(recipes, data, resume=state)
