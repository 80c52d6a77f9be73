"""Curvature of losses in weight space, exact and of K models at once: products, eigenvalues, traces, densities."""

from __future__ import annotations

from landsweep.sweeps.lab.curvature.ascent import Norm, ascend
from landsweep.sweeps.lab.curvature.density import Density, densities
from landsweep.sweeps.lab.curvature.derivatives import check_derivatives
from landsweep.sweeps.lab.curvature.eigenpairs import Eigenpairs, eigenpairs
from landsweep.sweeps.lab.curvature.eigenvectors import Eigenvector, top_eigenvectors
from landsweep.sweeps.lab.curvature.lanczos import Lanczos
from landsweep.sweeps.lab.curvature.objective import Objective, differentiating
from landsweep.sweeps.lab.curvature.products import Matrix, Product, check_matrix, product_with
from landsweep.sweeps.lab.curvature.stacking import models_at_once, stands_for
from landsweep.sweeps.lab.curvature.third import third_derivative
from landsweep.sweeps.lab.curvature.trace import Traces, hutch_plus_plus, hutchinson, signs, xtrace

__all__ = [
    "Density",
    "Eigenpairs",
    "Eigenvector",
    "Lanczos",
    "Matrix",
    "Norm",
    "Objective",
    "Product",
    "Traces",
    "ascend",
    "check_derivatives",
    "check_matrix",
    "densities",
    "differentiating",
    "eigenpairs",
    "hutch_plus_plus",
    "hutchinson",
    "models_at_once",
    "product_with",
    "signs",
    "stands_for",
    "third_derivative",
    "top_eigenvectors",
    "xtrace",
]
