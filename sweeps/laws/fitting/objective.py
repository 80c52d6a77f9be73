"""What a fit minimises: a sum over the points, never a mean, so that tolerances mean the same for every table.

A mean over n points divides the gradient by n; solvers with an absolute tolerance then stop long before the minimum:
that is how a published Chinchilla fit went wrong (arXiv 2404.10102).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats

__all__ = ["OBJECTIVES", "Objective", "ObjectiveName", "objective_named"]

ObjectiveName: TypeAlias = Literal["huber", "lad", "least-squares"]
OBJECTIVES: tuple[ObjectiveName, ...] = ("huber", "lad", "least-squares")
_DELTA = 1e-3
_LAD_DELTA = 1e-6


@dataclass(frozen=True, slots=True)
class Objective:
    """sum_i w_i rho(r_i), with r = log prediction - log y, or prediction - y.

    Attributes:
        name: `huber`: rho = r^2 / 2 up to delta, delta (|r| - delta / 2) beyond. `lad`: the same divided by its delta,
            which is |r| but for the last millionth. `least-squares`: rho = r^2 / 2.
        delta: where Huber's function becomes linear, in the units of r; infinite for least squares.
        log: whether r is a difference of logarithms.
    """

    name: ObjectiveName = "huber"
    delta: float = _DELTA
    log: bool = True

    @property
    def text(self) -> str:
        """The formula, for people."""
        r = "log prediction - log measured" if self.log else "prediction - measured"
        rho = {
            "huber": f"sum Huber(r; delta={self.delta:g})",
            "lad": f"sum |r| (smoothed below {self.delta:g})",
            "least-squares": "sum r^2 / 2",
        }[self.name]
        return f"{rho}, r = {r}"

    @property
    def scale(self) -> float:
        """What Huber's function is multiplied by."""
        return 1 / self.delta if self.name == "lad" else 1.0

    def smoothed(self, delta: float) -> Objective:
        """The same with another, larger delta: a step on the way to a small one."""
        return Objective(self.name, max(delta, self.delta), self.log)

    def residual(self, prediction: Floats, y: Floats) -> Floats:
        """Residuals [S, n]; a prediction <= 0 whose logarithm is wanted gives nan or inf, which no solver accepts."""
        if self.log:
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(np.log(prediction) - np.log(y))
        return prediction - y

    def rho(self, r: Floats) -> Floats:
        """The loss of each residual."""
        size = np.abs(r)
        if not np.isfinite(self.delta):
            return 0.5 * r * r
        near = np.minimum(size, self.delta)
        return self.scale * near * (size - 0.5 * near)

    def weight(self, r: Floats) -> Floats:
        """rho'(r) / r: the weight of a point in the next least-squares step."""
        if not np.isfinite(self.delta):
            return np.ones_like(r)
        return self.scale * self.delta / np.maximum(np.abs(r), self.delta)

    def psi(self, r: Floats) -> Floats:
        """rho'(r): the influence of each point."""
        return self.scale * np.clip(r, -self.delta, self.delta)


def objective_named(name: str, *, delta: float | None = None, log: bool = True) -> Objective:
    """The objective `huber`, `lad` or `least-squares`.

    Raises:
        UsageError: the name is unknown, or delta is not positive or not Huber's.
    """
    if name not in OBJECTIVES:
        raise UsageError(f"objective {name!r} is unknown; give one of {', '.join(OBJECTIVES)}")
    if delta is not None and (name != "huber" or not 0 < delta < np.inf):
        raise UsageError(f"delta {delta:g}: it belongs to the objective huber and must be > 0")
    default = {"huber": _DELTA, "lad": _LAD_DELTA, "least-squares": np.inf}[name]
    return Objective(name, default if delta is None else delta, log)
