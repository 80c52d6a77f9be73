"""The power-law random-feature model itself: drawn, its expected learning curve in closed form, and its SGD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats

__all__ = ["Model", "draw_model"]


@dataclass(frozen=True, slots=True)
class Model:
    """One draw of the model (Maloney et al., arXiv 2210.16859; Paquette et al., arXiv 2405.15074).

    Inputs x have v independent normal components of standard deviation j^-alpha, the target is sum_j j^-beta x_j, the
    model is theta^T W^T x with a fixed random W [v, d]. The loss is the squared error, not halved.

    Attributes:
        features: W with rows scaled by j^-alpha: maps a standard normal input to features [v, d].
        target: coefficients of the target on a standard normal input [v].
        eigenvalues: of the covariance of the features [d].
        start: squared error of theta = 0 along each of its eigenvectors [d].
        floor: the lowest loss of any theta.
    """

    features: Floats
    target: Floats
    eigenvalues: Floats
    start: Floats
    floor: float

    @property
    def largest_rate(self) -> float:
        """The learning rate, with batch 1, above which the loss of SGD does not converge, is below this: 1 / trace."""
        return float(1 / self.eigenvalues.sum())

    def forcing(self, steps: Floats, rate: float, batch: int = 1) -> Floats:
        """Expected loss [m] after steps [m] without the noise of the gradient: floor, learned and embedded parts."""
        decay = self._decay(rate, batch)
        return np.asarray(self.floor + (self.start * decay ** steps[:, None]).sum(1))

    def kernel(self, steps: Floats, rate: float, batch: int = 1) -> Floats:
        """What noise of size 1 in one step's loss adds to the expected loss [m], by how many steps [m] later."""
        noise = rate**2 * batch * self.eigenvalues**2
        return np.asarray((noise * self._decay(rate, batch) ** steps[:, None]).sum(1))

    def curve(self, steps: int, rate: float, batch: int = 1) -> Floats:
        """Expected loss [steps + 1] of one-pass SGD before each step and after the last, over the draws of the data.

        For normal inputs the squared errors m_j along the eigenvectors obey a closed recursion, with P the loss:
        m_j' = m_j (1 - 2 g b l_j + g^2 b (b + 1) l_j^2) + g^2 b l_j^2 P  in units of the loss, g the rate, b the batch.

        Raises:
            UsageError: the rate is so large that the loss grows without bound.
        """
        decay, noise = self._decay(rate, batch), rate**2 * batch * self.eigenvalues**2
        if (decay >= 1).any() or (noise / (1 - decay)).sum() >= 1:
            raise UsageError(f"rate {rate:g}: SGD diverges; take less than about {self.largest_rate:.3g}")
        errors, losses = self.start.copy(), np.empty(steps + 1)
        for t in range(steps + 1):
            losses[t] = self.floor + errors.sum()
            errors = errors * decay + noise * losses[t]
        return losses

    def train(self, steps: int, rate: float, runs: int, seed: int, batch: int = 1) -> Floats:
        """Population loss [runs, steps + 1] of independent runs of one-pass SGD from theta = 0."""
        random = np.random.default_rng(seed)
        theta = np.zeros((runs, self.features.shape[1]))
        losses = np.empty((runs, steps + 1))
        for t in range(steps + 1):
            losses[:, t] = ((theta @ self.features.T - self.target) ** 2).sum(1)
            inputs = random.standard_normal((runs, batch, len(self.target)))
            seen = inputs @ self.features
            errors = np.einsum("rbd,rd->rb", seen, theta) - inputs @ self.target
            theta = theta - rate * np.einsum("rb,rbd->rd", errors, seen)
        return losses

    def _decay(self, rate: float, batch: int) -> Floats:
        scaled = rate * self.eigenvalues
        return np.asarray(1 - 2 * batch * scaled + batch * (batch + 1) * scaled**2)


def draw_model(alpha: float, beta: float, size: int, ambient: int, seed: int = 0) -> Model:
    """Draw a model.

    Args:
        alpha: decay of the data.
        beta: decay of the target.
        size: features d.
        ambient: components v of the input; v > d, some times as large, else the floor is too low.
        seed: of the features, which are normal with variance 1 / d.

    Raises:
        UsageError: there are not more components than features.
    """
    if not 0 < size < ambient:
        raise UsageError(f"{size} features of {ambient} components: give 0 < features < components")
    index = np.arange(1, ambient + 1, dtype=np.float64)
    mixing = np.random.default_rng(seed).standard_normal((ambient, size)) / np.sqrt(size)
    features = index[:, None] ** -alpha * mixing
    target = index ** -(alpha + beta)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    along = left.T @ target
    outside = target - left @ along
    return Model(features, target, singular**2, along**2, float(outside @ outside))
