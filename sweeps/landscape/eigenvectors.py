"""Eigenvectors from both ends of a Hessian's spectrum, proved to be such before a surface is drawn along them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.curvature import Eigenvector, Objective, check_derivatives, eigenpairs, product_with
from landsweep.sweeps.lab.losses import LossFunction
from landsweep.sweeps.lab.streams import generator

__all__ = ["extreme_eigenvectors"]

_SLACK = 10  # times the tolerance; rounding in float32 adds to what Lanczos expects
_SMALL = 0.01  # of the largest magnitude; eigenvalues below are judged as if they were that large


def extreme_eigenvectors(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: LossFunction,
    chosen: Sequence[int],
    *,
    batch_size: int,
    products: int,
    tolerance: float,
) -> list[Eigenvector]:
    """Eigenvectors of the mean loss's Hessian, by the place of their eigenvalue.

    The largest component of each is positive, so that the same samples give the same directions.

    Args:
        module: the network, which is put into evaluation mode.
        inputs: [n, ...], on the device of the network.
        targets: [n, ...].
        loss: outputs and targets to the loss of each sample.
        chosen: 1 for the largest eigenvalue by sign, 2 for the next; -1 for the lowest, -2 for the one above it.
        batch_size: samples per forward pass.
        products: most Hessian-vector products.
        tolerance: of the residuals, relative to the eigenvalues.

    Raises:
        SpecError: the network has no right second derivatives, too few weights, or the products did not suffice.
    """
    objective = Objective.of([module], inputs, targets, loss, batch_size).alone(0)
    check_derivatives(objective)
    top, lowest = max(*chosen, 0), max(*(-c for c in chosen), 0)
    size = objective.weights.shape[1]
    if max(top, lowest) > size:
        raise SpecError(f"there are {size} trained numbers, so there is no eigenvector {max(top, lowest)}")
    starts = [generator(0, "eigenvectors")]
    matrix = product_with("hessian", objective)
    ends = eigenpairs(matrix, objective.weights, starts, top, lowest, products=products, tolerance=tolerance)[:2]
    largest = max(float(end.values.abs().max()) for end in ends if end.values.numel())
    vectors = []
    for place in chosen:
        pairs, i = (ends[0], place - 1) if place > 0 else (ends[1], -place - 1)
        value, residual, row = pairs.values[0, i].item(), pairs.residuals[0, i].item(), pairs.vectors[0, i]
        if not residual <= _SLACK * tolerance * max(abs(value), _SMALL * largest):
            raise SpecError(
                f"eigenvector {place} (eigenvalue {value:.4g}) is not exact enough after {products} products: its "
                f"residual is {residual:.2g}; raise directions.products, or directions.tolerance"
            )
        signed = row * row[row.abs().argmax()].sign()
        parts = {name: part[0].clone() for name, part in objective.layout.split(signed[None]).items()}
        vectors.append(Eigenvector(value, residual, parts))
    return vectors
