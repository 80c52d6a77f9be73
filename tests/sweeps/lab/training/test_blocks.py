"""Steps that are judged together give, bit for bit, what steps that are judged one by one give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import BranchPoint, Checkpoint, Ended, Evaluated, blocks, train_pack, training
from tests.support.pretend import PretendGpu, numbers_of
from tests.sweeps.lab.training.cases import OPTIMIZERS, label
from tests.sweeps.lab.training.device_cases import CASES, few, fields

FALLS = {3: 0.25, 5: 0.45, 6: 0.45, 7: 0.9}  # share of the steps after which a model's rate is raised
STEPS = 70


def recipes(**more: Any) -> list[Recipe]:
    """Eight models, some of which diverge: within a block, two at once, near the end."""
    recipe = fields(**{**more, "steps": STEPS, "evaluate": {"every_steps": 50, "first": 12}})
    shapes = [{"shape": "step", "at": [FALLS[i]], "factor": 1e38} if i in FALLS else {} for i in range(8)]
    models = [{**recipe, "schedule": {"shape": "constant", **shape}, "seed": i} for i, shape in enumerate(shapes)]
    return [Recipe.model_validate(model) for model in models]


def linear() -> nn.Module:
    """A network of the user's, for digits; such a one may keep what no stepper knows."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def trained(backend: str, models: list[Recipe], device: str = "cpu") -> tuple[dict[int, int], str]:
    """After which step each model ended, and all that was emitted, as text: nan equals nan."""
    data, given, ends = few(models[0]).to(device), list[Any](), dict[int, int]()
    for event in train_pack(models, data, device=device, backend=backend, branch_steps=(2, 40)):
        match event:
            case Ended():
                ends[event.index] = event.step
                given.append((event.status, event.index, event.step, event.error, dict(event.metrics)))
            case Evaluated():
                given.append((event.index, event.step, dict(event.metrics)))
            case Checkpoint() | BranchPoint():
                given.append((event.index, event.step, {n: numbers_of(t).tolist() for n, t in event.state.items()}))
    return ends, repr(given)


@pytest.fixture
def redone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps at which blocks began that were taken back; blocks are made on every device."""
    begun: list[int] = []
    make = blocks.Blocks.make

    def counted(self: blocks.Blocks, goal: int, *rows: Any) -> list[torch.Tensor]:
        before = self._alone_until
        losses = make(self, goal, *rows)
        if self._alone_until != before:
            begun.append(self._stepper.step)
        return losses

    monkeypatch.setattr(blocks.Blocks, "make", counted)
    return begun


def turns(optimizer: dict[str, Any]) -> list[pytest.MarkDecorator]:
    """Those that solve for each model take a while."""
    return [pytest.mark.rotating] if optimizer["method"] == "egn" else []


@pytest.mark.parametrize(
    ("backend", "more"),
    [
        *(pytest.param("bmm", {"optimizer": o}, id=label(o), marks=turns(o)) for o in OPTIMIZERS),
        pytest.param("bmm", {"averaging": {"average": "exponential"}, "clip": 0.5}, id="averages"),
        pytest.param("bmm", CASES["bmm-dropout"][1], id="dropout"),
        pytest.param("bmm", {"trajectory": {"start": 1, "ago": 2}}, id="trajectory"),
        pytest.param("vmap", CASES["vmap-batch-norm"][1], id="batch-norm"),
        pytest.param("loop", CASES["vmap-batch-norm"][1], id="batch-norm-loop"),
    ],
)
def test_a_block_changes_nothing(
    backend: str, more: dict[str, Any], redone: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = recipes(**more)
    one_by_one = trained(backend, models)
    assert not redone
    monkeypatch.setattr(training, "may_be_judged_together", lambda *facts: True)
    together = trained(backend, models)
    assert together == one_by_one
    assert redone or set(together[0].values()) == {STEPS}  # some methods bound their steps


def test_blocks_are_for_gpus(redone: list[int]) -> None:
    models = recipes()
    ends, expected = trained("bmm", models)
    assert not redone
    with PretendGpu():
        assert trained("bmm", models, "cuda:0") == (ends, expected)
    assert redone and set(ends.values()) == {19, 33, 64, STEPS}


@pytest.mark.parametrize(
    ("more", "allowed"),
    [
        ({}, True),
        ({"precision": "bf16"}, True),
        ({"precision": "fp16"}, False),
        ({"on_spike": "stop"}, False),
        ({"net": {"net": "own", "function": "tests.sweeps.lab.training.test_blocks:linear"}}, False),
        ({"optimizer": {"method": "class", "name": "torch.optim:AdamW", "learning_rate": 0.01}}, False),
    ],
)
def test_what_must_be_judged_in_each_step_is(more: dict[str, Any], allowed: bool) -> None:
    recipe = Recipe.model_validate(fields(**more))
    samples = training.assemble([recipe], few(recipe), training.backend_named("loop"), "cpu", training.Path()).samples
    assert blocks.may_be_judged_together(recipe, samples, 1000, "cuda:0") is allowed
    assert not blocks.may_be_judged_together(recipe, samples, 1000, "cpu")
    assert not blocks.may_be_judged_together(recipe, samples, 2**25 + 1, "cuda:0")
