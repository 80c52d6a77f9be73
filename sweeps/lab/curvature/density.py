"""Spectral densities of K symmetric matrices by stochastic Lanczos quadrature: nodes and weights, without smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landsweep.sweeps.lab.curvature.lanczos import Lanczos
from landsweep.sweeps.lab.curvature.products import Product
from landsweep.sweeps.lab.curvature.trace import signs

__all__ = ["Density", "densities"]

_ROUNDING = 1e-3  # relative, of the moments; float32 is below 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Density:
    """What the spectrum of one matrix [P, P] looks like to random vectors.

    Each run is a Gauss quadrature: the mean of f(eigenvalues) over the spectrum is about the sum of weights f(nodes),
    exact for polynomials of degree below twice the run's steps, but for the choice of the random vector.

    Attributes:
        nodes: of each run, in rising order, in float64.
        weights: of each run; their sum is 1.
        residuals: of each run: some eigenvalue lies no further than this from the node.
    """

    nodes: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    residuals: tuple[Tensor, ...]

    def moments(self, power: int) -> Tensor:
        """Means of eigenvalues to a power, one of each run."""
        return torch.stack([(w * x**power).sum() for x, w in zip(self.nodes, self.weights, strict=True)])


@torch.no_grad()
def densities(
    product: Product, like: Tensor, generators: Sequence[torch.Generator], steps: int, runs: int
) -> list[Density]:
    """The densities of K matrices; runs start from random signs and are fully re-orthogonalised.

    Args:
        product: with the matrices.
        like: [K, P]; for shape, type and device.
        generators: of the random vectors, one for each matrix.
        steps: products of a run; fewer where the space is exhausted.
        runs: how many random vectors.

    Raises:
        RuntimeError: the first two moments are not those of the first product: rounding has taken over.
    """
    parts: list[tuple[list[Tensor], ...]] = [([], [], []) for _ in range(len(like))]
    for _ in range(runs):
        start = signs(generators, like)
        start = start / start.norm(dim=1, keepdim=True)
        lanczos = Lanczos(product, start)
        first = lanczos.step()
        while lanczos.steps < steps and bool(lanczos.alive.any()):
            lanczos.step()
        values, vectors = lanczos.ritz()
        for k, size in enumerate(lanczos.sizes.tolist()):
            nodes, weights = values[k, :size], vectors[k, 0, :size].square()
            if bool(nodes.isfinite().all()):
                _check(nodes, weights, (start[k] @ first[k]).item(), first[k].square().sum().item())
            ends = lanczos.beside[k, size - 1] * vectors[k, size - 1, :size].abs()
            for part, value in zip(parts[k], (nodes, weights, ends), strict=True):
                part.append(value)
    return [Density(*map(tuple, part)) for part in parts]


def _check(nodes: Tensor, weights: Tensor, mean: float, square: float) -> None:
    scale = square**0.5
    off = [
        abs(weights.sum().item() - 1),
        abs((weights * nodes).sum().item() - mean) / (scale or 1),
        abs((weights * nodes**2).sum().item() - square) / (square or 1) if len(nodes) > 1 else 0.0,
    ]
    if max(off) > _ROUNDING:
        raise RuntimeError(
            f"density: moments 0, 1 and 2 of the quadrature are off by {off}; compute it in float64 (`dtype: float64`)"
        )
