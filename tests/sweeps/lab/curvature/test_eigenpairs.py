"""Eigenvalues against whole matrices: both ends, copies, exhausted spaces, and each matrix by itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.curvature import Lanczos, Objective, Product, eigenpairs, product_with, top_eigenvectors
from landsweep.sweeps.lab.losses import LOSSES
from tests.support.curvature import CASES, dense


def symmetric(*spectra: Tensor, seed: int = 0) -> Tensor:
    """Matrices [K, P, P] with these eigenvalues."""
    g = torch.Generator().manual_seed(seed)
    p = len(spectra[0])
    q = torch.linalg.qr(torch.randn(len(spectra), p, p, generator=g, dtype=torch.float64))[0]
    return q @ torch.diag_embed(torch.stack(spectra)) @ q.mT


def by(matrices: Tensor) -> Product:
    return lambda v: (matrices.to(v) * v[:, None]).sum(2)


def generators(k: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(k)]


def spectrum(*outer: float, p: int = 120, seed: int = 0) -> Tensor:
    bulk = 0.1 * torch.randn(p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    bulk[: len(outer)] = torch.tensor(outer, dtype=torch.float64)
    return bulk


@pytest.mark.parametrize("seed", range(20))
def test_both_ends_with_their_copies(seed: int) -> None:
    """A Krylov space holds each eigenvalue once; the copies are found by the runs after the first."""
    spectra = [
        spectrum(10, 10, 10, 5, seed=seed),
        spectrum(-20, -20, 3, 2, seed=seed),
        torch.ones(120, dtype=torch.float64),
        torch.zeros(120, dtype=torch.float64),
        spectrum(9, 8, 7, 7, 7, 6, seed=seed),
    ]
    like = torch.zeros(5, 120, dtype=torch.float64)
    top, lowest, used = eigenpairs(by(symmetric(*spectra, seed=seed)), like, generators(5), 4, 2, 120, 1e-6)
    for k, each in enumerate(spectra):
        rising = each.sort().values
        torch.testing.assert_close(top.values[k], rising.flip(0)[:4], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(lowest.values[k], rising[:2], rtol=1e-6, atol=1e-9)
        assert top.residuals[k].max() <= 1e-6 * max(1.0, float(each.abs().max()))
        assert used[k] <= 120
        torch.testing.assert_close(top.vectors[k] @ top.vectors[k].T, torch.eye(4).double(), rtol=0, atol=1e-5)


def test_a_matrix_has_the_numbers_that_it_has_alone() -> None:
    matrices = symmetric(spectrum(10, 5), spectrum(3, 3, 3, -9), torch.zeros(120).double(), spectrum(1))
    like = torch.zeros(4, 120, dtype=torch.float64)
    together = eigenpairs(by(matrices), like, generators(4), 3, 1, 60)
    for k in range(4):
        alone = eigenpairs(by(matrices[k : k + 1]), like[:1], [torch.Generator().manual_seed(k)], 3, 1, 60)
        for of_all, of_one in zip(together[:2], alone[:2], strict=True):
            assert torch.equal(of_all.values[k], of_one.values[0])
            assert torch.equal(of_all.residuals[k], of_one.residuals[0])
        assert together[2][k] == alone[2][0]


def test_what_is_not_finite_stays_with_its_matrix_and_missing_eigenvalues_are_nan() -> None:
    matrices = symmetric(spectrum(2, 1, p=3), spectrum(5, 4, p=3))
    broken = torch.tensor([[math.nan], [1.0]])
    like = torch.zeros(2, 3, dtype=torch.float64)
    top, lowest, used = eigenpairs(lambda v: by(matrices)(v) * broken, like, generators(2), 4, 1, 50)
    assert top.values[0].isnan().all() and lowest.values[0].isnan().all()
    rising = spectrum(5, 4, p=3).sort().values
    torch.testing.assert_close(top.values[1, :3], rising.flip(0))
    assert top.values[1, 3].isnan() and lowest.values[1, 0] == pytest.approx(float(rising[0]))
    assert used[1] <= 50


def test_residuals_say_that_too_few_products_were_allowed() -> None:
    spread = torch.linspace(0, 1, 120, dtype=torch.float64)
    top, _, used = eigenpairs(by(symmetric(spread)), torch.zeros(1, 120).double(), generators(1), 2, 0, 9, 1e-9)
    assert used[0] == 9 and (top.residuals > 1e-3).any()
    assert (top.values - 1).abs().max() <= 0.2 + top.residuals.max()


def test_a_matrix_that_is_not_symmetric_is_refused() -> None:
    matrix = torch.triu(torch.ones(1, 20, 20, dtype=torch.float64))
    with pytest.raises(SpecError, match="second derivatives of this network depend on their order"):
        eigenpairs(by(matrix), torch.zeros(1, 20).double(), generators(1), 1)


def test_a_basis_stays_orthonormal_and_gives_the_matrix_back() -> None:
    matrix = symmetric(spectrum(100, 1e-3, p=40))
    lanczos = Lanczos(by(matrix), torch.randn(1, 40, generator=torch.Generator().manual_seed(0)).double())
    while lanczos.alive.any():
        lanczos.step()
    basis = lanczos.basis[0]
    assert lanczos.sizes[0] == lanczos.steps == 40
    torch.testing.assert_close(basis @ basis.T, torch.eye(40).double(), rtol=0, atol=1e-13)
    torch.testing.assert_close(lanczos.ritz()[0][0], torch.linalg.eigvalsh(matrix[0]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "cnn_batch_norm", "gpt", "linear"])
def test_of_networks_both_ends_are_those_of_the_whole_hessian(name: str) -> None:
    case = CASES[name]
    given = Objective.of([case.module(s) for s in range(3)], case.inputs, case.targets, LOSSES[case.loss], 10)
    top, lowest, _ = eigenpairs(product_with("hessian", given), given.weights, generators(3), 3, 2, 300, 1e-7)
    for k in range(3):
        wanted = torch.linalg.eigvalsh(dense(case, case.module(k)))
        torch.testing.assert_close(top.values[k], wanted.flip(0)[:3], rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(lowest.values[k], wanted[:2], rtol=1e-5, atol=1e-7)


def test_directions_of_one_network() -> None:
    case = CASES["mlp"]
    wanted_values, wanted = torch.linalg.eigh(dense(case, case.module()))
    given = top_eigenvectors(
        case.module(), case.inputs, case.targets, LOSSES[case.loss], 2, batch_size=8, products=200, tolerance=1e-8
    )
    for i, each in enumerate(given):
        row = torch.cat([part.flatten() for part in each.direction.values()])
        assert each.value == pytest.approx(float(wanted_values[-1 - i]), rel=1e-9)
        assert abs(float(row @ wanted[:, -1 - i])) == pytest.approx(1, rel=1e-9)
        assert row[row.abs().argmax()] > 0 and each.residual < 1e-6
        assert {n: p.shape for n, p in each.direction.items()} == {
            n: p.shape for n, p in case.module().named_parameters()
        }
