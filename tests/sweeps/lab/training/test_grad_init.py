"""GradInit: the factors of torch's Adam on leaves of their own, and what they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import functional_call

from landsweep.sweeps.lab.grad_init import GradInit, learn_factors
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.training.assembly import module_of
from tests.sweeps.lab.training.cases import blobs, finals, recipe, run

LOSS = TrainingLoss("cross_entropy")
NET = {"net": "mlp", "hidden": [10, 10], "init": {"scale": 3.0, "bias_std": 0.1}}


def network(**more: Any) -> nn.Module:
    return recipe(0, net={**NET, **more}).build((1, 8, 8), 3).double()


def batch(step: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(step)
    y = torch.randint(3, (16,), generator=source)
    return torch.randn(16, 1, 8, 8, generator=source, dtype=torch.float64) + y[:, None, None, None], y


def lost(module: nn.Module, state: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(functional_call(module, state, (x,)), y)


@pytest.mark.parametrize("step", ["sgd", "sign"])
def test_the_factors_are_those_of_torch_s_adam_on_leaves(step: str) -> None:
    """Two Adams share the factors, one for the bound and one for the loss."""
    spec = GradInit(
        steps=30, step=step, size=0.05, bound=60.0 if step == "sgd" else 950.0, learning_rate=0.03, least=0.9
    )
    ours, module = network(), network()
    learn_factors(ours, batch, LOSS, spec)
    drawn = {n: p.detach().clone() for n, p in module.named_parameters()}
    factors = {n: torch.ones((), dtype=torch.float64, requires_grad=True) for n in drawn}
    adams = [torch.optim.Adam(factors.values(), 0.03) for _ in range(2)]
    kinds = set()
    for i in range(30):
        weights = {n: w * factors[n] for n, w in drawn.items()}
        x, y = batch(2 * i)
        grads = torch.autograd.grad(lost(module, weights, x, y), list(weights.values()), create_graph=True)
        flat = torch.cat([g.flatten() for g in grads])
        norm = flat.abs().sum() if step == "sign" else flat.norm()
        bounded = float(norm.detach()) > spec.bound
        kinds.add(bounded)
        goal = norm
        if not bounded:
            along = [(g.sign() if step == "sign" else g).detach() for g in grads]
            moved = {n: w - 0.05 * d for (n, w), d in zip(weights.items(), along, strict=True)}
            x2, y2 = batch(2 * i + 1)
            goal = lost(module, moved, torch.cat([x[:8], x2[8:]]), torch.cat([y[:8], y2[8:]])) / 0.05
        for factor, slope in zip(factors.values(), torch.autograd.grad(goal, list(factors.values())), strict=True):
            factor.grad = slope.clamp(-1, 1)
        adams[bounded].step()
        with torch.no_grad():
            for name, factor in factors.items():
                factor.clamp_(min=0.9 if drawn[name].ndim > 1 else 0.0)
    assert kinds == {True, False}
    for name, p in ours.named_parameters():
        torch.testing.assert_close(p.detach(), drawn[name] * factors[name].detach(), rtol=0, atol=1e-10)
    assert any(float(f.detach()) == 0.9 for f in factors.values()), "the lower end binds somewhere"


def test_a_first_step_lowers_the_loss_more_and_gradients_keep_to_the_bound() -> None:
    after, norms = [], []
    for steps in (0, 150):
        module = network()
        learn_factors(module, batch, LOSS, GradInit(steps=steps, learning_rate=0.03))
        weights = {n: p.detach().requires_grad_() for n, p in module.named_parameters()}
        grads = torch.autograd.grad(lost(module, weights, *batch(1000)), list(weights.values()))
        norms.append(float(torch.cat([g.flatten() for g in grads]).norm()))
        moved = {n: w.detach() - 0.1 * g for (n, w), g in zip(weights.items(), grads, strict=True)}
        after.append(float(lost(module, moved, *batch(1001))))
    assert norms[0] > 3 and norms[1] < 1.5, norms
    assert after[1] < 0.5 * after[0], after


def test_no_steps_change_nothing_and_buffers_stay() -> None:
    module = network(norm="batch").train()
    before = {n: t.clone() for n, t in module.state_dict().items()}
    learn_factors(module, batch, LOSS, GradInit(steps=0))
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())
    learn_factors(module, batch, LOSS, GradInit(steps=3))
    assert all(torch.equal(b, before[n]) for n, b in module.named_buffers()) and module.training
    assert any(not torch.equal(p, before[n]) for n, p in module.named_parameters())


def test_trainings_begin_there_each_model_of_a_pack_with_its_own() -> None:
    """Models that differ in label noise alone see other targets, so their factors differ."""
    fields: dict[str, Any] = {"net": {"net": "mlp", "hidden": [10]}, "steps": 1, "batch_size": 16}
    fields["grad_init"] = {"steps": 5, "learning_rate": 0.1, "bound": 100.0}
    pack = [recipe(0, lr=1e-12, label_noise=noise, **fields) for noise in (0.0, 0.5, 0.0)]
    found = finals(run(pack, blobs(), "bmm"))
    for k, r in enumerate(pack):
        for name, tensor in module_of(r, blobs(), Path()).state_dict().items():
            torch.testing.assert_close(found[k][name], tensor, rtol=0, atol=1e-9)
    assert not torch.equal(found[0]["out.weight"], found[1]["out.weight"])
    assert torch.equal(found[0]["out.weight"], found[2]["out.weight"])


def test_a_parametrization_beside_it_is_refused() -> None:
    with pytest.raises(ValidationError, match="leave grad_init out"):
        recipe(net=NET, grad_init={}, parametrization={"scheme": "mup", "base_width": 10})
