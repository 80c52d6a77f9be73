"""The Lanczos method for K symmetric matrices at once, each with full re-orthogonalisation and a stop of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.curvature.products import Product

__all__ = ["Lanczos"]

_ASYMMETRIC = 1e-3  # of the largest product; rounding in float32 is below 1e-5


class Lanczos:
    """K Lanczos processes side by side, from `start`, in the complement of `against`.

    Attributes:
        diagonal: [K, j] of the tridiagonal matrices, in float64 on the CPU.
        beside: [K, j] beside the diagonal; the last is the norm of what is left after the last product.
        sizes: [K] size of each tridiagonal matrix: j, or less where the space was exhausted before.
        steps: j, products so far.

    Args:
        product: with the matrices.
        start: [K, P], any length.
        against: each [K, q, P], orthonormal or zero.
    """

    def __init__(self, product: Product, start: Tensor, against: Sequence[Tensor] = ()) -> None:
        self._product, self._against = product, against
        k = len(start)
        self.diagonal = torch.zeros(k, 0, dtype=torch.float64)
        self.beside = torch.zeros(k, 0, dtype=torch.float64)
        self.sizes = torch.zeros(k, dtype=torch.int64)
        self.steps = 0
        self._scale = torch.zeros(k, dtype=torch.float64)
        self._basis = start.new_zeros(k, 16, start.shape[1])
        start = self._apart(start)
        self._basis[:, 0] = start / start.norm(dim=1, keepdim=True)
        self._alive = torch.ones(k, dtype=torch.bool)

    @property
    def basis(self) -> Tensor:
        """Orthonormal vectors [K, j, P]; zero beyond a model's size."""
        return self._basis[:, : self.steps]

    @property
    def alive(self) -> Tensor:
        """[K] whether the space was not exhausted yet."""
        return self._alive

    @torch.no_grad()
    def step(self) -> Tensor:
        """One product for each matrix, [K, P].

        Raises:
            SpecError: the matrices are not symmetric, so they are no Hessians.
        """
        j = self.steps
        v = self._basis[:, j]
        given = w = self._product(v)
        along = (w * v).sum(1).double().cpu()
        self._scale = self._scale.maximum(w.norm(dim=1).double().cpu())
        if j:  # in exact arithmetic this product is the norm of the step before
            apart = ((w * self._basis[:, j - 1]).sum(1).double().cpu() - self.beside[:, j - 1]).abs()
            if bool((self._alive & (apart > _ASYMMETRIC * self._scale)).any()):
                raise SpecError(
                    "second derivatives of this network depend on their order, so they are wrong: an operation in it "
                    "has no right derivative of its gradient (torch's weight_norm, a hook that changes gradients); "
                    "leave this out"
                )
        self.steps, self.sizes = j + 1, self.sizes + self._alive
        w = self._apart(w)
        norms = w.norm(dim=1)
        beside = norms.double().cpu()
        tiny = 100 * torch.finfo(w.dtype).eps * self._scale
        self.diagonal = torch.cat([self.diagonal, torch.where(self._alive, along, 0)[:, None]], 1)
        self._alive = self._alive & (beside > tiny) & (self.sizes < w.shape[1])
        self.beside = torch.cat([self.beside, torch.where(self._alive, beside, 0)[:, None]], 1)
        if self.steps == self._basis.shape[1]:
            self._basis = torch.cat([self._basis, torch.zeros_like(self._basis)], 1)
        going = self._alive.to(w.device)[:, None]
        self._basis[:, self.steps] = torch.where(going, w / norms[:, None], 0)
        return given

    def ritz(self, sizes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Eigenvalues of the tridiagonal matrices, [K, j] in rising order, and eigenvectors in columns, [K, j, j].

        Values beyond a model's size are nan, and vectors 0; all values are nan where an entry is not finite.

        Args:
            sizes: [K] of the leading blocks that are looked at; none: whole.
        """
        sizes = self.sizes if sizes is None else sizes
        k, j = self.diagonal.shape
        values = torch.full((k, j), torch.nan, dtype=torch.float64)
        vectors = torch.zeros(k, j, j, dtype=torch.float64)
        for size in {int(n) for n in sizes} - {0}:
            rows = (sizes == size).nonzero()[:, 0]
            diagonal, beside = self.diagonal[rows, :size], self.beside[rows, : size - 1]
            matrices = torch.diag_embed(diagonal) + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
            bad = ~matrices.isfinite().flatten(1).all(1)
            each, of_each = torch.linalg.eigh(torch.where(bad[:, None, None], 0, matrices))
            values[rows, :size] = each.where(~bad[:, None], torch.nan)
            vectors[rows, :size, :size] = of_each
        return values, vectors

    def _apart(self, w: Tensor) -> Tensor:
        """What of vectors [K, P] is orthogonal to all before."""
        for _ in range(2):  # twice is enough (Parlett 1998, section 6.9)
            for basis in (*self._against, self.basis):
                if basis.shape[1]:
                    w = w - torch.bmm(torch.bmm(w[:, None], basis.mT), basis)[:, 0]
        return w
