"""Eigenvectors of one network's curvature as directions in the space of its weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from landsweep.sweeps.lab.curvature.derivatives import check_derivatives
from landsweep.sweeps.lab.curvature.eigenpairs import eigenpairs
from landsweep.sweeps.lab.curvature.objective import Objective
from landsweep.sweeps.lab.curvature.products import Matrix, product_with
from landsweep.sweeps.lab.losses import LossFunction
from landsweep.sweeps.lab.streams import generator

__all__ = ["Eigenvector", "top_eigenvectors"]


@dataclass(frozen=True, slots=True, eq=False)
class Eigenvector:
    """A direction of length 1 in weight space along which curvature is extreme.

    Attributes:
        value: the eigenvalue.
        residual: length of H v - value v: how far from an eigenvector it is.
        direction: name of each trained parameter to its part, in the shape of the parameter.
    """

    value: float
    residual: float
    direction: dict[str, Tensor]


def top_eigenvectors(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    loss: LossFunction,
    count: int,
    *,
    batch_size: int = 256,
    matrix: Matrix = "hessian",
    seed: int = 0,
    products: int = 100,
    tolerance: float = 1e-3,
) -> list[Eigenvector]:
    """Eigenvectors of the mean loss's curvature with the largest eigenvalues by sign, the largest first.

    The largest component of each is positive, so that the same samples give the same directions.

    Args:
        module: the network, which is put into evaluation mode.
        inputs: [n, ...], on the device of the network.
        targets: [n, ...].
        loss: outputs [m, ...] and targets [m, ...] to the loss of each sample [m].
        count: how many; no more than there are trained numbers.
        batch_size: samples per forward pass.
        matrix: of which curvature.
        seed: of the random start.
        products: most products with the matrix.
        tolerance: of the residuals, relative to the eigenvalues.

    Raises:
        SpecError: the network has no right second derivatives.
    """
    objective = Objective.of([module], inputs, targets, loss, batch_size).alone(0)
    check_derivatives(objective)
    starts = [generator(seed, "eigenvectors")]
    pairs, _, _ = eigenpairs(
        product_with(matrix, objective), objective.weights, starts, count, products=products, tolerance=tolerance
    )
    vectors = []
    for value, residual, row in zip(pairs.values[0], pairs.residuals[0], pairs.vectors[0], strict=True):
        signed = row * row[row.abs().argmax()].sign()
        parts = {name: part[0].clone() for name, part in objective.layout.split(signed[None]).items()}
        vectors.append(Eigenvector(value.item(), residual.item(), parts))
    return vectors
