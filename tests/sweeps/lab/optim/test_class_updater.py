"""Optimizers that are classes: what they draw and what they keep belongs to their model alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.optim import NamedClass
from landsweep.sweeps.lab.training.class_updater import ClassUpdater
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import Gradients
from tests.sweeps.lab.optim.problem import Bag, losses, recipes, slope


class Own(torch.optim.Optimizer):
    """Gradient descent; subclasses change its steps."""

    def __init__(self, params: Any, lr: float = 0.1, **more: Any) -> None:
        super().__init__(params, {"lr": lr, **more})

    def factor(self, group: dict[str, Any], p: Tensor) -> Any:
        return 1.0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad * self.factor(group, p), alpha=-group["lr"])


class Drawing(Own):
    """Noise from torch's global random state."""

    def factor(self, group: dict[str, Any], p: Tensor) -> Any:
        return torch.rand_like(p)


class Counting(Own):
    """Steps are counted in an attribute."""

    steps = 0

    def factor(self, group: dict[str, Any], p: Tensor) -> Any:
        self.steps += 1
        return self.steps**-0.5


class InGroups(Own):
    """A tensor and a list in the groups, as methods that find their own rate have."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr, d=torch.ones(()), rates=[1.0], betas=(0.9, 0.99))

    def factor(self, group: dict[str, Any], p: Tensor) -> Any:
        group["d"] = group["d"] * 0.9
        group["rates"].append(group["rates"][-1] * 0.95)
        return float(group["d"]) * group["rates"][-1]


class InLists(Own):
    """The norms of all gradients, in a list."""

    def factor(self, group: dict[str, Any], p: Tensor) -> Any:
        norms = self.state[p].setdefault("norms", [])
        norms.append(float(p.grad.norm()))
        return 1 / (1 + max(norms[-3:]))


class Sets(Own):
    """A set in its state."""

    def factor(self, group: dict[str, Any], p: Tensor) -> Any:
        self.state[p].setdefault("seen", set()).add(1)
        return 1.0


class Sized(Own):
    """Takes no parameters but of the sizes of the model."""

    def factor(self, group: dict[str, Any], p: Tensor) -> Any:
        if p.numel() not in (12, 3):
            raise ValueError("too small")
        return 1.0


class Sometimes(Own):
    """Counts in an attribute, where its argument says so."""

    steps = 0

    def __init__(self, params: Any, lr: float = 0.1, counts: bool = False) -> None:
        super().__init__(params, lr, counts=counts)

    def factor(self, group: dict[str, Any], p: Tensor) -> Any:
        self.steps += group["counts"]
        return (1 + self.steps) ** -0.5


def begun(name: str, rows: Sequence[int]) -> tuple[Stack, ClassUpdater, Rates]:
    settings = {"method": "class", "name": f"{__name__}:{name}", "learning_rate": 0.05}
    stack = Stack([Bag(k, torch.float64, [(4, 3), (3,)]) for k in rows], "cpu")
    method = NamedClass.model_validate(settings)
    return stack, ClassUpdater([method] * len(rows), stack, rows), Rates(recipes([settings] * len(rows)), 20)


def make_steps(begun: tuple[Stack, ClassUpdater, Rates], steps: range) -> None:
    stack, updater, rates = begun
    for step in steps:
        updater.step(stack, Gradients(slope(stack.weights), losses(stack.weights), lambda: stack.weights), rates, step)


@pytest.mark.parametrize("name", ["Drawing", "InGroups", "InLists"])
def test_a_model_trains_alike_in_company_when_others_leave_and_after_it_was_stored(name: str) -> None:
    alone = begun(name, [2])
    make_steps(alone, range(20))
    torch.rand(7)
    together = begun(name, [0, 1, 2])
    make_steps(together, range(10))
    kept = {n: t.clone() for n, t in together[1].state().items()}
    weights = together[0].weights.clone()
    again = begun(name, [0, 1, 2])
    again[0].weights.copy_(weights)
    again[1].load(kept)
    make_steps(again, range(10, 20))
    assert torch.equal(again[0].weights[2], alone[0].weights[0])
    stack, updater, rates = together
    keep = torch.tensor([0, 2])
    stack.take(keep)
    updater.take(keep, stack)
    rates.take([0, 2])
    make_steps(together, range(10, 20))
    assert torch.equal(stack.weights, again[0].weights[keep])
    assert not torch.equal(stack.weights[0], stack.weights[1])


def test_what_an_optimizer_draws_leaves_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    make_steps(begun("Drawing", [0, 1]), range(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_optimizer_that_takes_no_small_parameters_is_tried_with_its_own() -> None:
    sized, plain = begun("Sized", [0]), begun("Own", [0])
    for updated in (sized, plain):
        make_steps(updated, range(2))
    assert torch.equal(sized[0].weights, plain[0].weights)


def test_each_choice_of_arguments_is_tried() -> None:
    made = [
        NamedClass.model_validate(
            {"method": "class", "name": f"{__name__}:Sometimes", "learning_rate": 0.1, "args": {"counts": counts}}
        )
        for counts in (False, True)
    ]
    stack = Stack([Bag(k, torch.float64, [(4, 3), (3,)]) for k in range(2)], "cpu")
    ClassUpdater(made[:1] * 2, stack, [0, 1])
    with pytest.raises(SpecError, match="Sometimes goes on otherwise"):
        ClassUpdater(made, stack, [0, 1])


@pytest.mark.parametrize(
    ("name", "said"),
    [("Counting", "Counting goes on otherwise once it was stored"), ("Sets", "keeps seen, a set, in its state")],
)
def test_what_can_not_be_stored_is_refused_at_the_start(name: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        begun(name, [0])
