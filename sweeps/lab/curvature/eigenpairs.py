"""Largest and smallest eigenvalues, by sign, of K symmetric matrices at once, with eigenvectors and residuals.

A Krylov space holds one vector of each eigenspace, so that one run alone would give an eigenvalue of multiplicity two
once. After the first run others look, from new random starts in the complement of what is known, for eigenvalues that
belong among the wanted ones, until a run shows that there are none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landsweep.sweeps.lab.curvature.lanczos import Lanczos
from landsweep.sweeps.lab.curvature.products import Product

__all__ = ["Eigenpairs", "eigenpairs"]

_SMALL = 1e-2  # share of the largest magnitude below which a residual is not compared with its own eigenvalue
_MISSED = 1e-3  # probability that a run ends before it has seen one more of the wanted eigenvalues


@dataclass(frozen=True, slots=True, eq=False)
class Eigenpairs:
    """Eigenvalues at one end of the spectra of K matrices [P, P].

    Attributes:
        values: [K, c] of float64, the outermost first. Not finite where the products are not, or P is less than c.
        vectors: [K, c, P], of length 1.
        residuals: [K, c] of float64, the lengths of A v - value v: some eigenvalue lies no further from the value.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor


@torch.no_grad()
def eigenpairs(
    product: Product,
    like: Tensor,
    generators: Sequence[torch.Generator],
    top: int,
    lowest: int = 0,
    products: int = 100,
    tolerance: float = 1e-3,
) -> tuple[Eigenpairs, Eigenpairs, Tensor]:
    """The largest and the smallest eigenvalues of K symmetric matrices, each matrix stopping by itself.

    Args:
        product: with the matrices.
        like: [K, P]; for shape, type and device.
        generators: of the random starts, on the CPU, one for each matrix.
        top: how many of the largest.
        lowest: how many of the smallest.
        products: most products with a matrix.
        tolerance: of residuals, relative to the eigenvalue, or to a hundredth of the largest magnitude where the
            eigenvalue is less.

    Returns:
        The largest; the smallest; and how many products each matrix took, [K].

    Raises:
        SpecError: the matrices are not symmetric.
    """
    k, p = like.shape
    ends = [_End(1.0, min(top, p), tolerance, like), _End(-1.0, min(lowest, p), tolerance, like)]
    checks = sum(end.count for end in ends)
    room, used = max(1, products - checks), torch.zeros(k, dtype=torch.int64)
    known: list[Tensor] = []
    rows = torch.full((k,), checks > 0)
    while bool(rows.any()):
        start = torch.stack([torch.randn(p, generator=g, dtype=torch.float64) for g in generators]).to(like)
        lanczos, sizes = _run(Lanczos(product, start, known), ends, (room - used).clamp(max=p), rows)
        used += torch.where(rows, sizes, 0)
        news = torch.stack([end.take(lanczos, sizes, rows) for end in ends]).any(0)
        rows = rows & news & (used < min(room, p)) & (top > 1 or lowest > 1)
        known = [end.vectors for end in ends]
    for end in ends:
        end.check(product)
    return ends[0].padded(top), ends[1].padded(lowest), used + checks


class _End:
    """What is known of one end of the spectra: `sign` 1 for the largest, -1 for the smallest."""

    def __init__(self, sign: float, count: int, tolerance: float, like: Tensor) -> None:
        self.sign, self.count, self.tolerance, self.runs = sign, count, tolerance, 0
        self.values = torch.full((len(like), count), -torch.inf, dtype=torch.float64)  # times the sign
        self.vectors = like.new_zeros(len(like), count, like.shape[1])
        self.residuals = torch.full((len(like), count), torch.inf, dtype=torch.float64)

    def outermost(self, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The same number of Ritz values, times the sign, in falling order, and their vectors [K, j, count]."""
        signed = (self.sign * values).nan_to_num(nan=-torch.inf)
        best, places = signed.topk(min(self.count, values.shape[1]), dim=1)
        return best, vectors.gather(2, places[:, None].expand(-1, vectors.shape[1], -1))

    def settled(self, lanczos: Lanczos) -> Tensor:
        """[K] whether a run has found all that it can add to this end."""
        values, vectors = lanczos.ritz()
        best, of_best = self.outermost(values, vectors)
        residuals = lanczos.beside[:, -1:] * of_best[:, -1].abs()
        scale = values.abs().nan_to_num(nan=0.0).amax(1, keepdim=True)
        good = residuals <= self.tolerance * best.abs().maximum(_SMALL * scale)
        last = self.values[:, -1]
        if not self.runs:
            return good.all(1) & (best.shape[1] == self.count)
        # From a random start, Lanczos misses the largest eigenvalue by more than this share of its distance to the
        # other end with no larger probability than this (Kuczynski and Wozniakowski 1992, section 4).
        other = (self.sign * values).nan_to_num(nan=torch.inf).amin(1)
        share = ((last - best[:, 0]) / (last - other)).clamp(0, 1).nan_to_num(nan=0.0)
        missed = torch.exp(-share.sqrt() * (2 * lanczos.steps - 1)) * (1.648 * math.sqrt(self.vectors.shape[2]))
        return good[:, 0] | (missed <= _MISSED)

    def take(self, lanczos: Lanczos, sizes: Tensor, rows: Tensor) -> Tensor:
        """Add what a run has found for these rows; whether that is news, [K]."""
        self.runs += 1
        if not self.count:
            return torch.zeros(len(rows), dtype=torch.bool)
        best, of_best = self.outermost(*lanczos.ritz(sizes))
        last = self.values[:, -1]
        news = rows & (best[:, 0] > torch.where(last.isfinite(), last + self.tolerance * last.abs(), last))
        vectors = self.vectors.new_zeros(len(rows), best.shape[1], self.vectors.shape[2])
        for k, size in enumerate(sizes.tolist()):  # how a sum is rounded depends on its length: on a model's own alone
            vectors[k] = of_best[k, :size].mT.to(vectors) @ lanczos.basis[k, :size]
        both = torch.cat([self.values, torch.where(rows[:, None], best, -torch.inf)], 1)
        self.values, places = both.topk(self.count, dim=1)
        places = places[:, :, None].to(vectors.device).expand(-1, -1, vectors.shape[2])
        self.vectors = torch.cat([self.vectors, vectors], 1).gather(1, places)
        return news

    def check(self, product: Product) -> None:
        """Residuals by products of their own, and the Rayleigh quotients as values."""
        for i in range(self.count):
            v = self.vectors[:, i]
            length = v.norm(dim=1, keepdim=True)
            v = torch.where(length > 0, v / length, 0)
            w = product(v)
            quotient = (v * w).sum(1, keepdim=True)
            self.vectors[:, i] = v
            self.residuals[:, i] = (w - quotient * v).norm(dim=1).double().cpu()
            self.values[:, i] = torch.where(length > 0, self.sign * quotient, torch.nan)[:, 0].double().cpu()

    def padded(self, count: int) -> Eigenpairs:
        """The outermost first; nan where there are fewer eigenvalues."""
        order = self.values.nan_to_num(nan=-torch.inf).argsort(dim=1, descending=True, stable=True)
        values, residuals = (self.sign * self.values).gather(1, order), self.residuals.gather(1, order)
        vectors = self.vectors.gather(1, order.to(self.vectors.device)[:, :, None].expand_as(self.vectors))
        more = count - self.count
        pad = torch.nn.functional.pad
        return Eigenpairs(
            pad(values, (0, more), value=torch.nan),
            pad(vectors, (0, 0, 0, more)),
            pad(residuals, (0, more), value=torch.nan),
        )


def _run(lanczos: Lanczos, ends: Sequence[_End], room: Tensor, rows: Tensor) -> tuple[Lanczos, Tensor]:
    """Steps until each of the rows has settled or used up its room, and after how many each did, [K]."""
    stopped = torch.where(rows, 0, -1)
    look = 4
    while bool((stopped == 0).any()):
        lanczos.step()
        ending = ~lanczos.alive | (lanczos.sizes >= room)
        if lanczos.steps >= look:
            look += max(1, look // 5)  # a decomposition costs as much as a product of small networks
            ending |= torch.stack([end.settled(lanczos) for end in ends if end.count]).all(0)
        stopped = torch.where((stopped == 0) & ending, lanczos.sizes, stopped)
    return lanczos, stopped.clamp(min=0)
