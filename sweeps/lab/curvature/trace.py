"""Traces and diagonals of K symmetric matrices by random probes, each with a standard error and a stop of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landsweep.sweeps.lab.curvature.products import Product

__all__ = ["Traces", "hutch_plus_plus", "hutchinson", "signs"]

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
