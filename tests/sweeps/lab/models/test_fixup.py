"""Fixup: what its networks compute, how they begin, and that they train in packs."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from landsweep.sweeps.lab.models.fixup import FixupResNet
from tests.sweeps.lab.training.cases import blobs, finals, recipe, run

SPEC = FixupResNet(net="fixup_resnet", depth=14, width=4)


def written_out(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network of the paper, block by block, in plain functions."""
    y = F.relu(F.conv2d(x, state["conv.weight"], padding=1) + state["bias1"])
    widths = [4, 4, 4, 8, 8, 16, 16]
    for i, (before, out) in enumerate(pairwise(widths)):
        s = {n.removeprefix(f"blocks.{i}."): v for n, v in state.items() if n.startswith(f"blocks.{i}.")}
        stride, start = (2 if out > before else 1), y + s["bias1a"]
        z = F.relu(F.conv2d(start, s["conv1.weight"], stride=stride, padding=1) + s["bias1b"]) + s["bias2a"]
        branch = F.conv2d(z, s["conv2.weight"], padding=1) * s["scale"] + s["bias2b"]
        if out > before:
            half = start[:, :, ::2, ::2]
            y = torch.cat([half, torch.zeros_like(half)], 1)
        y = F.relu(y + branch)
    return F.linear(y.mean((2, 3)) + state["bias2"], state["linear.weight"], state["linear.bias"])


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_formula_with_any_weights(seed: int) -> None:
    module = SPEC.build((3, 8, 8), 5, seed).double()
    source = torch.Generator().manual_seed(seed)
    state = {n: torch.randn(p.shape, generator=source, dtype=torch.float64) / 3 for n, p in module.named_parameters()}
    module.load_state_dict(state)
    x = torch.randn(2, 3, 8, 8, generator=source, dtype=torch.float64)
    torch.testing.assert_close(module(x), written_out(state, x), rtol=1e-10, atol=1e-10)


def test_it_begins_as_the_paper_says() -> None:
    """Zero outputs, so the loss is log(classes) and only the linear layer gets a gradient; conv1 shrinks with depth."""
    module = SPEC.build((3, 8, 8), 5, 0)
    x, y = torch.randn(8, 3, 8, 8), torch.arange(8) % 5
    loss = F.cross_entropy(module(x), y)
    assert float(loss.detach()) == pytest.approx(math.log(5), rel=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    moved = {n for n, p in module.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert moved == {"linear.weight", "linear.bias"}
    wide = [FixupResNet(net="fixup_resnet", depth=d, width=32).build((3, 8, 8), 5, 1) for d in (8, 26)]
    shallow, deep = (m.get_parameter("blocks.0.conv1.weight") for m in wide)
    torch.testing.assert_close(deep, shallow * (3 / 12) ** 0.5)  # the same draws, of 3 and of 12 blocks
    assert float(shallow.detach().std()) == pytest.approx(math.sqrt(2 / (9 * 32) / 3), rel=0.03)


def test_packs_train_as_each_network_alone() -> None:
    net = {"net": "fixup_resnet", "depth": 8, "width": 2}
    each = [recipe(s, net=net, steps=4, dtype="float64") for s in range(2)]
    loop, vmap = (finals(run(each, blobs(), backend)) for backend in ("loop", "vmap"))
    for index, state in loop.items():
        assert float(state["blocks.0.conv2.weight"].abs().max()) > 0  # it has left zero
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, vmap[index][key], rtol=1e-9, atol=1e-11)
