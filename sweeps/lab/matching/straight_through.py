"""Straight-through matching: permutations learnt from the loss half-way between the networks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.losses import LossFunction
from landsweep.sweeps.lab.matching.symmetry import Symmetry, permute
from landsweep.sweeps.lab.matching.weights import Matching, match_weights

__all__ = ["match_straight_through"]


def match_straight_through(
    module: nn.Module,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    symmetry: Symmetry,
    batches: Sequence[tuple[Tensor, Tensor]],
    loss: LossFunction,
    generator: torch.Generator,
    steps: int,
    learning_rate: float,
) -> Matching:
    """Algorithm 3 of arXiv 2209.04836: weights w, of which B's permutation is the projection, learn by Adam.

    B's units come to the places that weight matching to w gives; the gradient of the loss half-way between A and that
    B goes to w as if it were B. Begins at w = A, which is weight matching; the permutation with the lowest loss is
    kept. Batch normalisation uses the mean of both networks' statistics.

    Args:
        module: of the architecture, on the device; its weights change.
        a: state dict of A.
        b: state dict of B.
        symmetry: of their network.
        batches: inputs and targets; one batch per step, in order, again and again.
        loss: outputs and targets to the loss of each sample.
        generator: for weight matching.
        steps: of the optimizer.
        learning_rate: of Adam.
    """
    names = [name for name, _ in module.named_parameters()]
    parameters = dict(module.named_parameters())
    w = {name: a[name].detach().clone().requires_grad_() for name in names}
    optimizer = torch.optim.Adam(w.values(), lr=learning_rate)
    matching = match_weights(a, b, symmetry, names, generator)
    best, lowest = matching, float("inf")
    module.eval()
    for step, (inputs, targets) in enumerate(itertools.cycle(batches)):
        if step:
            held = {k: t.detach() for k, t in w.items()}
            matching = match_weights(held, b, symmetry, names, generator, matching.orders)
        moved = permute(b, symmetry.units, matching.orders)
        middle = {k: (t + moved[k]) / 2 if t.is_floating_point() else t for k, t in a.items()}
        module.load_state_dict(middle)
        with torch.no_grad():
            total = float(sum(loss(module(x), y).double().sum() for x, y in batches))
        if total < lowest:
            best, lowest = matching, total
        if step >= steps:
            break
        with torch.enable_grad():
            mean = loss(module(inputs), targets).mean()
            gradients = torch.autograd.grad(mean, [parameters[k] for k in names], materialize_grads=True)
        for t, gradient in zip(w.values(), gradients, strict=True):
            t.grad = gradient.to(t.device) / 2
        optimizer.step()
    return Matching(best.orders)
