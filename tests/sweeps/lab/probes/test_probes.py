"""Probes against dense Hessians and hooks by hand; z-loss and qk-norm against their formulas, in every back-end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor
from torch.autograd.functional import hessian
from torch.func import functional_call

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.probes import largest_eigenvalues
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Evaluated, train_pack
from tests.sweeps.lab.training.cases import SGD, digits, distance, finals, recipe, run

TINY: dict[str, Any] = {
    "data": {"source": "teacher_student", "features": 4, "hidden": [3], "train": 64, "test": 16},
    "net": {"net": "mlp", "hidden": [3], "activation": "tanh"},
    "optimizer": {"method": "sgd", "learning_rate": 0.05},
    "steps": 20,
    "batch_size": 16,
    "dtype": "float64",
}
GPT: dict[str, Any] = {
    "data": {"source": "markov", "states": 6, "context": 5, "train": 48, "test": 16},
    "net": {"net": "gpt", "width": 8, "depth": 2, "heads": 2},
    "optimizer": {"method": "adam", "learning_rate": 0.01},
    "steps": 4,
    "batch_size": 16,
}


def made(base: dict[str, Any], **fields: Any) -> Recipe:
    return Recipe.model_validate({**base, **fields})


def data_of(recipe: Recipe) -> Data:
    return recipe.data.load(Path())


def last(recipes: list[Recipe], backend: str = "vmap") -> dict[int, dict[str, float]]:
    events = train_pack(recipes, data_of(recipes[0]), backend=backend)
    return {e.index: dict(e.metrics) for e in events if isinstance(e, Evaluated)}


def dense(recipe: Recipe, state: dict[str, Tensor], first: int) -> Tensor:
    """Eigenvalues of the whole Hessian, by torch."""
    data = data_of(recipe)
    module = recipe.net.build(data.shape, data.outputs, 0).double().eval()
    names = [n for n, _ in module.named_parameters()]
    sizes = [p.numel() for p in module.parameters()]
    x, y = (t[:first].double() for t in (data.splits["train"].inputs, data.splits["train"].targets))
    flat = torch.cat([state[n].double().flatten() for n in names])

    def loss(w: Tensor) -> Tensor:
        parts = dict(zip(names, torch.split(w, sizes), strict=True))
        shaped = {n: part.view(state[n].shape) for n, part in parts.items()}
        return F.mse_loss(functional_call(module, shaped, (x,)), y)

    return torch.linalg.eigvalsh(hessian(loss, flat))


@pytest.mark.parametrize("backend", ["loop", "vmap", "bmm"])
def test_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(backend: str) -> None:
    probe = {"probe": "sharpness", "first": 50, "products": 40, "tolerance": 1e-9}
    recipes = [made(TINY, seed=s, evaluate={"probes": [probe]}) for s in range(3)]
    found = last(recipes, backend)
    ends = finals(run(recipes, data_of(recipes[0]), backend))
    for k in range(3):
        wanted = dense(recipes[k], dict(ends[k]), 50)
        assert wanted[-1] > -wanted[0] * 0.1  # not all negative: the largest by sign is asked for
        assert found[k]["sharpness"] == pytest.approx(float(wanted[-1]), rel=1e-6)


def test_lanczos_finds_the_largest_by_sign_and_stops_where_a_matrix_is_small() -> None:
    g = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(30, 30, generator=g, dtype=torch.float64))
    spectra = torch.stack([torch.linspace(-9, 2, 30), torch.linspace(0, 1, 30), torch.zeros(30)]).double()
    matrices = q @ torch.diag_embed(spectra) @ q.T
    like = torch.zeros(3, 30, dtype=torch.float64)
    found = largest_eigenvalues(lambda v: (matrices @ v[:, :, None])[:, :, 0], like, 30, 1e-12)
    torch.testing.assert_close(found, torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), rtol=1e-8, atol=1e-8)
    broken = largest_eigenvalues(lambda v: v * torch.tensor([[math.nan], [3.0], [1.0]]), like, 5, 1e-12)
    assert math.isnan(broken[0]) and broken[1:].tolist() == pytest.approx([3.0, 1.0])


def test_activations_and_logits_are_those_of_the_module() -> None:
    r = recipe(evaluate={"splits": ["test"], "probes": [{"probe": "activations"}, {"probe": "logits", "first": 40}]})
    found = last([r], "bmm")[0]
    module = r.net.build((1, 8, 8), 10, 0)
    module.load_state_dict(dict(finals(run([r], digits(), "bmm"))[0]))
    inputs = digits().splits["train"].inputs
    hidden = module.hidden[0].linear(inputs[:256].flatten(1))  # type: ignore[index,union-attr]
    outputs = module(inputs[:40]).detach()
    assert found["activation/hidden.0.linear"] == pytest.approx(float(hidden.detach().abs().mean()), rel=1e-5)
    assert found["activation/out"] == pytest.approx(float(module(inputs[:256]).detach().abs().mean()), rel=1e-5)
    assert found["logit_max"] == pytest.approx(float(outputs.abs().max()), rel=1e-5)
    assert found["log_z"] == pytest.approx(float(outputs.logsumexp(1).mean()), rel=1e-5)


def test_attention_scores_are_seen_and_qk_norm_bounds_them() -> None:
    probes = {"probes": [{"probe": "attention"}, {"probe": "sharpness", "first": 16, "products": 4}]}
    large = {**GPT["net"], "init": {"scale": 30.0}}
    free, bounded = (
        made(GPT, net={**large, "qk_norm": on}, evaluate={**probes, "start": True}, seed=3) for on in (False, True)
    )
    data = data_of(free)
    first = [
        next(e for e in train_pack([r], data, backend="loop") if isinstance(e, Evaluated)) for r in (free, bounded)
    ]
    block: Any = free.net.build(data.shape, data.outputs, 3).blocks[0]  # type: ignore[index,union-attr]
    module: Any = free.net.build(data.shape, data.outputs, 3)
    tokens = data.splits["train"].inputs[:256]
    x = block.norm1(module.token(tokens) + module.position(torch.arange(5)))
    q, k = (f(x).view(len(tokens), 5, 2, 4).transpose(1, 2) for f in (block.query, block.key))
    assert first[0].metrics["attention_max"] >= float((q @ k.transpose(-1, -2)).detach().max() / 2) > 100
    assert 0 < first[1].metrics["attention_max"] <= math.sqrt(4) + 1e-4
    assert all(math.isfinite(e.metrics["sharpness"]) for e in first)


def test_qk_norm_changes_no_key_and_trains_its_gains() -> None:
    data = data_of(made(GPT))
    shapes = [
        {
            k: v.shape
            for k, v in made(GPT, net={**GPT["net"], "qk_norm": on})
            .build(data.shape, data.outputs)
            .state_dict()
            .items()
        }
        for on in (False, True)
    ]
    assert shapes[0] == shapes[1]
    r = made(GPT, net={**GPT["net"], "qk_norm": True})
    ended = finals(run([r], data, "vmap"))[0]
    assert not torch.equal(ended["blocks.0.query_norm.weight"], torch.ones(4))


@pytest.mark.parametrize("backend", ["loop", "vmap", "bmm"])
def test_z_loss_adds_the_squared_normaliser(backend: str) -> None:
    """One full-batch step of SGD against autograd on the written-out loss."""
    r = recipe(z_loss=0.3, steps=1, batch_size=1400, optimizer={"method": "sgd", "learning_rate": 0.1}, dtype="float64")
    ended = finals(run([r], digits(), backend))[0]
    module = r.net.build((1, 8, 8), 10, 0).double()
    train = digits().splits["train"]
    outputs = module(train.inputs.double())
    loss = F.cross_entropy(outputs, train.targets) + 0.3 * outputs.logsumexp(1).square().mean()
    loss.backward()
    wanted = {n: p.detach() - 0.1 * p.grad for n, p in module.named_parameters() if p.grad is not None}
    for name, tensor in wanted.items():
        torch.testing.assert_close(ended[name], tensor, rtol=1e-7, atol=1e-9)
    plain = finals(run([recipe(steps=1, batch_size=1400)], digits(), backend))[0]
    assert distance(dict(ended), dict(plain)) > 1e-3


def test_z_loss_of_sequences_in_every_backend() -> None:
    data = data_of(made(GPT))
    ends = [
        finals(run([made(GPT, z_loss=0.1, optimizer={**SGD, "learning_rate": 0.1})], data, b))[0]
        for b in ("loop", "vmap")
    ]
    assert distance(ends[0], ends[1]) < 1e-4


def test_z_loss_needs_classes() -> None:
    with pytest.raises(SpecError, match=r"z_loss: 0\.1 is of cross_entropy"):
        made(TINY, z_loss=0.1).loss_on(data_of(made(TINY)))


def test_probes_do_not_disturb_the_training() -> None:
    every = [{"probe": p} for p in ("activations", "attention", "logits")] + [{"probe": "sharpness", "products": 3}]
    for base, backend in ((GPT, "vmap"), (TINY, "bmm")):
        plain, probed = (made(base, evaluate={"every_steps": 2, "probes": p}) for p in ([], every))
        data = data_of(plain)
        assert distance(finals(run([plain], data, backend))[0], finals(run([probed], data, backend))[0]) == 0
