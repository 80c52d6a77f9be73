"""Whether residuals are noise, or the law's own misfit, of which no interval knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import norm

from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.laws.fitting.points import Cases

__all__ = ["LackOfFit", "lack_of_fit"]

_FEWEST = 20  # residuals for the test of runs
_MOST_NUMBERS = 5_000_000  # of the inputs that are compared
_DOUBT = 0.01


@dataclass(frozen=True, slots=True)
class LackOfFit:
    """A test of the hypothesis that residuals are noise.

    Attributes:
        test: `repeats`: F test of the misfit of means against the scatter of repeated points; `runs`: whether the signs
            of the residuals, by rising prediction, change as often as chance has it (Wald and Wolfowitz, 1940).
        statistic: F, or the standardised number of runs.
        freedom: degrees of freedom of F: of misfit, of scatter; none for runs.
        p: probability of F as large, or of as few runs, if residuals are noise.
    """

    test: str
    statistic: float
    freedom: tuple[int, int] | None
    p: float

    @property
    def doubtful(self) -> bool:
        """Whether noise alone would look like this in less than one of a hundred tables."""
        return self.p < _DOUBT

    @property
    def text(self) -> str:
        """One sentence."""
        if self.freedom is None:
            test = f"signs of the residuals by rising prediction: z = {self.statistic:.2f}, p = {self.p:.2g}"
            bad = "residuals come in runs, so the law bends otherwise than the points"
        else:
            test = f"F({self.freedom[0]}, {self.freedom[1]}) = {self.statistic:.3g}, p = {self.p:.2g}"
            test += ", misfit against the scatter of repeated points"
            bad = "the law misses the points by more than their scatter"
        if not self.doubtful:
            return f"lack of fit: none seen ({test})"
        return f"LACK OF FIT ({test}): {bad}. The intervals do not hold this misfit of the law itself"


def lack_of_fit(fit: Fit) -> LackOfFit | None:
    """The test that the points allow; None in a fit without points, of exact points, or of too few.

    Repeats (equal inputs, such as several seeds) are tested by F, which needs more different points than fitted
    parameters; without repeats the signs of at least 20 residuals are tested for runs.
    """
    if fit.cases is None or fit.value <= fit.convergence.rounding:
        return None
    parameters = len(fit.theta) - len(fit.fixed)
    return _repeats(fit.cases, fit.residuals, parameters) or _runs(fit, fit.cases)


def _repeats(cases: Cases, residuals: Floats, parameters: int) -> LackOfFit | None:
    n, w = len(residuals), cases.weights
    points = [np.asarray(values).reshape(n, -1) for values in cases.x.values()]
    if sum(p.size for p in points) > _MOST_NUMBERS:
        return None
    _, place = np.unique(np.concatenate(points, axis=1), axis=0, return_inverse=True)
    place = place.ravel()
    groups = int(place.max()) + 1
    misfit, scatter = groups - parameters, n - groups
    if misfit < 1 or scatter < 1:
        return None
    means = np.bincount(place, w * residuals) / np.maximum(np.bincount(place, w), 1e-300)
    within = float((w * (residuals - means[place]) ** 2).sum())
    between = float((w * means[place] ** 2).sum())
    if within <= 0:
        return None
    statistic = (between / misfit) / (within / scatter)
    return LackOfFit("repeats", statistic, (misfit, scatter), float(fisher.sf(statistic, misfit, scatter)))


def _runs(fit: Fit, cases: Cases) -> LackOfFit | None:
    order = np.argsort(fit.law.predict(fit.theta[None], cases.x)[0], kind="stable")
    signs = np.sign(fit.residuals[order])
    signs = signs[signs != 0]
    above, below = int((signs > 0).sum()), int((signs < 0).sum())
    n = above + below
    if n < _FEWEST or not above or not below:
        return None
    runs = 1 + int((signs[1:] != signs[:-1]).sum())
    mean = 1 + 2 * above * below / n
    deviation = np.sqrt((mean - 1) * (mean - 2) / (n - 1))
    z = float((runs - mean) / deviation)
    return LackOfFit("runs", z, None, float(norm.cdf(z)))
