"""Steps that are left out: spikes of the loss, and gradients that overflow in fp16."""

import statistics
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, Checkpoint, Ended, train_pack
from landsweep.sweeps.lab.training.assembly import module_of
from tests.sweeps.lab.training.cases import OPTIMIZERS, label
from tests.sweeps.lab.training.plain_loop import FAST, LOW, Plain, apart, data_of, final, recipe

NEED_EVERY_STEP = ("sam", "soap", "frugal", "gam", "entropy_sgd", "u_dog", "egn")
"""Methods that are refused where a step may be left out, and those of several gradients."""


def spiky(one: Recipe) -> tuple[dict[str, Tensor], int, int | None]:
    """A plain loop with the rule written down once more: weights, steps left out, the first spike."""
    plain, losses, skipped, first = Plain(one, data_of(one)), [], 0, None
    for step in range(one.steps or 0):
        loss = plain.loss(step)
        recent = losses[-one.spike.window :]
        if len(recent) >= one.spike.window / 4 and float(loss.detach()) > one.spike.times * statistics.median(recent):
            skipped, first = skipped + 1, step if first is None else first
            continue
        losses.append(float(loss.detach()))
        plain.sgd.zero_grad()
        loss.backward()
        plain.sgd.step()
    return dict(plain.module.state_dict()), skipped, first


@pytest.mark.parametrize("backend", ["loop", "bmm"])
@pytest.mark.parametrize("seed", range(2))
def test_a_spike_is_skipped(seed: int, backend: str) -> None:
    one = recipe(on_spike="skip", spike=LOW, seed=seed, steps=40, optimizer=FAST)
    weights, end = final(one, backend)
    expected, skipped, _ = spiky(one)
    assert end.metrics["skipped_steps"] == skipped > 0
    assert end.step == 40 and apart(weights, expected) < 1e-5


@pytest.mark.parametrize("method", ["adamw", "muon", "prodigy"])
def test_a_skipped_step_leaves_the_optimizer_as_it_was(method: str) -> None:
    """Beside a model that makes it, and alone: a rule that moved its slots would tell them apart."""
    fields: dict[str, Any] = {"optimizer": {"method": method}, "steps": 30, "on_spike": "skip"}
    recipes = [recipe(**fields, spike={"times": 1.05, "window": 4}, seed=s) for s in range(4)]
    events = list(train_pack(recipes, data_of(recipes[0]), backend="bmm"))
    ends = {e.index: e for e in events if isinstance(e, Ended)}
    states = {e.index: dict(e.state) for e in events if isinstance(e, Checkpoint)}
    for index, one in enumerate(recipes):
        weights, end = final(one, "bmm")
        assert end.metrics["skipped_steps"] == ends[index].metrics["skipped_steps"]
        assert apart(states[index], weights) == 0.0


def test_a_spike_ends_a_model() -> None:
    one = recipe(on_spike="stop", spike=LOW, steps=40, optimizer=FAST)
    _, end = final(one)
    first = spiky(one)[2]
    assert end.status == "diverged" and end.step == first
    assert end.error is not None and f"at step {end.step + 1}" in end.error and "more than 1.02 times" in end.error
    others = [one, one.model_copy(update={"seed": 5})]
    ends = [e for e in train_pack(others, data_of(one), backend="bmm") if isinstance(e, Ended)]
    assert [e.step for e in ends if e.index == 0] == [first]


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if o["method"] not in NEED_EVERY_STEP], ids=label)
def test_steps_left_out_at_the_start_leave_every_rule_sound(optimizer: dict[str, Any]) -> None:
    """Inputs so large that the first losses overflow: whatever a rule makes of its first step, it makes of the first
    that is not left out."""
    digits = data_of(recipe())
    data = Data.of({"train": Split(digits.splits["train"].inputs * 300, digits.splits["train"].targets)}, 10)
    weights, end = final(recipe(precision="fp16", optimizer=optimizer, steps=24), data=data)
    assert 0 < end.metrics["skipped_steps"] < 24
    assert all(w.isfinite().all() for w in weights.values())
    begin = module_of(recipe(), data, Path()).state_dict()
    assert apart(weights, begin) > 0


@pytest.mark.parametrize("more", [{"precision": "fp16"}, {"on_spike": "skip", "spike": LOW, "optimizer": FAST}])
def test_a_training_goes_on_where_it_was(more: dict[str, Any]) -> None:
    recipes = [recipe(**more, steps=24, seed=s, evaluate={"every_steps": 6, "first": 8}) for s in range(3)]
    data, states = data_of(recipes[0]), []
    training = train_pack(recipes, data, backend="vmap")
    whole = []
    for event in training:
        if isinstance(event, Beat):
            states.append(training.state())
        else:
            whole.append(repr(event) if isinstance(event, Checkpoint) else (event.index, dict(event.metrics)))
    resumed = train_pack(recipes, data, backend="vmap", resume=states[2])
    again = [
        repr(e) if isinstance(e, Checkpoint) else (e.index, dict(e.metrics)) for e in resumed if not isinstance(e, Beat)
    ]
    assert len(states) > 3 and again == whole
