"""Each stacked optimizer against the reference implementation, step for step, with its own coefficients per model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter
from pytorch_optimizer import Lion as PeerLion
from torch import Tensor, nn

from orchestrator.errors import SpecError
from sweeps.lab.optim import Method, NamedClass, OptimizerSpec
from sweeps.lab.packs.stack import Stack
from sweeps.lab.packs.updater import ClassUpdater, Rates, StackedUpdater, Updater, clip
from sweeps.lab.recipe import Recipe

STEPS = 20
Peer = Callable[[list[nn.Parameter], dict[str, Any]], torch.optim.Optimizer]


def betas(s: dict[str, Any]) -> tuple[float, float]:
    return (s["beta1"], s["beta2"])


PEERS: dict[str, Peer] = {
    "sgd": lambda p, s: torch.optim.SGD(
        p, s["learning_rate"], momentum=s["momentum"], weight_decay=s["weight_decay"], nesterov=s["nesterov"]
    ),
    "adam": lambda p, s: torch.optim.Adam(p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"]),
    "adamw": lambda p, s: torch.optim.AdamW(p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"]),
    "rmsprop": lambda p, s: torch.optim.RMSprop(
        p, s["learning_rate"], s["alpha"], s["eps"], s["weight_decay"], s["momentum"]
    ),
    "lion": lambda p, s: PeerLion(p, s["learning_rate"], betas(s), weight_decay=s["weight_decay"]),
    "nadamw": lambda p, s: torch.optim.NAdam(
        p, s["learning_rate"], betas(s), s["eps"], s["weight_decay"], s["momentum_decay"], decoupled_weight_decay=True
    ),
}

CASES: list[list[dict[str, Any]]] = [
    [
        {"method": "sgd", "learning_rate": 0.1},
        {"method": "sgd", "learning_rate": 0.03, "momentum": 0.9, "weight_decay": 0.01},
    ],
    [
        {"method": "sgd", "learning_rate": 0.05, "momentum": 0.5, "nesterov": True},
        {"method": "sgd", "learning_rate": 0.01, "momentum": 0.95, "nesterov": True, "weight_decay": 0.1},
    ],
    *(
        [
            {"method": method, "learning_rate": 1e-2},
            {"method": method, "learning_rate": 3e-3, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.95},
            {"method": method, "learning_rate": 1e-3, "weight_decay": 0.01, "beta1": 0.0, "beta2": 0.5},
        ]
        for method in ("adam", "adamw", "lion", "nadamw")
    ),
    [
        {"method": "rmsprop", "learning_rate": 1e-2},
        {"method": "rmsprop", "learning_rate": 1e-3, "momentum": 0.9, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.05},
    ],
]
SHAPES = [(3, 4), (3,), ()]


def methods(settings: list[dict[str, Any]]) -> list[Method]:
    return [TypeAdapter(OptimizerSpec).validate_python(s) for s in settings]


def recipes(settings: list[dict[str, Any]], **more: Any) -> list[Recipe]:
    data = {"data": {"source": "digits"}, "net": {"net": "mlp"}, "steps": STEPS, **more}
    return [Recipe.model_validate({**data, "optimizer": s}) for s in settings]


class Bag(nn.Module):
    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.tensors = nn.ParameterList(nn.Parameter(torch.randn(s, generator=g, dtype=dtype)) for s in SHAPES)


def slope(w: Tensor) -> Tensor:
    """Gradient of a function that is not quadratic, so that errors do not cancel."""
    return torch.sin(3 * w) + 0.3 * w


def never() -> Tensor:
    raise AssertionError("asks for a second gradient")


def distance(settings: list[dict[str, Any]], dtype: torch.dtype, make: Callable[[Stack], Updater]) -> float:
    """Largest difference to the peers after 20 steps with a cosine schedule."""
    bags = [Bag(seed, dtype) for seed in range(len(settings))]
    stack = Stack(bags, "cpu")
    updater = make(stack)
    rates = Rates(recipes(settings, schedule={"shape": "cosine"}), STEPS)
    specs = [m.model_dump() for m in methods(settings)]
    peers = [PEERS[s["method"]](list(b.parameters()), s) for b, s in zip(bags, specs, strict=True)]
    for step in range(STEPS):
        for k, (bag, peer) in enumerate(zip(bags, peers, strict=True)):
            peer.param_groups[0]["lr"] = rates.learning_rates(step)[k]
            for p in bag.parameters():
                p.grad = slope(p.detach())
            peer.step()
        updater.step(stack, slope(stack.weights), rates, step, torch.zeros(len(stack)), never)
    wanted = torch.stack([torch.cat([p.detach().flatten() for p in b.parameters()]) for b in bags])
    assert not torch.equal(wanted, Stack([Bag(s, dtype) for s in range(len(bags))], "cpu").weights)
    return float((stack.weights - wanted).abs().max())


@pytest.mark.parametrize("settings", CASES, ids=lambda s: s[0]["method"] + ("+" if s[0].get("nesterov") else ""))
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_equals_the_reference(settings: list[dict[str, Any]], dtype: torch.dtype, bound: float) -> None:
    torch.set_default_dtype(dtype)  # torch's NAdam keeps the product of its momenta in the default type
    try:
        found = distance(settings, dtype, lambda stack: StackedUpdater(methods(settings), stack))
    finally:
        torch.set_default_dtype(torch.float32)
    assert found <= bound


def test_every_method_has_a_reference() -> None:
    known = {get_args(c.model_fields["method"].annotation)[0] for c in Method.__subclasses__() if c is not NamedClass}
    assert known == set(PEERS) == {s["method"] for case in CASES for s in case}


def test_any_class_by_name_is_that_class() -> None:
    settings: list[dict[str, Any]] = [
        {"method": "class", "name": "torch.optim:SGD", "learning_rate": 0.1, "args": {"momentum": 0.9}},
        {"method": "class", "name": "torch.optim:SGD", "learning_rate": 0.01, "weight_decay": 0.1},
    ]
    same = [{**s, **s.get("args", {}), "method": "sgd"} for s in settings]
    plain = [{k: v for k, v in s.items() if k not in ("name", "args")} for s in same]
    named = [m for m in methods(settings) if isinstance(m, NamedClass)]
    assert distance(plain, torch.float64, lambda stack: ClassUpdater(named, stack)) == 0


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
        updater.step(stack, slope(stack.weights), rates, step, torch.zeros(len(stack)), never)
        if step + 1 < STEPS:
            scheduler.step()
    wanted = torch.cat([p.detach().flatten() for p in bag.parameters()])
    torch.testing.assert_close(stack.weights[0], wanted, rtol=0, atol=1e-12)
