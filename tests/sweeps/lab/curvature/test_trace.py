"""Traces, diagonals and densities against whole matrices and the variance that is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from landsweep.sweeps.lab.curvature import Objective, densities, hutch_plus_plus, hutchinson, product_with, xtrace
from landsweep.sweeps.lab.losses import LOSSES
from tests.support.curvature import CASES, dense


def matrices(k: int = 3, p: int = 40) -> Tensor:
    a = torch.randn(k, p, p, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (a + a.mT) / 2 + torch.eye(p)


def generators(k: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(100 * seed + i) for i in range(k)]


def test_the_variance_of_a_probe_is_the_formula() -> None:
    """2 (|A|_F^2 - sum of the squared diagonal); and every estimate is that of the matrix, within its error."""
    a = matrices()
    given = hutchinson(lambda v: (a @ v[:, :, None])[:, :, 0], torch.zeros(3, 40).double(), generators(3), 2000, 0.0)
    diagonal = a.diagonal(dim1=1, dim2=2)
    frobenius = a.square().sum((1, 2))
    variance = 2 * (frobenius - diagonal.square().sum(1))
    torch.testing.assert_close(given.error.square() * 2000, variance, rtol=0.15, atol=0)
    assert ((given.trace - diagonal.sum(1)).abs() < 4 * given.error).all()
    torch.testing.assert_close(given.frobenius, frobenius.sqrt(), rtol=0.02, atol=0)
    torch.testing.assert_close(given.diagonal, diagonal.square().sum(1).sqrt(), rtol=0.05, atol=0)


def test_of_a_diagonal_matrix_each_probe_gives_all() -> None:
    d = torch.linspace(-1, 4, 30, dtype=torch.float64)
    given = hutchinson(lambda v: v * d, torch.zeros(2, 30).double(), generators(2), 100, 0.01)
    torch.testing.assert_close(given.trace, d.sum().expand(2))
    torch.testing.assert_close(given.diagonal, d.norm().expand(2))
    torch.testing.assert_close(given.frobenius, d.norm().expand(2))
    assert given.products.tolist() == [10, 10] and (given.error < 1e-12).all()


def test_each_matrix_stops_by_its_own_standard_error() -> None:
    a = matrices()
    a[1] = torch.diag(torch.linspace(1, 2, 40))
    a[2] *= math.nan
    like = torch.zeros(3, 40).double()
    given = hutchinson(lambda v: (a @ v[:, :, None])[:, :, 0], like, generators(3), 400, 0.2)
    assert given.products[1] == given.products[2] == 10 < given.products[0] < 400
    assert given.error[0] <= 0.2 * given.trace[0].abs() and given.trace[2].isnan()
    alone = hutchinson(lambda v: (a[:1] @ v[:, :, None])[:, :, 0], like[:1], generators(1), 400, 0.2)
    assert alone.trace[0] == pytest.approx(float(given.trace[0]), rel=1e-12)
    assert alone.products[0] == given.products[0]


def test_hutch_plus_plus_is_exact_on_low_rank_and_better_than_probes_alone() -> None:
    g = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(200, 5, generator=g, dtype=torch.float64))[0]
    a = q @ torch.diag(torch.tensor([100.0, 50, 20, 10, -5]).double()) @ q.T
    given = hutch_plus_plus(lambda v: v @ a, torch.zeros(2, 200).double(), generators(2), 30)
    torch.testing.assert_close(given.trace, a.trace().expand(2), rtol=1e-10, atol=0)
    assert given.products.tolist() == [30, 30]
    noisy = a + 0.01 * torch.diag(torch.randn(200, generator=g, dtype=torch.float64))
    off: dict[str, list[Tensor]] = {"plus": [], "plain": []}
    for seed in range(20):
        like = torch.zeros(1, 200).double()
        off["plus"].append(hutch_plus_plus(lambda v: v @ noisy, like, generators(1, seed), 30).trace - noisy.trace())
        off["plain"].append(hutchinson(lambda v: v @ noisy, like, generators(1, seed), 30, 0.0).trace - noisy.trace())
    assert 10 * torch.cat(off["plus"]).std() < torch.cat(off["plain"]).std()


@pytest.mark.parametrize("products", [14, 15, 40, 400])
def test_xtrace_is_exact_on_low_rank_and_on_small_matrices(products: int) -> None:
    g = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(60, 5, generator=g, dtype=torch.float64))[0]
    a = q @ torch.diag(torch.tensor([100.0, 50, 20, 10, -5]).double()) @ q.T
    given = xtrace(lambda v: v @ a, torch.zeros(2, 60).double(), generators(2), products)
    torch.testing.assert_close(given.trace, a.trace().expand(2), rtol=1e-10, atol=0)
    assert given.products.tolist() == [min(2 * (products // 2), 120)] * 2 and (given.error < 1e-9).all()
    whole = matrices(2, 12)
    given = xtrace(lambda v: (whole @ v[:, :, None])[:, :, 0], torch.zeros(2, 12).double(), generators(2), 24)
    torch.testing.assert_close(given.trace, whole.diagonal(dim1=1, dim2=2).sum(1), rtol=1e-9, atol=0)


@pytest.mark.parametrize("scale", [0.0, math.nan])
def test_xtrace_of_nothing_is_nothing_and_nan_stays_with_its_matrix(scale: float) -> None:
    a = matrices()
    a[1] *= scale
    given = xtrace(lambda v: (a @ v[:, :, None])[:, :, 0], torch.zeros(3, 40).double(), generators(3), 20)
    assert given.trace[1].isnan() if scale else given.trace[1] == 0
    for k in (0, 2):
        alone = xtrace(lambda v, k=k: v @ a[k], torch.zeros(1, 40).double(), generators(3)[k : k + 1], 20)
        assert alone.trace[0] == pytest.approx(float(given.trace[k]), rel=1e-9)
        assert abs(given.trace[k] - a[k].trace()) < 4 * given.error[k]


def test_xtrace_needs_fewer_products_than_hutch_plus_plus_where_eigenvalues_decay() -> None:
    """A mean over draws is the trace; the standard error is a little less than the spread over draws."""
    values = 0.9 ** torch.arange(200, dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(200, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    a = q @ torch.diag(values) @ q.T
    like = torch.zeros(100, 200).double()
    x, plus = (f(lambda v: v @ a, like, generators(100), 60) for f in (xtrace, hutch_plus_plus))
    off_x, off_plus = x.trace - values.sum(), plus.trace - values.sum()
    assert 1.5 * off_x.square().mean().sqrt() < off_plus.square().mean().sqrt()
    assert off_x.mean().abs() < 4 * off_x.std() / 10
    assert 0.55 < x.error.square().mean().sqrt() / off_x.std() < 1.1


@pytest.mark.parametrize("name", ["mlp", "cnn_batch_norm", "gpt"])
def test_of_networks_trace_and_density_are_those_of_the_whole_hessian(name: str) -> None:
    case = CASES[name]
    given = Objective.of([case.module(s) for s in range(2)], case.inputs, case.targets, LOSSES[case.loss], 10)
    product = product_with("hessian", given)
    traces = hutchinson(product, given.weights, generators(2), 60, 0.0)
    crossed = xtrace(product, given.weights, generators(2), 60)
    spectra = densities(product, given.weights, generators(2), 30, 6)
    for k, density in enumerate(spectra):
        whole = dense(case, case.module(k))
        p = len(whole)
        assert abs(traces.trace[k] - whole.trace()) < 4 * traces.error[k]
        assert abs(crossed.trace[k] - whole.trace()) < 4 * crossed.error[k] + 1e-9
        for power, wanted in ((0, torch.tensor(1.0)), (1, whole.trace() / p), (2, whole.square().sum() / p)):
            each = density.moments(power)
            assert abs(each.mean() - wanted) < 6 * each.std() / len(each) ** 0.5 + 1e-9
        values = torch.linalg.eigvalsh(whole)
        outermost = torch.stack([x[-1] for x in density.nodes])
        torch.testing.assert_close(outermost, values[-1].expand(6), rtol=1e-6, atol=0)
        near = (density.nodes[0][:, None] - values).abs().min(1).values
        assert (near <= density.residuals[0] + 1e-9).all()


def test_a_density_of_few_distinct_eigenvalues_is_exact_and_stops() -> None:
    d = torch.tensor([0.0] * 30 + [2.0] * 10).double()
    (given,) = densities(lambda v: v * d, torch.zeros(1, 40).double(), generators(1), 20, 3)
    for nodes, weights in zip(given.nodes, given.weights, strict=True):
        torch.testing.assert_close(nodes, torch.tensor([0.0, 2.0]).double(), rtol=0, atol=1e-12)
        torch.testing.assert_close(weights, torch.tensor([0.75, 0.25]).double())
