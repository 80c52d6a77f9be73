"""Products of curvature matrices with vectors, exact, for K models at once: Hessian, Gauss-Newton, empirical Fisher.

Each is a mean over all samples, batch by batch, whatever the size of the last batch. The graphs of the batches are kept
from product to product where they fit into memory; else they are built anew each time, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.curvature.objective import Objective, differentiating
from landsweep.sweeps.lab.curvature.stacking import graph_bytes
from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.lab.streams import generator

__all__ = ["Matrix", "Product", "check_matrix", "product_with"]

Matrix: TypeAlias = Literal["hessian", "ggn", "empirical_fisher", "sampled_fisher"]
Product: TypeAlias = Callable[[Tensor], Tensor]
"""Vectors [K, P] to matrices [K, P, P] times vectors, [K, P]."""
_Linear: TypeAlias = Callable[[Objective, Tensor, Tensor, Tensor], Product]

_KEPT = 2**28  # bytes of graphs that are kept


def product_with(matrix: Matrix, objective: Objective) -> Product:
    """Products with a curvature matrix of the mean loss.

    Args:
        matrix: `hessian`; `ggn`, the generalised Gauss-Newton matrix J' H J, with J the Jacobian of the outputs and H
            the Hessian of the loss in them (for cross entropy it is the Fisher matrix of labels drawn from the model);
            `empirical_fisher`, the mean of g g' over the gradients g of single samples; `sampled_fisher`, the same with
            one label for each sample that is drawn from the model's own probabilities: an unbiased estimate of the
            Fisher matrix. The random numbers behind the labels are the same for every model and every call.
        objective: of K models.

    Raises:
        SpecError: an operation of the network has no second derivative, or labels can't be drawn.
    """
    linear = {"hessian": _hessian, "ggn": _gauss_newton}.get(matrix, _empirical_fisher)
    check_matrix(matrix, objective)
    objective = _with_drawn_labels(objective) if matrix == "sampled_fisher" else objective
    leaves = objective.weights.detach().requires_grad_()
    batches = list(objective.batches())
    kept: list[Product] | None = None
    if len(batches) == 1 or 4 * len(batches) * len(objective) * graph_bytes(objective) <= _KEPT:
        kept = [linear(objective, leaves, x, y) for x, y in batches]

    def product(vectors: Tensor) -> Tensor:
        parts = kept or (linear(objective, leaves, x, y) for x, y in batches)
        total = torch.zeros_like(objective.weights)
        for part in parts:
            with differentiating():
                total += part(vectors).detach()
        return total / objective.samples

    return product


def check_matrix(matrix: Matrix, objective: Objective) -> None:
    """Refuse a matrix that is not defined for an objective: labels are drawn for the classes of single samples alone.

    Raises:
        SpecError: it is not; says why.
    """
    if matrix != "sampled_fisher":
        return
    if objective.targets.is_floating_point() or objective.targets.dim() != 2:
        raise SpecError(
            "matrix: sampled_fisher draws one class for each sample, but these targets are "
            f"{'numbers' if objective.targets.is_floating_point() else 'sequences'}; use ggn"
        )
    if objective.loss is not LOSSES["cross_entropy"]:
        raise SpecError("matrix: sampled_fisher is defined for the loss cross_entropy; use ggn, or another evaluator")


@torch.no_grad()
def _with_drawn_labels(objective: Objective) -> Objective:
    """The objective whose targets are drawn from the models' own probabilities."""
    source = generator(0, "labels")
    drawn = []
    for x, y in objective.batches():
        shares = objective.outputs(objective.weights, x).double().softmax(-1).cumsum(-1)
        places = torch.rand(y.shape[1], generator=source, dtype=torch.float64).to(shares.device)
        at = torch.searchsorted(shares, places.expand(len(shares), -1)[:, :, None].contiguous())[:, :, 0]
        drawn.append(at.clamp(max=shares.shape[-1] - 1))
    return replace(objective, targets=torch.cat(drawn, 1).to(objective.targets.dtype))


def _hessian(objective: Objective, leaves: Tensor, inputs: Tensor, targets: Tensor) -> Product:
    with differentiating():
        losses = objective.each(objective.outputs(leaves, inputs), targets)
        (gradients,) = torch.autograd.grad(losses.sum(), leaves, create_graph=True)
    return _times(gradients, leaves)


def _gauss_newton(objective: Objective, leaves: Tensor, inputs: Tensor, targets: Tensor) -> Product:
    with differentiating():
        outputs = objective.outputs(leaves, inputs)
        ends = outputs.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(objective.each(ends, targets).sum(), ends, create_graph=True)
    forward, curvature = _forward(outputs, leaves), _times(slopes, ends)
    return lambda vectors: _backward(outputs, leaves, curvature(forward(vectors)))


def _empirical_fisher(objective: Objective, leaves: Tensor, inputs: Tensor, targets: Tensor) -> Product:
    with differentiating():
        losses = objective.each(objective.outputs(leaves, inputs), targets)
    forward = _forward(losses, leaves)
    return lambda vectors: _backward(losses, leaves, forward(vectors))


def _forward(outputs: Tensor, leaves: Tensor) -> Product:
    """Vectors [K, P] to the derivative of the outputs along them: J v, as the gradient of v' J' u in u."""
    u = torch.zeros_like(outputs).requires_grad_()
    with differentiating():
        (pulled,) = torch.autograd.grad(outputs, leaves, u, create_graph=True)
    return _times(pulled, u)


def _backward(outputs: Tensor, leaves: Tensor, vectors: Tensor) -> Tensor:
    return torch.autograd.grad(outputs, leaves, vectors, retain_graph=True)[0]


def _times(values: Tensor, leaves: Tensor) -> Product:
    """Vectors v to the gradient of v' values in the leaves."""
    if not values.requires_grad:  # they do not depend on the leaves
        return lambda vectors: torch.zeros_like(leaves)
    return lambda vectors: torch.autograd.grad(values, leaves, vectors, retain_graph=True, materialize_grads=True)[0]
