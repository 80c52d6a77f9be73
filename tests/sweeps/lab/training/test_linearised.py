"""Gauss-Newton steps of networks: the Jacobian row by row, losses in closed form, whole steps by the full matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.func import functional_call

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.training.linearised import linearise
from landsweep.sweeps.lab.training.stack import Stack
from tests.sweeps.lab.training.cases import blobs, digits, finals, recipe, run

EGN = {"method": "egn", "learning_rate": 0.5, "damping": 0.1}
NETS: list[dict[str, Any]] = [
    {"net": "mlp", "hidden": [5], "norm": "layer"},
    {"net": "cnn", "channels": [3, 4], "norm": "none"},
]


@pytest.mark.parametrize("net", NETS, ids=lambda n: str(n["net"]))
def test_the_jacobian_is_autograd_s_and_the_loss_s_derivatives_are_those_of_softmax(net: dict[str, Any]) -> None:
    data = blobs(6)
    one = recipe(net=net, dtype="float64")
    modules = [recipe(seed, net=net).build(data.shape, 3).double() for seed in range(2)]
    stack = Stack(modules, "cpu")
    x, y = data.splits["train"].inputs.double(), data.splits["train"].targets
    found = linearise(modules[0], stack, 1, one.training_loss(data), x, y, {})
    weights = dict(modules[1].named_parameters())
    outputs = modules[1](x)
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(outputs[i, j], list(weights.values()), retain_graph=True)])
        for i in range(6)
        for j in range(3)
    ]
    torch.testing.assert_close(found.jacobian.flatten(0, 1), torch.stack(rows), rtol=1e-10, atol=1e-12)
    p = outputs.detach().softmax(1)
    torch.testing.assert_close(found.slopes, p - torch.nn.functional.one_hot(y, 3), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.bends, torch.diag_embed(p) - p[:, :, None] * p[:, None], rtol=1e-10, atol=1e-12)


def test_of_sequences_all_positions_are_outputs() -> None:
    module = nn.Linear(2, 3).double()
    x, y = torch.randn(4, 5, 2, dtype=torch.float64), torch.randint(3, (4, 5))
    found = linearise(module, Stack([module], "cpu"), 0, TrainingLoss("cross_entropy"), x, y, {})
    assert found.jacobian.shape == (4, 15, 9) and found.bends.shape == (4, 15, 15)
    p = module(x).detach().softmax(2)
    wanted = (p - torch.nn.functional.one_hot(y, 3)).flatten(1) / 5
    torch.testing.assert_close(found.slopes, wanted, rtol=1e-10, atol=1e-12)


def _by_the_full_matrix(steps: int, settings: dict[str, float]) -> dict[str, Tensor]:
    """One model, its batches being all samples: (J^T Q J / b + damping)^-1 of [P, P]."""
    data = blobs(12)
    module = recipe(3, net=NETS[0]).build(data.shape, 3).double()
    x, y = data.splits["train"].inputs.double(), data.splits["train"].targets
    shapes = {n: p.shape for n, p in module.named_parameters()}
    w = torch.cat([p.detach().flatten() for p in module.parameters()])

    def outputs(row: Tensor) -> Tensor:
        parts = row.split([s.numel() for s in shapes.values()])
        state = {n: part.view(s) for (n, s), part in zip(shapes.items(), parts, strict=True)}
        found: Tensor = functional_call(module, state, (x,))
        return found

    for _ in range(steps):
        jacobian = torch.func.jacrev(outputs)(w)
        p = outputs(w).softmax(1)
        bends = torch.diag_embed(p) - p[:, :, None] * p[:, None]
        matrix = torch.einsum("bip,bij,bjq->pq", jacobian, bends, jacobian) / len(x)
        slope = torch.einsum("bip,bi->p", jacobian, p - torch.nn.functional.one_hot(y, 3)) / len(x)
        damped = matrix + settings["damping"] * torch.eye(len(w), dtype=w.dtype)
        w = w - settings["learning_rate"] * torch.linalg.solve(damped, slope)
    return {
        n: t.view(s) for (n, s), t in zip(shapes.items(), w.split([s.numel() for s in shapes.values()]), strict=True)
    }


@pytest.mark.parametrize("backend", ["loop", "vmap", "bmm"])
def test_trained_networks_are_those_of_the_full_matrix(backend: str) -> None:
    """Beside another model, with another damping."""
    fields: dict[str, Any] = {"net": NETS[0], "dtype": "float64", "steps": 4, "batch_size": 12}
    pack = [recipe(s, **fields, optimizer={**EGN, "damping": d}) for s, d in ((1, 1.0), (3, 0.1))]
    found = finals(run(pack, blobs(12), backend))[1]
    for name, tensor in _by_the_full_matrix(4, {"learning_rate": 0.5, "damping": 0.1}).items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"clip": 1.0}, "clip: egn does not step along the gradient"),
        ({"precision": "bf16"}, "egn solves equations"),
        ({"micro_batch": 8}, "egn needs the whole batch"),
        ({"recompute": True}, "recompute: egn"),
    ],
)
def test_what_acts_on_gradients_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        recipe(optimizer=EGN, **fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"net": {"net": "mlp", "norm": "batch"}}, "egn can't train mlp: .*whole batch"),
        ({"loss": "stablemax"}, "stablemax is no convex function of the outputs, and egn"),
    ],
)
def test_what_has_no_such_step_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        run([recipe(optimizer=EGN, **fields)], digits(), "loop")


def test_the_logarithm_of_a_loss_that_may_be_negative_is_refused() -> None:
    metric = {"method": "induced_metric", "surface": "log_loss"}
    with pytest.raises(ValidationError, match="outputs may be below 0"):
        recipe(optimizer=metric, loss="outputs")
