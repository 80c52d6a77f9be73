"""How well the parameters of a fit are known: samples, intervals, bands and the table of parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from landsweep.sweeps.laws.base import Floats, Law
from landsweep.sweeps.laws.fitting.problem import Coordinates

__all__ = ["Uncertainty", "central"]

_SAMPLES = 2000  # of the parameters, where there was no bootstrap
_NOTHING = (np.nan, np.nan, np.nan)


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """The distribution of fitted parameters: the draws of a bootstrap, else a normal one by the curvature.

    Attributes:
        law: the law.
        theta: fitted parameters [P].
        covariance: [P, P] of the internal coordinates; 0 for those that were given.
        draws: parameters [B, P] of the bootstrap; None without one.
        freedom: degrees of freedom of the residuals, for Student's t.
        converged: whether `theta` is a minimum; nothing is known of the parameters where it is not.
        fixed: names of parameters that were given, not fitted.
        at_bound: parameters whose covariance means nothing, as in `Convergence`.
        open_low: parameters whose interval begins at their lower bound.
        open_high: parameters whose interval ends at their upper bound.
    """

    law: Law
    theta: Floats
    covariance: Floats
    draws: Floats | None
    freedom: int
    converged: bool
    fixed: tuple[str, ...] = ()
    at_bound: tuple[str, ...] = ()
    open_low: tuple[str, ...] = ()
    open_high: tuple[str, ...] = ()

    def samples(self) -> Floats:
        """Parameter vectors [B, P] as uncertain as the fit: the bootstrap's, else normal ones of the curvature."""
        if self.draws is not None:
            return self.draws
        coordinates = Coordinates.of(self.law)
        phi = coordinates.inside(self.theta)
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
        drawn = phi + np.random.default_rng(0).standard_normal((_SAMPLES, len(phi))) @ root.T
        return coordinates.outside(np.clip(drawn, coordinates.low, coordinates.high))

    def interval(self, parameter: str, level: float = 0.95) -> tuple[float, float, float]:
        """Standard error, lower and upper end of one parameter; nan where they would mean nothing.

        With a bootstrap these are the standard deviation and the quantiles of its draws; else they come from the
        curvature, with Student's t, symmetric in the logarithm of positive parameters.
        """
        place = self.law.index(parameter)
        if not self.converged:
            return _NOTHING
        if self.draws is not None:
            return _spread(self.draws[:, place], level)
        return _NOTHING if parameter in self.at_bound else self._by_curvature(parameter, level)

    def band(self, quantity: Callable[[Floats], Floats], *, level: float = 0.95) -> dict[str, Floats]:
        """Any quantity of the parameters with its interval.

        Args:
            quantity: from parameter vectors [S, P] to values [S, m].
            level: confidence level, between 0 and 1.

        Returns:
            `value`, `low` and `high`, each [m].
        """
        with np.errstate(all="ignore"):
            value, drawn = quantity(self.theta[None])[0], quantity(self.samples())
        return {"value": value, **central(drawn, level)}

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """A line for each parameter and each number derived from them.

        Columns: `name`, `value`, `error` (standard error), `low`, `high` (interval), `meaning`. Error and interval are
        those of `interval`, of derived numbers those of samples; nan where the fit has not converged.
        """
        samples = self.samples() if self.converged else np.full((2, len(self.theta)), np.nan)
        lines = []
        for p, value in zip(self.law.parameters, self.theta, strict=True):
            meaning = p.doc + (" (given)" if p.name in self.fixed else "")
            lines.append((p.name, value, *self.interval(p.name, level), meaning))
        derived = self.law.derived(samples)
        for name, values in self.law.derived(self.theta[None]).items():
            lines.append((name, values[0], *_spread(derived[name], level), self.law.meanings.get(name, "")))
        return pd.DataFrame(lines, columns=["name", "value", "error", "low", "high", "meaning"])

    def _by_curvature(self, parameter: str, level: float) -> tuple[float, float, float]:
        """Wald's interval, up to the bound where the points do not keep the parameter from it."""
        place, coordinates = self.law.index(parameter), Coordinates.of(self.law)
        phi = coordinates.inside(self.theta)
        deviation = float(np.sqrt(self.covariance[place, place]))
        half = student.ppf((1 + level) / 2, self.freedom) * deviation
        ends = np.tile(phi, (2, 1))
        ends[:, place] += (-half, half)
        low, high = coordinates.outside(np.clip(ends, coordinates.low, coordinates.high))[:, place]
        low = coordinates.outside(coordinates.low)[place] if parameter in self.open_low else low
        high = coordinates.outside(coordinates.high)[place] if parameter in self.open_high else high
        return deviation * float(coordinates.slope(self.theta)[place]), float(low), float(high)


def central(drawn: Floats, level: float) -> dict[str, Floats]:
    """The central interval, `low` and `high` [m], of draws [S, m]; those that are no numbers do not count."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(np.where(np.isfinite(drawn), drawn, np.nan), [tail, 1 - tail], axis=0)
    return {"low": low, "high": high}


def _spread(values: Floats, level: float) -> tuple[float, float, float]:
    """Standard deviation and central interval of draws."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return _NOTHING
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(finite.std(ddof=1)), float(low), float(high)
