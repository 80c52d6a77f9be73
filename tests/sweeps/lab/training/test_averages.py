"""Averaged weights against torch's own, DoG's, and a mean by hand; and what is evaluated and kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dog import PolynomialDecayAverager
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.training import Checkpoint
from tests.sweeps.lab.training.cases import digits, distance, ends, finals, recipe, run, seen

EACH: list[dict[str, Any]] = [
    {"average": "exponential", "decay": 0.9},
    {"average": "latest", "last": 4, "every": 3},
    {"average": "polynomial", "gamma": 3.0},
]
STEPS = 20


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def expected(averaging: dict[str, Any], data: Data) -> dict[str, torch.Tensor]:
    """The average of the checkpoints after each step of a run without one, by other means."""
    plain = recipe(1, steps=STEPS, checkpoints={"every_steps": 1})
    states = [dict(e.state) for e in run([plain], data, "bmm") if isinstance(e, Checkpoint)]
    assert len(states) == STEPS
    module = plain.build(data.shape, data.outputs)
    if averaging["average"] == "latest":
        marked = states[averaging["every"] - 1 :: averaging["every"]][-averaging["last"] :]
        return {name: torch.stack([s[name] for s in marked]).double().mean(0) for name in states[0]}
    module.load_state_dict(states[0])
    if averaging["average"] == "polynomial":
        averager = PolynomialDecayAverager(module, gamma=averaging["gamma"])
        for state in states:
            module.load_state_dict(state)
            averager.step()
        made: dict[str, torch.Tensor] = averager.averaged_model.state_dict()
        return made
    model = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(averaging["decay"]))
    for state in states:
        module.load_state_dict(state)
        model.update_parameters(module)
    inner = model.module
    assert isinstance(inner, nn.Module)
    return inner.state_dict()


@pytest.mark.parametrize("averaging", EACH, ids=lambda a: a["average"])
def test_averages(averaging: dict[str, Any], data: Data) -> None:
    pair = [recipe(i, steps=STEPS, averaging=averaging) for i in range(3)]
    events = run(pair, data, "bmm")
    wanted = expected(averaging, data)
    assert distance(finals(events)[1], wanted) < 1e-6
    module = pair[1].build(data.shape, data.outputs)
    module.load_state_dict(wanted)
    split = data.splits["test"]
    with torch.no_grad():
        loss = nn.functional.cross_entropy(module(split.inputs), split.targets)
    assert seen(events, 1)[-1][1]["test_loss"] == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("averaging", EACH, ids=lambda a: a["average"])
def test_training_does_not_see_them(averaging: dict[str, Any], data: Data) -> None:
    fields = {"steps": STEPS, "evaluate": {"every_steps": 6, "splits": ["test"]}}
    plain = run([recipe(1, **fields)], data, "bmm")
    aside = run([recipe(1, averaging={**averaging, "checkpoints": False}, **fields)], data, "bmm")
    assert distance(finals(plain)[0], finals(aside)[0]) == 0
    assert seen(plain, 0) != seen(aside, 0)
    kept = run([recipe(1, averaging={**averaging, "evaluate": False}, **fields)], data, "bmm")
    assert seen(plain, 0) == seen(kept, 0)
    assert distance(finals(plain)[0], finals(kept)[0]) > 1e-4


def test_a_neighbour_that_leaves_takes_no_average_with_it(data: Data) -> None:
    bomb = {"lr": 0.1, "schedule": {"shape": "step", "at": [0.3], "factor": 1e30}}
    for averaging in EACH:
        pack = [recipe(0, averaging=averaging, **bomb), *(recipe(i, averaging=averaging) for i in (1, 2))]
        events = run(pack, data, "bmm")
        assert ends(events)[0].status == "diverged"
        assert distance(finals(events)[2], finals(run(pack[2:], data, "bmm"))[0]) == 0
