"""What a law is: names, units and bounds of its parameters, its prediction with analytic gradient, and its starts.

A law is one file with one subclass of `Law`, listed in `sweeps/laws/catalogue.py`. Everything else (objectives,
many starts, intervals, tables, figures) is the fitter's and works for all laws alike.

Shapes: P parameters, n points, S parameter vectors that are evaluated at once.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

__all__ = ["Floats", "Law", "Parameter", "Points", "Quantity", "centre", "column", "decay", "grid", "two_shares"]

Floats: TypeAlias = NDArray[np.float64]
Points: TypeAlias = Mapping[str, Floats]
"""Values [n] of each input of a law."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """An input or the output of a law.

    Attributes:
        name: column that a table must have, or that `--columns` names.
        unit: such as `parameters`, `tokens`, `FLOP`, `nats per token`.
        doc: what it is.
        positive: whether values must be > 0, because the law takes their logarithm or a power.
        label: whether it only tells rows apart, such as the name of a curve; its values are numbers of labels.
        optional: whether a table may lack it; `doc` then says what is taken instead.
    """

    name: str
    unit: str
    doc: str
    positive: bool = True
    label: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number that a fit determines.

    Attributes:
        name: symbol in the paper.
        doc: what it is, with its unit.
        log: whether it is positive and fitted as its logarithm; its interval is then symmetric in the logarithm.
        low: smallest value that is allowed.
        high: largest value that is allowed.
    """

    name: str
    doc: str
    log: bool = False
    low: float = -np.inf
    high: float = np.inf


class Law(ABC):
    """A formula with parameters to be fitted. Instances hold no fitted numbers: these belong to a `Fit`."""

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    inputs: tuple[Quantity, ...]
    output: Quantity
    parameters: tuple[Parameter, ...]
    meanings: ClassVar[Mapping[str, str]] = {}  # of the numbers that `derived` gives

    @abstractmethod
    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        """Predictions and their gradient.

        Args:
            theta: parameter vectors [S, P], in the units of `parameters`.
            x: each input's values [n].

        Returns:
            Predictions [S, n], and their derivatives by the parameters [S, P, n].
        """

    def predict(self, theta: Floats, x: Points) -> Floats:
        """Predictions [S, n] for parameter vectors [S, P]."""
        return self.evaluate(theta, x)[0]

    @abstractmethod
    def starts(self, x: Points, y: Floats) -> Floats:
        """Parameter vectors [S, P] from which the fit starts; they may depend on the data."""

    @abstractmethod
    def example(self) -> tuple[Floats, Points]:
        """Parameters [P] as published, or like them, and the inputs of a small study that determines them.

        The tests simulate this study: every parameter must come back, inside its own interval as often as stated.
        """

    def prepare(self, x: Points) -> Points:
        """What `evaluate` wants of a whole table's inputs [n]: for laws whose points depend on other rows (curves)."""
        return x

    def notes(self, x: Points) -> list[str]:
        """What has to be assumed about these very inputs [n], as sentences that are shown with the fit."""
        del x
        return []

    def derived(self, theta: Floats) -> dict[str, Floats]:
        """Numbers [S] that follow from the parameters and are reported with intervals, such as an optimal exponent."""
        del theta
        return {}

    @property
    def least_points(self) -> int:
        """A fit of all parameters needs at least one point more: without it there is no residual to judge by."""
        return len(self.parameters) + 1

    def index(self, parameter: str) -> int:
        """Place of a parameter in a vector."""
        return [p.name for p in self.parameters].index(parameter)


def grid(*values: Sequence[float] | Floats) -> Floats:
    """Every combination [S, P] of one value for each parameter."""
    return np.array(list(itertools.product(*values)), dtype=np.float64)


def centre(values: Floats) -> float:
    """Geometric mean of positive values: where a power law is best pinned."""
    return float(np.exp(np.mean(np.log(values))))


def column(theta: Floats, place: int) -> Floats:
    """One parameter of all vectors, [S, 1], to be combined with points [n]."""
    return theta[:, place, None]


def decay(scale: Floats, exponent: Floats, log_x: Floats) -> tuple[Floats, Floats, Floats]:
    """The term scale x^-exponent with its derivatives by scale and by exponent.

    One exponential of a sum of logarithms: a product of two would overflow where the term itself does not.

    Args:
        scale: [S, 1], positive.
        exponent: [S, 1].
        log_x: logarithm of the input [n].

    Returns:
        Three arrays [S, n].
    """
    value = np.exp(np.log(scale) - exponent * log_x)
    return value, value / scale, -log_x * value


def two_shares(u: Floats) -> Floats:
    """The entropy of two shares, expit(u) and expit(-u), in nats, to full relative accuracy for any u."""
    size = np.abs(u)
    return np.asarray(np.log1p(np.exp(-size)) + size * expit(-size))
