"""Preconditioned sharpness against the dense Hessian and torch's optimizers, and at the adaptive edge of stability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import ValidationError
from torch import Tensor
from torch.autograd.functional import hessian
from torch.func import functional_call

from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Evaluated, train_pack

WHOLE: dict[str, Any] = {
    "data": {"source": "teacher_student", "features": 4, "hidden": [3], "train": 64, "test": 16},
    "net": {"net": "mlp", "hidden": [3], "activation": "tanh"},
    "steps": 15,
    "batch_size": 64,
    "dtype": "float64",
}
OPTIMIZERS: dict[str, tuple[dict[str, Any], Any]] = {
    "adam": ({"method": "adam", "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.02}, torch.optim.Adam),
    "adamw": ({"method": "adamw", "beta1": 0.9, "beta2": 0.99, "eps": 1e-3}, torch.optim.AdamW),
    "adamw_independent": ({"method": "adamw_independent", "weight_decay": 0}, torch.optim.AdamW),
    "rmsprop": ({"method": "rmsprop", "alpha": 0.9, "momentum": 0.5}, torch.optim.RMSprop),
}


def made(base: dict[str, Any], **fields: Any) -> Recipe:
    return Recipe.model_validate({**base, **fields})


def data_of(recipe: Recipe) -> Data:
    return recipe.data.load(Path())


def measured(recipes: list[Recipe], backend: str = "vmap") -> list[dict[int, dict[str, float]]]:
    """For each model: step to metrics."""
    found: list[dict[int, dict[str, float]]] = [{} for _ in recipes]
    for event in train_pack(recipes, data_of(recipes[0]), backend=backend):
        if isinstance(event, Evaluated):
            found[event.index][event.step] = dict(event.metrics)
    return found


def by_torch(recipe: Recipe, optimizer: Any, steps: int) -> float:
    """Largest eigenvalue of P^-1 H, whole, after so many steps of torch's optimizer on all samples."""
    data = data_of(recipe)
    module = recipe.net.build(data.shape, data.outputs, recipe.seed).double()
    x, y = (t.double() for t in (data.splits["train"].inputs, data.splits["train"].targets))
    own = recipe.optimizer.model_dump()
    settings = {k: own[k] for k in ("weight_decay", "eps", "alpha", "momentum") if k in own}
    if "beta1" in own:
        settings["betas"] = (own["beta1"], own["beta2"])
    made = optimizer(module.parameters(), lr=own["learning_rate"], **settings)
    for _ in range(steps):
        made.zero_grad()
        F.mse_loss(module(x), y).backward()  # type: ignore[no-untyped-call]
        made.step()
    parameters = dict(module.named_parameters())
    divisor = []
    for p in parameters.values():
        state = made.state[p]
        if "beta1" in own:
            root = (state["exp_avg_sq"] / (1 - own["beta2"] ** steps)).sqrt() + own["eps"]
            divisor.append((1 - own["beta1"] ** steps) * root.flatten())
        else:
            divisor.append(state["square_avg"].sqrt().flatten() + own["eps"])

    def loss(w: Tensor) -> Tensor:
        parts = torch.split(w, [p.numel() for p in parameters.values()])
        shaped = {n: part.view(p.shape) for (n, p), part in zip(parameters.items(), parts, strict=True)}
        return F.mse_loss(functional_call(module, shaped, (x,)), y)

    whole = hessian(loss, torch.cat([p.detach().flatten() for p in parameters.values()]))
    return float(torch.linalg.eigvals(whole / torch.cat(divisor)[:, None]).real.max())


@pytest.mark.parametrize("method", OPTIMIZERS)
@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_it_is_the_largest_eigenvalue_with_the_state_of_torchs_optimizer(method: str, backend: str) -> None:
    fields, optimizer = OPTIMIZERS[method]
    probe = {"probe": "preconditioned_sharpness", "products": 40, "tolerance": 1e-10}
    evaluate = {"every_steps": 5, "start": True, "probes": [probe]}
    rates = (0.003, 0.02)
    recipes = [
        made(WHOLE, seed=s, optimizer={**fields, "learning_rate": rate}, evaluate=evaluate)
        for s, rate in enumerate(rates)
    ]
    for recipe, metrics in zip(recipes, measured(recipes, backend), strict=True):
        assert "preconditioned_sharpness" not in metrics[0]  # no step, no preconditioner
        for step in (5, 15):
            wanted = by_torch(recipe, optimizer, step)
            assert metrics[step]["preconditioned_sharpness"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("method", ["sgd", "lion", "soap"])
def test_other_optimizers_are_refused(method: str) -> None:
    probes = [{"probe": "preconditioned_sharpness"}]
    with pytest.raises(ValidationError, match=f"not for {method}; take adam, adamw, adamw_independent, rmsprop"):
        made(WHOLE, optimizer={"method": method, "learning_rate": 0.01}, evaluate={"probes": probes})


def test_a_parametrization_scales_the_eps_of_each_layer() -> None:
    """With an eps that is far above all gradients, P is eps times the factor of each tensor, and weights stay."""
    probe = {"probe": "preconditioned_sharpness", "products": 60, "tolerance": 1e-12}
    recipe = made(
        WHOLE,
        net={"net": "mlp", "hidden": [6, 6], "activation": "tanh"},
        optimizer={"method": "adam", "learning_rate": 1e-6, "eps": 1e6},
        parametrization={"scheme": "mup", "base_width": 2},
        evaluate={"every_steps": 5, "probes": [probe]},
    )
    (metrics,) = measured([recipe])
    data = data_of(recipe)
    factors = recipe.factors(data.shape, data.outputs)
    module = recipe.build(data.shape, data.outputs).double()
    assert factors is not None and len({f.get("eps", 1.0) for f in factors.values()}) > 1
    names, sizes = [n for n, _ in module.named_parameters()], [p.numel() for p in module.parameters()]
    x, y = (t.double() for t in (data.splits["train"].inputs, data.splits["train"].targets))

    def loss(w: Tensor) -> Tensor:
        parts = zip(module.named_parameters(), torch.split(w, sizes), strict=True)
        return F.mse_loss(functional_call(module, {n: part.view(p.shape) for (n, p), part in parts}, (x,)), y)

    whole = hessian(loss, torch.cat([p.detach().flatten() for p in module.parameters()]))
    scale = torch.cat([torch.full((n,), factors[k].get("eps", 1.0)) for k, n in zip(names, sizes, strict=True)])
    wanted = torch.linalg.eigvals(whole / (1e6 * (1 - 0.9**5) * scale)[:, None]).real.max()
    assert metrics[5]["preconditioned_sharpness"] == pytest.approx(float(wanted), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "edge"),
    [
        ({"method": "adam", "beta2": 0.99, "learning_rate": 0.01}, 38),
        ({"method": "rmsprop", "learning_rate": 0.003}, 2),
    ],
    ids=["adam", "rmsprop"],
)
def test_full_batch_training_is_at_the_adaptive_edge_of_stability(optimizer: dict[str, Any], edge: float) -> None:
    """arXiv 2207.14484 and 2410.24206: the value rises to edge / learning rate and stays there."""
    probe = {"probe": "preconditioned_sharpness", "products": 40}
    net = {"net": "mlp", "hidden": [16, 16], "activation": "tanh"}
    recipe = made(WHOLE, net=net, optimizer=optimizer, steps=1200, evaluate={"every_steps": 50, "probes": [probe]})
    (metrics,) = measured([recipe])
    values = [m["preconditioned_sharpness"] * optimizer["learning_rate"] / edge for m in metrics.values()]
    late = values[-len(values) // 4 :]
    assert 0.85 < sum(late) / len(late) < 1.15
