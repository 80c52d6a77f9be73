"""A small problem without a network: 20 steps of stacked optimizers, and of their references."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_optimizer as po
import torch
from momo import Momo, MomoAdam
from numpy.typing import NDArray
from pydantic import TypeAdapter
from pytorch_optimizer.optimizer.muon import base as po_muon
from torch import Tensor, nn

from landsweep.sweeps.lab.optim import Linearised, Method, OptimizerSpec
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import Gradients, StackedUpdater, Updater
from tests.sweeps.lab.optim import one_model
from tests.sweeps.lab.optim.cases import SHAPES, Settings, shapes_of
from tests.sweeps.lab.optim.peers import PEERS

STEPS = 20


def methods(settings: list[Settings]) -> list[Method]:
    return [TypeAdapter(OptimizerSpec).validate_python(s) for s in settings]


def recipes(settings: list[Settings], **more: Any) -> list[Recipe]:
    data = {"data": {"source": "digits"}, "net": {"net": "mlp"}, "steps": STEPS, **more}
    return [Recipe.model_validate({**data, "optimizer": s}) for s in settings]


class Bag(nn.Module):
    """Some tensors without a network around them."""

    def __init__(self, seed: int, dtype: torch.dtype, shapes: list[tuple[int, ...]] | None = None) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        drawn = (torch.randn(s, generator=g, dtype=torch.float64) for s in shapes or SHAPES)
        self.tensors = nn.ParameterList(nn.Parameter(t.to(dtype)) for t in drawn)


def slope(w: Tensor) -> Tensor:
    """Gradient of a function that is not quadratic, so that errors do not cancel."""
    return torch.sin(3 * w) + 0.3 * w


def slope_of_array(w: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sin(3 * w) + 0.3 * w


def losses(rows: Tensor) -> Tensor:
    """The function itself, of rows [K, P]: never below 0."""
    return ((1 - torch.cos(3 * rows)) / 3 + 0.15 * rows.square()).sum(1)


@contextmanager
def all_in(dtype: torch.dtype) -> Iterator[None]:
    """References compute some scalars in torch's default type, Muon's iterations in bfloat16: here all in `dtype`."""
    torch.set_default_dtype(dtype)
    rounds = po_muon.zero_power_via_newton_schulz_5
    po_muon.zero_power_via_newton_schulz_5 = functools.partial(rounds, dtype=dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        po_muon.zero_power_via_newton_schulz_5 = rounds


def advance(peer: torch.optim.Optimizer, bag: Bag) -> None:
    """One step of a reference, by the protocol that it has."""
    whole = torch.cat([p.detach().flatten() for p in bag.parameters()])[None]

    def gradients() -> None:
        for p in bag.parameters():
            p.grad = slope(p.detach())

    gradients()
    if isinstance(peer, po.SAM):
        peer.first_step()
        gradients()
        peer.second_step()
    elif isinstance(peer, Momo | MomoAdam):
        peer.step(loss=losses(whole)[0])
    elif isinstance(peer, one_model.InducedMetric):
        peer.loss = float(losses(whole)[0])
        peer.step()
    else:
        peer.step(gradients if isinstance(peer, one_model.Gam | one_model.EntropySgd | one_model.UDog) else None)


def linearised(stack: Stack, k: int) -> Linearised:
    """The small model of `one_model.outputs` with the weights of a row."""
    row = stack.weights[k].double()
    found = one_model.outputs(row)
    jacobian = torch.func.jacrev(one_model.outputs)(row)
    bends = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).expand(one_model.SAMPLES, 2, 2)
    parts = jacobian, 2 * (found - 1) + found.flip(1), bends
    return Linearised(*(t.to(stack.weights.dtype) for t in parts))


def trained(
    settings: list[Settings], dtype: torch.dtype, make: Callable[[Stack], Updater] | None = None
) -> tuple[Stack, Rates, Updater]:
    """The stack after 20 steps with a cosine schedule."""
    shapes = shapes_of(settings)
    stack = Stack([Bag(seed, dtype, shapes) for seed in range(len(settings))], "cpu")
    updater = make(stack) if make else StackedUpdater(methods(settings), stack, range(len(settings)))
    rates = Rates(recipes(settings, schedule={"shape": "cosine"}), STEPS)
    for step in range(STEPS):
        again = functools.partial(lambda: slope(stack.weights))
        model = functools.partial(linearised, stack)
        updater.step(stack, Gradients(slope(stack.weights), losses(stack.weights), again, model), rates, step)
    return stack, rates, updater


def referred(settings: list[Settings], dtype: torch.dtype) -> Tensor:
    """The weights [K, P] after 20 steps of the references with a cosine schedule."""
    rows = []
    for k, spec in enumerate(m.model_dump() for m in methods(settings)):
        bag = Bag(k, dtype, shapes_of(settings))
        peer = PEERS[spec["method"]](list(bag.parameters()), spec)
        if spec["method"] == "gravity":
            start(peer, bag, methods(settings)[k], k)
        if isinstance(peer, one_model.Frugal | one_model.EntropySgd):
            peer.seed = k
        rates = Rates(recipes(settings, schedule={"shape": "cosine"}), STEPS)
        peaks = [group["lr"] for group in peer.param_groups]
        for step in range(STEPS):
            share = rates.learning_rates(step)[k] / spec["learning_rate"]
            for group, peak in zip(peer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            advance(peer, bag)
        last = torch.cat([p.detach().flatten() for p in bag.parameters()])
        rows.append(peer.last() if isinstance(peer, one_model.UDog) else last)
    return torch.stack(rows)


def start(peer: torch.optim.Optimizer, bag: Bag, method: Method, seed: int) -> None:
    """Give Gravity's reference the random velocities of ours."""
    stack = Stack([bag], "cpu")
    drawn = method.start(stack.weights[0], stack.layout, seed)["velocity"]
    for p, v in zip(bag.parameters(), stack.layout.split(drawn[None]).values(), strict=True):
        peer.state[p]["v"] = v[0].clone()
