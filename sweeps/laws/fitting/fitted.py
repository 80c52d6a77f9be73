"""A fitted law: what was minimised, how well the minimum is established, predictions with bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Law, Points, Quantity
from landsweep.sweeps.laws.fitting.intervals import profile
from landsweep.sweeps.laws.fitting.objective import Objective
from landsweep.sweeps.laws.fitting.points import Cases, Selection
from landsweep.sweeps.laws.fitting.problem import BLOCK, Coordinates, Problem, predictions
from landsweep.sweeps.laws.fitting.uncertainty import Uncertainty, central

__all__ = ["FAR", "Convergence", "Fit", "HeldOut"]

FAR = 100.0  # a prediction at more than this many times the fitted range gets a warning
_CONVERGED = 1e-9  # of the objective


@dataclass(frozen=True, slots=True)
class Convergence:
    """How well a minimum is established.

    Attributes:
        starts: how many there were.
        usable: how many had a finite objective.
        finished: how many were followed to the end; the others were eliminated early.
        agree: how many of these reached the lowest objective, to a millionth.
        gradient: largest component of the objective's gradient, in internal coordinates (logarithms of positive
            parameters).
        decrement: what one more Newton step would gain, in units of the objective.
        condition: condition number of the curvature, scaled to a unit diagonal; beyond 1e8 the points determine only
            combinations of the parameters.
        at_bound: parameters that stand at a bound, or are so near zero that nothing depends on them: their intervals
            mean nothing.
        open_low: positive parameters that could as well be at their lower bound.
        open_high: positive parameters that could as well be at their upper bound.
        rounding: the objective of residuals as large as the rounding of predictions: no descent can do better.
    """

    starts: int
    usable: int
    finished: int
    agree: int
    gradient: float
    decrement: float
    condition: float
    at_bound: tuple[str, ...] = ()
    rounding: float = 0.0
    open_low: tuple[str, ...] = ()
    open_high: tuple[str, ...] = ()

    def reached(self, value: float) -> bool:
        """Whether one more step would gain less than a billionth of the objective `value`, or than rounding hides."""
        return self.decrement <= max(_CONVERGED * value, self.rounding)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Errors on points that the fit has not seen.

    Attributes:
        n: points.
        rmse: root mean square of the residuals: log prediction - log measured, or their plain difference.
        bias: their mean; positive: predicted too high.
        worst: largest size.
        mae: mean size.
        r2: share of the points' variance that is explained, of logarithms where the residuals are; nan where the points
            are all alike.
        covered: share that lies within the 95 % interval for a single measurement.
    """

    n: int
    rmse: float
    bias: float
    worst: float
    covered: float
    mae: float = np.nan
    r2: float = np.nan

    @classmethod
    def of(cls, fit: Fit, cases: Cases) -> HeldOut:
        """Judge a fit on points."""
        r = fit.objective.residual(predictions(fit.law, fit.theta[None], cases.x), cases.y)[0]
        band = fit.band_at(cases.x, level=0.95, single=True)
        inside = (band["low"] <= cases.y) & (cases.y <= band["high"])
        size, y = np.abs(r), np.log(cases.y) if fit.objective.log else cases.y
        varied = float(((y - y.mean()) ** 2).sum())
        return cls(
            n=len(r),
            rmse=float(np.sqrt((r**2).mean())),
            bias=float(r.mean()),
            worst=float(size.max()),
            covered=float(inside.mean()),
            mae=float(size.mean()),
            r2=1 - float((r**2).sum()) / varied if varied > 0 else np.nan,
        )


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Attributes:
        law: the law.
        theta: parameters [P].
        objective: what was minimised.
        value: its minimum: a sum over the points.
        convergence: how well that is established.
        covariance: [P, P] of the internal coordinates, from the curvature.
        draws: parameters [B, P] of the bootstrap; None without one.
        fixed: names of parameters that were given, not fitted.
        residuals: of the fitted points [n].
        ranges: smallest and largest fitted value of each input.
        selection: how the points were chosen.
        digest: digest of the fitted points.
        cases: the points; None in a fit that was read from a file.
        held_cases: the points held out, likewise.
        held: errors on points held out.
    """

    law: Law
    theta: Floats
    objective: Objective
    value: float
    convergence: Convergence
    covariance: Floats
    draws: Floats | None
    fixed: tuple[str, ...]
    residuals: Floats
    ranges: Mapping[str, tuple[float, float]]
    selection: Selection | None
    digest: str
    cases: Cases | None = field(default=None, repr=False)
    held_cases: Cases | None = field(default=None, repr=False)
    held: HeldOut | None = None

    def __getitem__(self, parameter: str) -> float:
        """The value of a parameter."""
        return float(self.theta[self.law.index(parameter)])

    @property
    def converged(self) -> bool:
        """Whether one more step would gain less than a billionth of the objective, or than rounding hides."""
        return self.convergence.reached(self.value)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the residuals: points less fitted parameters, but at least 1."""
        return max(len(self.residuals) - len(self.theta) + len(self.fixed), 1)

    @property
    def rmse(self) -> float:
        """Root mean square residual of the fitted points."""
        return float(np.sqrt((self.residuals**2).mean()))

    def judged(self, held: HeldOut) -> Fit:
        """The same with errors on points held out."""
        return replace(self, held=held)

    @property
    def uncertainty(self) -> Uncertainty:
        """How well the parameters are known."""
        convergence = self.convergence
        return Uncertainty(
            law=self.law,
            theta=self.theta,
            covariance=self.covariance,
            draws=self.draws,
            freedom=self.freedom,
            converged=self.converged,
            fixed=self.fixed,
            at_bound=convergence.at_bound,
            open_low=convergence.open_low,
            open_high=convergence.open_high,
        )

    def parameters(self, level: float = 0.95) -> pd.DataFrame:
        """The parameters and what follows from them, with errors and intervals; see `Uncertainty.table`."""
        return self.uncertainty.table(level)

    def interval(self, parameter: str, level: float = 0.95) -> tuple[float, float]:
        """Interval of one parameter, as in `parameters`."""
        _, low, high = self.uncertainty.interval(parameter, level)
        return low, high

    def profiled(self, parameter: str, level: float = 0.95) -> tuple[float, float]:
        """Interval of one parameter from the profile of the objective; it need not be symmetric.

        An end is infinite where the objective stays low as far as it was followed, five standard errors.

        Raises:
            UsageError: the fit was read from a file and has no points, or the parameter was given.
        """
        if self.cases is None or parameter in self.fixed:
            raise UsageError(f"{parameter}: a profile needs the fitted points, and a parameter that was fitted")
        coordinates = Coordinates.of(self.law)
        problem = Problem(self.law, self.cases.x, self.cases.y, self.cases.weights, self.objective, coordinates)
        place, phi = self.law.index(parameter), coordinates.inside(self.theta)
        free = np.array([p.name not in self.fixed for p in self.law.parameters])
        _, _, ends = profile(problem, phi, place, level, float(np.sqrt(self.covariance[place, place])), free)
        low, high = (self._outside(place, end) for end in ends)
        return low, high

    def band_at(self, x: Points, *, level: float = 0.95, single: bool = False) -> dict[str, Floats]:
        """The law's predictions with their interval, a block of points at a time: memory does not grow with them.

        Args:
            x: prepared inputs, each with first dimension n.
            level: confidence level, between 0 and 1.
            single: add the scatter of single measurements, as the residuals show it.

        Returns:
            `value`, `low` and `high`, each [n].
        """
        draws, scatter, random = self.uncertainty.samples(), self._inflated(), np.random.default_rng(1)
        n = len(next(iter(x.values())))
        size, parts = max(1, BLOCK // len(draws)), []
        for first in range(0, n, size):
            some = {name: values[first : first + size] for name, values in x.items()}
            with np.errstate(all="ignore"):
                drawn = predictions(self.law, draws, some)
                if single:
                    added = random.choice(scatter, drawn.shape)
                    drawn = drawn * np.exp(added) if self.objective.log else drawn + added
            parts.append(central(drawn, level))
        with np.errstate(all="ignore"):
            value = predictions(self.law, self.theta[None], x)[0]
        return {"value": value, **{end: np.concatenate([p[end] for p in parts]) for end in ("low", "high")}}

    def predict(self, points: pd.DataFrame | Points, level: float = 0.95) -> pd.DataFrame:
        """Predictions with intervals.

        Args:
            points: a column for each input of the law.
            level: confidence level, between 0 and 1.

        Returns:
            The inputs; `predicted`; `low`, `high`: interval of the law's own curve; `run_low`, `run_high`: interval for
            a single new measurement; `warning`: where an input lies beyond 100 times the fitted range, or the fit has
            not converged, else empty.

        Raises:
            UsageError: an input is missing or not positive.
        """
        x = {q.name: self._input(points, q) for q in self.law.inputs if not q.optional or q.name in points}
        prepared = self.law.prepare(x)
        curve = self.band_at(prepared, level=level)
        run = self.band_at(prepared, level=level, single=True)
        return pd.DataFrame(
            {
                **x,
                "predicted": curve["value"],
                "low": curve["low"],
                "high": curve["high"],
                "run_low": run["low"],
                "run_high": run["high"],
                "warning": self.warnings(x),
            }
        )

    def warnings(self, x: Points) -> list[str]:
        """A remark on each point that lies far outside the fitted range; empty for the others."""
        n = len(next(iter(x.values())))
        remarks: list[list[str]] = [[] if self.converged else ["the fit has not converged"] for _ in range(n)]
        for name, (low, high) in self.ranges.items():
            if name not in x or low <= 0:
                continue
            for i, value in enumerate(x[name]):
                if value > FAR * high:
                    remarks[i].append(f"{name} is {value / high:,.0f}x the largest fitted value")
                elif value < low / FAR:
                    remarks[i].append(f"{name} is {low / max(value, 1e-300):,.0f}x below the smallest fitted value")
        return ["; ".join(texts) for texts in remarks]

    def _input(self, points: pd.DataFrame | Points, quantity: Quantity) -> Floats:
        name, positive = quantity.name, quantity.positive
        if name not in points:
            names = ", ".join(q.name for q in self.law.inputs)
            raise UsageError(f"{self.law.name} predicts from {names}; {name} is not given")
        if quantity.label:
            return np.asarray(pd.factorize(np.asarray(points[name]))[0], np.float64)
        values = np.atleast_1d(np.asarray(points[name], np.float64))
        if not np.isfinite(values).all() or (positive and (values <= 0).any()):
            raise UsageError(f"{name} must be {'positive' if positive else 'finite'} everywhere")
        return values

    def _outside(self, place: int, end: float) -> float:
        """An end of an interval in the parameter's own units."""
        if not np.isfinite(end):
            return end
        return float(np.exp(end)) if self.law.parameters[place].log else end

    def _inflated(self) -> Floats:
        """Residuals, widened for the parameters that were fitted to them."""
        return np.asarray(self.residuals * np.sqrt(len(self.residuals) / self.freedom))
