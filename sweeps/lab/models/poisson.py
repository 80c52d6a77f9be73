"""Networks for Poisson's equation whose outputs are losses: the deep Galerkin and the deep Ritz method.

The equation is -Laplace(u) = d pi^2 prod_i sin(pi x_i) on the cube [0, 1]^d with u = 0 on its faces; its solution is
u = prod_i sin(pi x_i). A network N is made to fulfil the boundary condition: u = N(x) prod_i 4 x_i (1 - x_i). For
`net: own` with `loss: outputs`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError

__all__ = ["Poisson", "points", "poisson"]

Method = Literal["galerkin", "ritz"]


class Poisson(nn.Module):
    """A perceptron with tanh that gives, for points [n, d], the loss of each, [n, 1].

    `galerkin` (arXiv 1708.07469): (Laplace(u) + f)^2, the squared residual. `ritz` (arXiv 1710.00211):
    |grad u|^2 / 2 - f u, whose mean over the cube is the energy, -d pi^2 / 2^(d + 2) at the solution. Derivatives are
    carried forward layer by layer, so each back-end and each curvature product can take it.
    """

    def __init__(self, dimensions: int, width: int, depth: int, method: Method) -> None:
        super().__init__()
        self.method = method
        sizes = [dimensions, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(width, 1)

    def derivatives(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """U [n], its gradient [n, d], and its second derivatives along the axes [n, d], at points [n, d]."""
        d = x.shape[1]
        h, first = x, torch.eye(d, dtype=x.dtype, device=x.device).expand(len(x), d, d)
        second = torch.zeros_like(first)  # [n, axis of x, unit]
        for layer in self.hidden:
            assert isinstance(layer, nn.Linear)
            z, z1, z2 = layer(h), first @ layer.weight.T, second @ layer.weight.T
            h = torch.tanh(z)
            slope = (1 - h * h)[:, None]
            first, second = slope * z1, slope * z2 - 2 * h[:, None] * slope * z1 * z1
        weight = self.last.weight[0]
        value, value1, value2 = self.last(h)[:, 0], first @ weight, second @ weight
        edge, edge1, edge2 = _edge(x)
        u1 = edge1 * value[:, None] + edge[:, None] * value1
        u2 = edge2 * value[:, None] + 2 * edge1 * value1 + edge[:, None] * value2
        return edge * value, u1, u2

    def forward(self, x: Tensor) -> Tensor:
        u, u1, u2 = self.derivatives(x)
        source = x.shape[1] * math.pi**2 * torch.sin(math.pi * x).prod(1)
        if self.method == "galerkin":
            return ((u2.sum(1) + source).square())[:, None]
        return (u1.square().sum(1) / 2 - source * u)[:, None]


def _edge(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """prod_i 4 x_i (1 - x_i) [n], and its first and second derivatives along the axes [n, d]."""
    each = 4 * x * (1 - x)
    others = torch.stack([each[:, [j for j in range(x.shape[1]) if j != i]].prod(1) for i in range(x.shape[1])], 1)
    return each.prod(1), (4 - 8 * x) * others, -8 * others


def poisson(method: Method, dimensions: int = 2, width: int = 16, depth: int = 2) -> Poisson:
    """The network, for `net: own`.

    Raises:
        SpecError: there is no such method.
    """
    if method not in ("galerkin", "ritz"):
        raise SpecError(f"net.args.method: {method!r} is neither galerkin nor ritz")
    return Poisson(dimensions, width, depth, method)


def points(
    dimensions: int = 2, train: int = 512, test: int = 1024, seed: int = 0
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Uniform points of the cube for `source: callable`, with targets 0 that the loss does not look at."""
    random = np.random.default_rng(seed)
    return {
        split: (random.uniform(size=(n, dimensions)), np.zeros((n, 1)))
        for split, n in (("train", train), ("test", test))
    }
