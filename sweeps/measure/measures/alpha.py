"""Alpha: how heavy the tails of the spectra of a network's layers are."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.measure.layers import matrices_of
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Alpha", "tail"]


class Alpha(AloneMeasure):
    """`alpha`: exponent of a power law fitted to the tail of the eigenvalues of W'W, layer by layer.

    As in arXiv 1901.08276: density proportional to x^-alpha from x_min on, alpha by maximum likelihood, x_min such that
    the Kolmogorov-Smirnov distance is smallest (arXiv 0706.1062). Layers are all tensors of two or more dimensions, as
    matrices [outputs, inputs]; those with too few eigenvalues are left out. Small layers say little: the standard error
    of alpha is (alpha - 1) over the root of the eigenvalues in the tail.
    """

    measure: Literal["alpha"] = "alpha"
    eigenvalues: int = Field(16, ge=4, description="least number of non-zero eigenvalues of a layer")
    in_tail: int = Field(8, ge=3, description="least number of eigenvalues in the tail")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("alpha", "exponent of the tail of the layers' spectra, mean over the layers"),
            Column("alpha_weighted", "mean over the layers of alpha times log10 of the largest eigenvalue"),
            Column("alpha_lowest", "exponent of the layer whose tail is heaviest"),
            Column("alpha_distance", "Kolmogorov-Smirnov distance of tail and power law, mean over the layers"),
            Column("alpha_layers", "layers with enough eigenvalues", type="int"),
        )

    def evaluators(self) -> tuple[str, ...]:
        return ()

    def of_one(self, subject: Subject) -> Measured:
        spectra = [
            spectrum
            for matrix in matrices_of(subject.models[0]).values()
            if len(spectrum := _eigenvalues(matrix)) >= max(self.eigenvalues, self.in_tail)
        ]
        tails = [tail(s, self.in_tail) for s in spectra]
        alphas, distances = np.array([t[0] for t in tails]), np.array([t[2] for t in tails])
        tops = np.array([math.log10(s[-1]) for s in spectra])
        values = {
            "alpha": float(alphas.mean()) if tails else None,
            "alpha_weighted": float((alphas * tops).mean()) if tails else None,
            "alpha_lowest": float(alphas.min()) if tails else None,
            "alpha_distance": float(distances.mean()) if tails else None,
            "alpha_layers": len(tails),
        }
        return Measured(values, {"alpha_along_layers": alphas.tolist(), "alpha_tail_starts": [t[1] for t in tails]})


def _eigenvalues(matrix: Floats) -> Floats:
    """Squares of the singular values above rounding, in rising order."""
    values = np.linalg.svd(matrix, compute_uv=False)
    tiny = values.max(initial=0) * max(matrix.shape) * np.finfo(np.float32).eps  # weights are stored so, or shorter
    rising: Floats = np.sort(values[values > tiny]) ** 2
    return rising


def tail(values: Floats, least: int) -> tuple[float, float, float]:
    """Exponent, beginning and Kolmogorov-Smirnov distance of the power law that fits the tail of positive numbers best.

    Args:
        values: [n], in rising order.
        least: numbers in the tail, at least.
    """
    best = (math.nan, math.nan, math.inf)
    for start in range(len(values) - least + 1):
        x = values[start:]
        logs = np.log(x / x[0])
        if not logs.sum() > 0:
            continue  # all alike: no exponent
        alpha = 1 + len(x) / float(logs.sum())
        expected = 1 - np.exp((1 - alpha) * logs)
        steps = np.arange(len(x) + 1) / len(x)
        distance = float(max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))
        if distance < best[2]:
            best = (alpha, float(x[0]), distance)
    return best
