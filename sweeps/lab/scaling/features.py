"""The random-feature family: linear regression on random features of data with power-law spectrum and target."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from orchestrator.spec import Model
from sweeps.lab.streams import stream

__all__ = ["Features", "Spectrum"]

Floats = NDArray[np.float64]


class Features(Model):
    """One-pass SGD on the solvable model of arXiv 2405.15074; its expected risk is computed exactly, no data is drawn.

    Inputs have `ambient` independent Gaussian coordinates of deviation j^-alpha; the target is their sum with weights
    j^-beta; the features are d random projections of the inputs. The risk is the mean squared error.
    """

    alpha: float = Field(1.0, gt=0.25, description="exponent of the data: coordinate j has deviation j^-alpha")
    beta: float = Field(0.3, ge=0, description="exponent of the target: coordinate j has weight j^-beta")
    ambient: int = Field(2048, ge=2, description="coordinates of the data; more than every width")
    batch: int = Field(1, ge=1, description="samples in a step")
    rate: float = Field(0.5, gt=0, lt=1, description="learning rate, in units of 1 / trace of the features' covariance")

    def spectrum(self, width: int, seed: int) -> Spectrum:
        """The problem with so many random features, in the eigenbasis of their covariance."""
        rank = np.arange(1, self.ambient + 1, dtype=np.float64)
        variance, target = rank ** (-2 * self.alpha), rank**-self.beta
        source = np.random.Generator(np.random.PCG64(stream(seed, "features")))
        # All widths share the draws of the smaller ones, so that runs that differ in width alone are paired.
        projection = source.standard_normal((width, self.ambient)).T / np.sqrt(width)
        covariance = projection.T @ (variance[:, None] * projection)
        values, vectors = np.linalg.eigh(covariance)
        best = vectors.T @ (projection.T @ (variance * target)) / values
        floor = float(variance @ target**2 - values @ best**2)
        return Spectrum(values, best, max(floor, 0.0), self.batch)


class Spectrum:
    """Least squares in the eigenbasis of the features' covariance.

    Args:
        values: eigenvalues [d].
        best: the best weights [d].
        floor: risk of the best weights.
        batch: samples in a step.
    """

    def __init__(self, values: Floats, best: Floats, floor: float, batch: int) -> None:
        self.values, self.best, self.floor, self.batch = values, best, floor, batch

    def risks(self, rate: float) -> Iterator[float]:
        """Expected risk after 0, 1, 2, ... steps of SGD from zero weights.

        With Gaussian features, m_j the expected squared distance from the best weight along eigenvector j, and P the
        risk, one step with batch B is exactly
        m_j <- m_j (1 - 2 g l_j + g^2 l_j^2 (1 + 1/B)) + g^2 l_j P / B.

        Args:
            rate: in units of 1 / sum of the eigenvalues.
        """
        gamma = rate / self.values.sum()
        shrink = 1 - 2 * gamma * self.values + (gamma * self.values) ** 2 * (1 + 1 / self.batch)
        noise = gamma**2 * self.values / self.batch
        distance = self.best**2
        while True:
            risk = float(self.values @ distance) + self.floor
            yield risk
            distance = distance * shrink + noise * risk
