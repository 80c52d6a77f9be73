"""Many fits of one law as one computation: objective, gradient and curvature of a batch of parameter vectors.

Internal coordinates: parameters with `log` enter as their logarithm, all others as they are. All solvers work in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Law, Points
from landsweep.sweeps.laws.fitting.objective import Objective

__all__ = ["BLOCK", "Coordinates", "Problem", "cells", "checked_fixed", "predictions"]

_CHUNK = 80_000  # numbers of one gradient block: it stays in the processor's second cache
BLOCK = 2_000_000  # numbers of a block of predictions
_ROUNDED = 64 * float(np.finfo(np.float64).eps)
_LEAST_LOG, _MOST_LOG = -690.0, 690.0  # beyond them exp leaves the range of a double


def cells(x: Points) -> int:
    """Numbers that one parameter vector makes of prepared inputs: their number of points, or points times drops."""
    return max(1, *(v.size for v in x.values()))


def predictions(law: Law, theta: Floats, x: Points) -> Floats:
    """A law's predictions [S, n], in blocks of parameter vectors, so that no array on the way outgrows them."""
    size = max(1, BLOCK // cells(x))
    if len(theta) <= size:
        return law.predict(theta, x)
    return np.concatenate([law.predict(theta[i : i + size], x) for i in range(0, len(theta), size)])


def checked_fixed(law: Law, fixed: Mapping[str, float]) -> None:
    """See that given parameters exist, lie within their bounds, and leave something to fit.

    Raises:
        UsageError: they do not.
    """
    parameters = {p.name: p for p in law.parameters}
    for name, value in fixed.items():
        if name not in parameters:
            raise UsageError(f"fixed: {law.name} has no parameter {name!r}; it has {', '.join(parameters)}")
        low, high = parameters[name].low, parameters[name].high
        if parameters[name].log and value <= 0:
            raise UsageError(f"fixed: {name} of {law.name} must be above 0; got {value:g}")
        if not np.isfinite(value) or not low <= value <= high:
            raise UsageError(f"fixed: {name} of {law.name} must be a number from {low:g} to {high:g}; got {value:g}")
    if len(fixed) == len(parameters):
        raise UsageError(f"fixed: all parameters of {law.name} are given, so nothing is left to fit; leave one out")


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The map between a law's parameters and internal coordinates.

    Attributes:
        log: which parameters are fitted as logarithms [P].
        low: lower bounds [P] in internal coordinates.
        high: upper bounds [P].
    """

    log: np.ndarray[tuple[int], np.dtype[np.bool_]]
    low: Floats
    high: Floats

    @classmethod
    def of(cls, law: Law) -> Coordinates:
        log = np.array([p.log for p in law.parameters])
        with np.errstate(divide="ignore", invalid="ignore"):
            low = [np.log(max(p.low, 0)) if p.log else p.low for p in law.parameters]
            high = [np.log(p.high) if p.log else p.high for p in law.parameters]
        return cls(
            log, np.where(log, np.maximum(low, _LEAST_LOG), low), np.where(log, np.minimum(high, _MOST_LOG), high)
        )

    def inside(self, theta: Floats) -> Floats:
        """Internal coordinates of parameter vectors [S, P], moved into the bounds."""
        with np.errstate(divide="ignore"):
            phi = np.where(self.log, np.log(np.maximum(theta, 0)), theta)
        return np.clip(phi, self.low, self.high)

    def outside(self, phi: Floats) -> Floats:
        """Parameter vectors [S, P] of internal coordinates."""
        return np.where(self.log, np.exp(np.clip(phi, _LEAST_LOG, _MOST_LOG)), phi)

    def slope(self, theta: Floats) -> Floats:
        """Derivative [S, P] of each parameter by its internal coordinate."""
        return np.where(self.log, theta, 1.0)


@dataclass(frozen=True, slots=True)
class Problem:
    """S fits of one law to the same points, with common or with separate measurements and weights.

    Attributes:
        law: the law.
        x: inputs [n].
        y: measurements [n], or [S, n] where each fit has its own (simulations).
        weights: of the points [n], or [S, n] where each fit has its own (bootstrap counts).
        objective: what is minimised.
        coordinates: maps the law's parameters to internal ones, with bounds.
    """

    law: Law
    x: Points
    y: Floats
    weights: Floats
    objective: Objective
    coordinates: Coordinates

    @property
    def n(self) -> int:
        """Number of points."""
        return int(self.y.shape[-1])

    def smoothed(self, delta: float) -> Problem:
        """The same problem with a larger delta."""
        return replace(self, objective=self.objective.smoothed(delta))

    def residuals(self, phi: Floats) -> Floats:
        """Residuals [S, n] of internal coordinates [S, P], for common measurements."""
        return self.objective.residual(predictions(self.law, self.coordinates.outside(phi), self.x), self.y)

    def values(self, phi: Floats) -> Floats:
        """The objective [S], for common measurements and weights; inf where a prediction is impossible."""
        size = max(1, BLOCK // cells(self.x))
        with np.errstate(all="ignore"):
            parts = [self.objective.rho(self.residuals(phi[i : i + size])) for i in range(0, len(phi), size)]
            value = np.concatenate([np.zeros(0), *((part * self.weights).sum(1) for part in parts)])
        return np.where(np.isfinite(value), value, np.inf)

    @property
    def rounding(self) -> float:
        """The objective of residuals that are as large as the rounding of predictions: what no descent can lower."""
        size = 1 + np.abs(np.log(np.abs(self.y))) if self.objective.log else np.abs(self.y)
        return float((self.objective.rho(_ROUNDED * size) * self.weights).sum())

    def terms(self, phi: Floats, rows: np.ndarray) -> tuple[Floats, Floats, Floats]:
        """Objective [S], gradient [S, P] and reweighted Gauss-Newton curvature [S, P, P] at internal coordinates.

        Args:
            phi: internal coordinates [S, P].
            rows: which fit each of them belongs to [S].
        """
        chunk = max(1, _CHUNK // (cells(self.x) * phi.shape[1]))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            parts = [self._terms(phi[i : i + chunk], rows[i : i + chunk]) for i in range(0, len(phi), chunk)]
        value, gradient, curvature = (np.concatenate(p) for p in zip(*parts, strict=True))
        usable = np.isfinite(value) & np.isfinite(gradient).all(1) & np.isfinite(curvature).all((1, 2))
        return np.where(usable, value, np.inf), gradient, curvature

    def _terms(self, phi: Floats, rows: np.ndarray) -> tuple[Floats, Floats, Floats]:
        theta = self.coordinates.outside(phi)
        prediction, jacobian = self.law.evaluate(theta, self.x)
        y = self.y if self.y.ndim == 1 else self.y[rows]
        weights = self.weights if self.weights.ndim == 1 else self.weights[rows]
        r = self.objective.residual(prediction, y)
        value = (self.objective.rho(r) * weights).sum(1)
        root = np.sqrt(self.objective.weight(r) * weights)
        r *= root
        if self.objective.log:
            root /= prediction
        jacobian *= root[:, None, :]
        slope = self.coordinates.slope(theta)
        curvature = (jacobian @ jacobian.transpose(0, 2, 1)) * (slope[:, :, None] * slope[:, None, :])
        gradient = (jacobian @ r[:, :, None])[:, :, 0] * slope
        return value, gradient, curvature

    def jacobian(self, phi: Floats) -> Floats:
        """Derivatives [P, n] of the residuals by one vector of internal coordinates [P]."""
        theta = self.coordinates.outside(phi[None])
        prediction, jacobian = self.law.evaluate(theta, self.x)
        if self.objective.log:
            jacobian = jacobian / prediction[:, None, :]
        return np.asarray((jacobian * self.coordinates.slope(theta)[:, :, None])[0])
