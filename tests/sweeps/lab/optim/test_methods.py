"""Each stacked optimizer against the reference implementation, step for step, with its own coefficients per model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.optim import Method, NamedClass
from landsweep.sweeps.lab.training.class_updater import ClassUpdater
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import Gradients, StackedUpdater, clip
from tests.sweeps.lab.optim import slow
from tests.sweeps.lab.optim.cases import CASES, Settings, shapes_of
from tests.sweeps.lab.optim.peers import PEERS
from tests.sweeps.lab.optim.problem import (
    STEPS,
    Bag,
    all_in,
    losses,
    methods,
    recipes,
    referred,
    slope,
    slope_of_array,
    trained,
)

ROUGH = ("sam", "soap")  # their references compute norms, or the QR factorisation, in float32 whatever the weights are


def label(settings: list[Settings]) -> str:
    marks = ("nesterov", "adaptive", "base", "ends", "layerwise", "estimate", "correct", "reset", "surface")
    first = settings[0]
    return "-".join([first["method"], *(m for m in marks if first.get(m))])


@pytest.mark.parametrize("settings", CASES, ids=label)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_equals_the_reference(settings: list[Settings], dtype: torch.dtype, bound: float) -> None:
    if dtype == torch.float64 and settings[0]["method"] in ROUGH:
        bound = 1e-6
    with all_in(dtype):
        stack, _, _ = trained(settings, dtype)
        wanted = referred(settings, dtype)
    if dtype == torch.float32 and settings[0]["method"] == "soap":  # a QR factorisation rounds by processor
        with all_in(torch.float64):
            rounding = float((wanted - referred(settings, torch.float64)).abs().max())
        assert rounding < 1e-5
        bound = max(bound, 3 * rounding)
    start = Stack([Bag(s, dtype, shapes_of(settings)) for s in range(len(settings))], "cpu").weights
    assert float((wanted - start).abs().min(1).values.max()) > 1e-4  # all weights have moved
    assert float((stack.weights - wanted).abs().max()) <= bound


def kept() -> set[str]:
    """Names of all methods, of subclasses of subclasses too."""
    found, todo = set[str](), [Method]
    while todo:
        todo += (below := todo.pop().__subclasses__())
        found |= {name for c in below for name in get_args(c.model_fields["method"].annotation)}
    return found - {"class"}


def test_every_method_has_a_reference() -> None:
    assert kept() == set(PEERS) == {s["method"] for case in CASES for s in case}


SLOW: list[tuple[Callable[..., Any], list[Settings]]] = [
    (slow.sam, [{"method": "sam", "learning_rate": 0.05}, {"method": "sam", "learning_rate": 0.02, "momentum": 0.9}]),
    (
        slow.sam,
        [
            {"method": "sam", "learning_rate": 0.05, "adaptive": True, "rho": 0.5},
            {"method": "sam", "learning_rate": 0.05, "adaptive": True, "eta": 0.3, "weight_decay": 0.1},
        ],
    ),
    *((slow.muon, case) for case in CASES if case[0]["method"] == "muon"),
    *((slow.soap, case) for case in CASES if case[0]["method"] == "soap"),
]


@pytest.mark.parametrize(("paper", "settings"), SLOW, ids=lambda x: label(x) if isinstance(x, list) else "")
def test_equals_the_paper(paper: Callable[..., Any], settings: list[Settings]) -> None:
    """Where the reference computes in less than float64."""
    stack, rates, _ = trained(settings, torch.float64)
    for k, method in enumerate(methods(settings)):
        w = [p.detach().numpy() for p in Bag(k, torch.float64, shapes_of(settings)).parameters()]
        each = [rates.learning_rates(step)[k] for step in range(STEPS)]
        wanted = slow.flat(paper(w, slope_of_array, each, method.model_dump()))
        np.testing.assert_allclose(stack.weights[k].numpy(), wanted, rtol=0, atol=1e-12)


def test_swats_changes_over_when_the_paper_says() -> None:
    """Models of one pack change to SGD in different steps, one of them in none."""
    each = [{"learning_rate": 0.3, "tolerance": 0.03}, {"learning_rate": 0.1, "tolerance": 1e-3}, {}]
    settings = [{"method": "swats", "learning_rate": 0.1, "beta2": 0.9, "weight_decay": 0.01, **s} for s in each]
    stack, rates, updater = trained(settings, torch.float64)
    found = []
    for k, method in enumerate(methods(settings)):
        w = [p.detach().numpy() for p in Bag(k, torch.float64, shapes_of(settings)).parameters()]
        now = [rates.learning_rates(step)[k] for step in range(STEPS)]
        wanted, changed = slow.swats(w, slope_of_array, now, method.model_dump())
        np.testing.assert_allclose(stack.weights[k].numpy(), slow.flat(wanted), rtol=0, atol=1e-12)
        found.append(changed)
    assert found[0] != found[1] and min(found[:2]) > 0 and max(found) < STEPS and found[2] == 0
    assert ((updater.state()["slot/share"] > 0)[:, 0].tolist()) == [True, True, False]


def test_muon_is_torch_s_but_for_its_bfloat16() -> None:
    """One step of torch.optim.Muon on the served matrices; its iterations have 8 bits of precision."""
    setting: Settings = {"method": "muon", "learning_rate": 0.02, "weight_decay": 0.1}
    bag = Bag(0, torch.float32, shapes_of([setting]))
    stack = Stack([bag], "cpu")
    served = {n: p for n, p in bag.named_parameters() if n in stack.layout.inner() and p.ndim == 2}
    assert len(served) == 2
    peer = torch.optim.Muon(served.values(), lr=0.02, weight_decay=0.1)
    before = {n: p.detach().clone() for n, p in served.items()}
    updater = StackedUpdater(methods([setting]), stack)
    rates = Rates(recipes([setting]), STEPS)
    updater.step(stack, Gradients(slope(stack.weights), losses(stack.weights), never), rates, 0)
    for p in served.values():
        p.grad = slope(p.detach())
    peer.step()
    for name, p in served.items():
        step = p.detach() - before[name]
        ours = stack.layout.split(stack.weights)[name][0] - before[name]
        assert float((ours - step).norm() / step.norm()) < 0.03


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e15])
def test_swan_steps_alike_for_gradients_of_any_size_and_leaves_rows_without_any(size: float) -> None:
    """In float32, where the squares of such gradients are 0 or infinite."""
    setting: Settings = {"method": "swan", "learning_rate": 0.1, "ends": True}
    steps = []
    for factor in (1.0, size):
        stack = Stack([Bag(0, torch.float32, [(4, 6)])], "cpu")
        start = stack.weights.clone()
        grads = slope(start) * factor
        grads[:, :6] = 0
        gradients = Gradients(grads, losses(stack.weights), never)
        StackedUpdater(methods([setting]), stack).step(stack, gradients, Rates(recipes([setting]), STEPS), 0)
        steps.append((stack.weights - start).view(4, 6))
    torch.testing.assert_close(steps[1], steps[0], rtol=1e-4, atol=1e-6)
    assert not steps[1][0].any() and bool(steps[1][1:].abs().amax(1).min() > 0.05)


def never() -> Tensor:
    raise AssertionError("asks for a second gradient")


def test_any_class_by_name_is_that_class() -> None:
    settings: list[Settings] = [
        {"method": "class", "name": "torch.optim:SGD", "learning_rate": 0.1, "args": {"momentum": 0.9}},
        {"method": "class", "name": "torch.optim:SGD", "learning_rate": 0.01, "weight_decay": 0.1},
    ]
    same = [{**s, **s.get("args", {}), "method": "sgd"} for s in settings]
    plain = [{k: v for k, v in s.items() if k not in ("name", "args")} for s in same]
    named = [m for m in methods(settings) if isinstance(m, NamedClass)]
    stack, _, _ = trained(plain, torch.float64, lambda stack: ClassUpdater(named, stack, [0] * len(named)))
    assert torch.equal(stack.weights, referred(plain, torch.float64))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "torch.optim:Nothing"}, "no 'Nothing'"),
        ({"name": "torch.optim:SGD", "args": {"speed": 1}}, "it takes lr, momentum"),
        ({"name": "torch:zeros"}, "not a torch Optimizer"),
    ],
)
def test_a_class_that_does_not_fit_is_refused(settings: dict[str, Any], said: str) -> None:
    method = NamedClass.model_validate({"method": "class", "learning_rate": 0.1, **settings})
    with pytest.raises(SpecError, match=said):
        method.make([torch.zeros(3, requires_grad=True)])


def test_clipping_is_per_model() -> None:
    """torch's clip_grad_norm_ of a stack would scale by the joint norm."""
    grads = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.01], [1], [10], [7]])
    limits = torch.tensor([[1.0], [1.0], [2.5], [float("inf")]])
    wanted = [g.clone() for g in grads]
    for g, limit in zip(wanted[:3], limits[:3, 0].tolist(), strict=True):
        p = nn.Parameter(torch.zeros(50))
        p.grad = g
        nn.utils.clip_grad_norm_([p], limit)
    clip(grads, limits)
    torch.testing.assert_close(grads, torch.stack(wanted), rtol=1e-6, atol=0)
    assert torch.equal(grads[3], wanted[3]) and torch.equal(grads[0], wanted[0])


def test_a_schedule_may_set_the_momentum() -> None:
    """One-cycle with its momentum, against torch's scheduler driving torch's SGD."""
    setting = {"method": "sgd", "learning_rate": 0.1, "momentum": 0.9}
    schedule = {"shape": "one_cycle", "momenta": [0.85, 0.95]}
    rates = Rates(recipes([setting], schedule=schedule), STEPS)
    bag = Bag(0, torch.float64)
    stack = Stack([bag], "cpu")
    updater = StackedUpdater(methods([setting]), stack)
    peer = torch.optim.SGD(bag.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(peer, 0.1, total_steps=STEPS)
    for step in range(STEPS):
        for p in bag.parameters():
            p.grad = slope(p.detach())
        peer.step()
        updater.step(stack, Gradients(slope(stack.weights), losses(stack.weights), never), rates, step)
        if step + 1 < STEPS:
            scheduler.step()
    wanted = torch.cat([p.detach().flatten() for p in bag.parameters()])
    torch.testing.assert_close(stack.weights[0], wanted, rtol=0, atol=1e-12)
