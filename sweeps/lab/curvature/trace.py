"""Traces and diagonals of K symmetric matrices by random probes, each with a standard error and a stop of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landsweep.sweeps.lab.curvature.products import Product

__all__ = ["Traces", "hutch_plus_plus", "hutchinson", "signs", "xtrace"]

_LEAST = 10  # probes, of which a standard error can be taken


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """What random probes say of K matrices [P, P], in float64; nan where it is not known.

    Attributes:
        trace: [K].
        error: [K], its standard error.
        frobenius: [K], square root of an unbiased estimate of the sum of all squared entries.
        diagonal: [K], square root of an unbiased estimate of the sum of the squared diagonal; 0 where that is negative.
        products: [K], how many each took.
    """

    trace: Tensor
    error: Tensor
    frobenius: Tensor
    diagonal: Tensor
    products: Tensor


def signs(generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Random signs [K, P], of the shape, type and device of `like`; from one generator on the CPU for each row."""
    rows = [torch.randint(0, 2, like.shape[1:], generator=g, dtype=torch.int8) for g in generators]
    return (2 * torch.stack(rows) - 1).to(like)


@torch.no_grad()
def hutchinson(
    product: Product, like: Tensor, generators: Sequence[torch.Generator], probes: int, tolerance: float
) -> Traces:
    """The mean of z'Az over vectors z of random signs, whose variance is 2(|A|_F^2 - sum of the squared diagonal).

    Args:
        product: with the matrices.
        like: [K, P]; for shape, type and device.
        generators: one for each matrix.
        probes: most of them, at least 2.
        tolerance: a matrix stops, after at least 10 probes, when the standard error is no more than this share of the
            trace: never by the change of the running mean, which becomes small whatever the error is.
    """
    k = len(like)
    a, b, c, d = torch.full((4, k), torch.nan, dtype=torch.float64)
    traces = Traces(a, b, c, d, torch.zeros(k, dtype=torch.int64))
    mean, spread, squares, own = torch.zeros(4, k, dtype=torch.float64)
    total = torch.zeros_like(like)
    open_ = torch.ones(k, dtype=torch.bool)
    for n in range(1, probes + 1):
        z = signs(generators, like)
        w = product(z)
        value = (z * w).sum(1).double().cpu()
        before, mean = mean, mean + (value - mean) / n
        spread = spread + (value - before) * (value - mean)
        squares = squares + w.square().sum(1).double().cpu()
        total += z * w
        own = own + (z * w).square().sum(1).double().cpu()
        if n > 1:
            error = (spread / (n - 1) / n).sqrt()
            cross = (total.square().sum(1).double().cpu() - own) / (n * (n - 1))  # of different probes alone
            now = (mean, error, (squares / n).sqrt(), cross.clamp(min=0).sqrt())
            for known, each in zip((traces.trace, traces.error, traces.frobenius, traces.diagonal), now, strict=True):
                known[open_] = each[open_]
            traces.products[open_] = n
            if n >= _LEAST:
                open_ &= mean.isfinite() & (error > tolerance * mean.abs())
            if not bool(open_.any()):
                break
    return traces


@torch.no_grad()
def hutch_plus_plus(product: Product, like: Tensor, generators: Sequence[torch.Generator], products: int) -> Traces:
    """Hutch++ (Meyer et al. 2021): the trace on a random subspace is exact, the rest is that of `hutchinson`.

    A third of the products find the subspace, a third are its trace, a third are probes in its complement; the standard
    error is that of these, and the subspace is a constant in it.

    Args:
        product: with the matrices.
        like: [K, P].
        generators: one for each matrix.
        products: in all, at least 6.
    """
    k, p = like.shape
    third = min(products // 3, p)
    sketch = torch.stack([product(signs(generators, like)) for _ in range(third)], 2)
    bad = ~sketch.isfinite().flatten(1).all(1)
    q, _ = torch.linalg.qr(torch.where(bad[:, None, None], torch.ones_like(sketch), sketch))  # [K, P, third]
    exact = torch.zeros(k, dtype=torch.float64)
    for i in range(third):
        exact += (q[:, :, i] * product(q[:, :, i].contiguous())).sum(1).double().cpu()
    values = []
    for _ in range(products - 2 * third):
        z = signs(generators, like)
        z = z - torch.bmm(q, torch.bmm(q.mT, z[:, :, None]))[:, :, 0]
        values.append((z * product(z)).sum(1).double().cpu())
    each = torch.stack(values)
    unknown = torch.full((k,), torch.nan, dtype=torch.float64)
    count = torch.full((k,), products, dtype=torch.int64)
    return Traces(exact + each.mean(0), each.std(0) / len(values) ** 0.5, unknown, unknown, count)


@torch.no_grad()
def xtrace(product: Product, like: Tensor, generators: Sequence[torch.Generator], products: int) -> Traces:
    """XTrace (arXiv 2301.07825): each probe is also part of the sketch of all other probes, so none is spent twice.

    Half of the products find a subspace; probe i is judged in the complement of the subspace of the others, whose trace
    is exact. The mean over i does not depend on the order of the probes, which are uniform on a sphere. The standard
    error is the paper's, which takes the estimates as independent: it may be low by a third.

    Args:
        product: with the matrices.
        like: [K, P].
        generators: one for each matrix.
        products: in all, at least 4; an odd one is left out.
    """
    k, p = like.shape
    half = min(products // 2, p)
    probes = torch.stack([_spheres(generators, like) for _ in range(half)], 1)  # [K, half, P]
    sketch = torch.stack([product(probes[:, i].contiguous()) for i in range(half)], 1)
    bases = [_basis(rows.clone()) for rows in sketch]  # each alone and aligned: its bits don't depend on the others
    q = torch.stack([basis for basis, _ in bases])
    times_q = torch.stack([product(q[:, i].contiguous()) for i in range(half)], 1)
    each = [
        _crossed(probes[i].clone(), sketch[i].clone(), q[i].clone(), times_q[i].clone(), left_out)
        for i, (_, left_out) in enumerate(bases)
    ]
    mean, error = (torch.stack(values) for values in zip(*((e.mean(), e.std() / half**0.5) for e in each), strict=True))
    unknown = torch.full((k,), torch.nan, dtype=torch.float64)
    return Traces(mean, error, unknown, unknown, torch.full((k,), 2 * half, dtype=torch.int64))


def _basis(sketch: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal rows [n, P] that span the rows of a sketch [n, P]; and the unit vectors [n, n] of `_left_out`."""
    finite = sketch if bool(sketch.isfinite().all()) else torch.ones_like(sketch)
    q, r = torch.linalg.qr(finite.T)
    return q.T, _left_out(r.double()).to(sketch)


def _crossed(probes: Tensor, sketch: Tensor, q: Tensor, times_q: Tensor, left_out: Tensor) -> Tensor:
    """The estimate [n] of each probe, in float64, of one matrix; all given are [n, P], but `left_out` [n, n]."""
    n, p = probes.shape
    inner = q @ times_q.T
    exact = inner.diagonal().sum() - (left_out * (inner @ left_out)).sum(0)
    inside = q @ probes.T
    inside -= left_out * (left_out * inside).sum(0)
    outside = probes - inside.T @ q
    rest = (outside * (sketch - inside.T @ times_q)).sum(1) * (p - n + 1) / outside.square().sum(1)
    estimates: Tensor = (exact + rest).double().cpu()
    return estimates


def _spheres(generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Random vectors [K, P] of length sqrt(P), from one generator on the CPU for each row."""
    rows = torch.stack([torch.randn(like.shape[1:], generator=g, dtype=torch.float64) for g in generators])
    scaled: Tensor = rows * (like.shape[1] ** 0.5 / rows.norm(dim=1, keepdim=True))
    return scaled.to(like)


def _left_out(r: Tensor) -> Tensor:
    """Unit vectors [n, n], of which column i is orthogonal to all columns of the triangular r but the i-th.

    Where r is singular its diagonal is raised to what rounding leaves: those columns add nothing that matters.
    """
    diagonal = r.diagonal()
    least = torch.finfo(r.dtype).eps * diagonal.abs().max()
    least = torch.where(least > 0, least, 1.0)
    inverse = torch.linalg.inv(torch.triu(r, 1) + torch.where(diagonal.abs() < least, least, diagonal).diag()).T
    units: Tensor = inverse / inverse.norm(dim=0)
    return units
