"""MetaInit: the gradient quotient in closed form, and that norms move to where it is small."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import TypeAdapter, ValidationError
from torch import nn

from landsweep.sweeps.lab.models import NetSpec
from landsweep.sweeps.lab.models.meta_init import MetaInit, gradient_quotient, tune_norms
from tests.sweeps.lab.training.cases import recipe


@pytest.mark.parametrize("seed", range(20))
def test_of_a_diagonal_quadratic_it_is_the_mean_size_of_the_diagonal(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    curvature = torch.randn(12, generator=source, dtype=torch.float64) * 3
    w = (torch.randn(12, generator=source, dtype=torch.float64).sign() * 50).requires_grad_()
    parts = w[:5], w[5:]
    loss = sum((c * p * p).sum() / 2 for c, p in zip((curvature[:5], curvature[5:]), parts, strict=True))
    found = gradient_quotient(torch.as_tensor(loss), [w])
    assert float(found.detach()) == pytest.approx(float(curvature.abs().mean()), rel=1e-4)


def test_of_any_loss_it_is_the_change_of_the_gradient_in_a_step() -> None:
    """By differences: (g - H g) is the gradient after a small step of rate r, extrapolated to rate 1."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(8, 3, dtype=torch.float64), torch.randint(2, (8,))
    parameters = list(net.parameters())
    found = gradient_quotient(F.cross_entropy(net(x), y), parameters)
    before = [g.clone() for g in torch.autograd.grad(F.cross_entropy(net(x), y), parameters)]
    rate = 1e-6
    with torch.no_grad():
        for p, g in zip(parameters, before, strict=True):
            p.sub_(rate * g)
    after = torch.autograd.grad(F.cross_entropy(net(x), y), parameters)
    total = 0.0
    for a, b in zip(after, before, strict=True):  # a - b is -rate H b
        total += float(((b + (a - b) / rate) / (b + 1e-5 * torch.where(b >= 0, 1.0, -1.0)) - 1).abs().sum())
    assert float(found.detach()) == pytest.approx(total / sum(p.numel() for p in parameters), rel=1e-3)


NET: dict[str, Any] = {"net": "mlp", "hidden": [12, 12], "init": {"scale": 3.0}}


def test_norms_move_alone_and_lower_it() -> None:
    poor, better = (
        TypeAdapter(NetSpec).validate_python({**NET, "init": {**NET["init"], **more}}).build((6,), 4, 0)
        for more in ({}, {"meta": {"steps": 60}})
    )
    source = torch.Generator().manual_seed(9)
    x, y = torch.randn(256, 6, generator=source), torch.randint(4, (256,), generator=source)
    quotients = [
        float(gradient_quotient(F.cross_entropy(net(x), y), list(net.parameters())).detach()) for net in (poor, better)
    ]
    assert quotients[1] < 0.5 * quotients[0]
    for (name, a), b in zip(poor.named_parameters(), better.parameters(), strict=True):
        if name.endswith("weight"):
            along = F.cosine_similarity(a.detach().flatten(), b.detach().flatten(), dim=0)
            assert abs(float(along)) == pytest.approx(1, abs=1e-5) and not torch.equal(a, b)
        else:
            assert torch.equal(a, b)


def test_a_step_of_no_length_changes_nothing_and_a_seed_decides() -> None:
    built = [TypeAdapter(NetSpec).validate_python({**NET, "init": {"scale": 3.0, "meta": {"steps": 3}}}) for _ in "ab"]
    a, b = (net.build((6,), 4, 5).state_dict() for net in built)
    assert all(torch.equal(t, b[n]) for n, t in a.items())
    module = nn.Sequential(nn.Linear(3, 2)).train()
    before = module[0].weight.detach().clone()
    tune_norms(module, (3,), MetaInit(steps=0), torch.Generator())
    assert torch.equal(before, module[0].weight) and module.training


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"net": {"net": "gpt", "init": {"meta": {}}}}, "inputs are drawn as normal numbers, and gpt takes tokens"),
        (
            {"net": NET | {"init": {"meta": {}}}, "parametrization": {"scheme": "mup", "base_width": 12}},
            "leave init.meta",
        ),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        recipe(**fields)
