"""Two-dimensional test functions with known minima, and gradient descent on them.

Definitions and minima: https://www.sfu.ca/~ssurjano/optimization.html; the coordinates of the minima are refined to
the last digit, and tests check that the gradient vanishes there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landsweep.orchestrator.row import Metric

__all__ = ["FUNCTIONS", "TestFunction", "descend", "no_op", "runs_to_find_all"]

_FAR = 1e8  # no run that leaves the box this far comes back


@dataclass(frozen=True, slots=True)
class TestFunction:
    """A function of two variables whose global minima are known.

    Attributes:
        value: f(x, y).
        gradient: (df/dx, df/dy) at (x, y).
        minima: all global minima, ordered by x.
        lowest: the value at the global minima.
        box: ((x low, x high), (y low, y high)): where one usually starts.
    """

    __test__ = False  # pytest: this is no test class

    value: Callable[[float, float], float]
    gradient: Callable[[float, float], tuple[float, float]]
    minima: tuple[tuple[float, float], ...]
    lowest: float
    box: tuple[tuple[float, float], tuple[float, float]]


def _himmelblau(x: float, y: float) -> float:
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


def _himmelblau_gradient(x: float, y: float) -> tuple[float, float]:
    a, b = x * x + y - 11, x + y * y - 7
    return 4 * x * a + 2 * b, 2 * a + 4 * y * b


def _camel(x: float, y: float) -> float:
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


def _camel_gradient(x: float, y: float) -> tuple[float, float]:
    return 8 * x - 8.4 * x**3 + 2 * x**5 + y, x - 8 * y + 16 * y**3


def _rastrigin(x: float, y: float) -> float:
    return 20 + x * x + y * y - 10 * (math.cos(2 * math.pi * x) + math.cos(2 * math.pi * y))


def _rastrigin_gradient(x: float, y: float) -> tuple[float, float]:
    wave = 20 * math.pi
    return 2 * x + wave * math.sin(2 * math.pi * x), 2 * y + wave * math.sin(2 * math.pi * y)


def _rosenbrock(x: float, y: float) -> float:
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


def _rosenbrock_gradient(x: float, y: float) -> tuple[float, float]:
    rise = y - x * x
    return -2 * (1 - x) - 400 * x * rise, 200 * rise


_B, _C, _T = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)


def _branin(x: float, y: float) -> float:
    return (y - _B * x * x + _C * x - 6) ** 2 + 10 * (1 - _T) * math.cos(x) + 10


def _branin_gradient(x: float, y: float) -> tuple[float, float]:
    rise = y - _B * x * x + _C * x - 6
    return 2 * rise * (_C - 2 * _B * x) - 10 * (1 - _T) * math.sin(x), 2 * rise


FUNCTIONS: Mapping[str, TestFunction] = {
    "himmelblau": TestFunction(
        _himmelblau,
        _himmelblau_gradient,
        (
            (-3.779310253377747, -3.283185991286170),
            (-2.805118086952745, 3.131312518250573),
            (3.0, 2.0),
            (3.584428340330492, -1.848126526964404),
        ),
        0.0,
        ((-5, 5), (-5, 5)),
    ),
    "six_hump_camel": TestFunction(
        _camel,
        _camel_gradient,
        ((-0.08984201310031806, 0.7126564030207396), (0.08984201310031806, -0.7126564030207396)),
        -1.031628453489877,
        ((-3, 3), (-2, 2)),
    ),
    "branin": TestFunction(
        _branin,
        _branin_gradient,
        ((-math.pi, 12.275), (math.pi, 2.275), (3 * math.pi, 2.475)),
        10 / (8 * math.pi),
        ((-5, 10), (0, 15)),
    ),
    "rastrigin": TestFunction(_rastrigin, _rastrigin_gradient, ((0.0, 0.0),), 0.0, ((-5.12, 5.12), (-5.12, 5.12))),
    "rosenbrock": TestFunction(_rosenbrock, _rosenbrock_gradient, ((1.0, 1.0),), 0.0, ((-2, 2), (-1, 3))),
}


def descend(
    start: int, lr: float, function: str = "himmelblau", steps: int = 1000, tolerance: float = 1e-6, near: float = 1e-2
) -> dict[str, Metric]:
    """One run of plain gradient descent from a random point of the function's box.

    Args:
        start: number of the start, and seed of its point: runs with other learning rates start at the same place.
        lr: learning rate.
        function: name in `FUNCTIONS`.
        steps: at most this many.
        tolerance: the run ends when the gradient's norm falls below it.
        near: a run that ends within this distance of a global minimum has found it.

    Returns:
        minimum: index of the global minimum that was found, -1 for none; distance: to the nearest one; value, x, y:
        where the run ended; gap: value above the lowest; steps: taken; converged: whether the gradient vanished.
        A run that leaves for infinity has the status `diverged` and the steps that it took.
    """
    if function not in FUNCTIONS:
        raise ValueError(f"there is no test function {function!r}; known: {', '.join(FUNCTIONS)}")
    f = FUNCTIONS[function]
    rng = np.random.default_rng(start)
    x, y = (float(rng.uniform(low, high)) for low, high in f.box)
    slope = math.inf
    step = 0
    for step in range(steps + 1):
        gx, gy = f.gradient(x, y)
        slope = math.hypot(gx, gy)
        if slope < tolerance or step == steps:
            break
        x, y = x - lr * gx, y - lr * gy
        if not (abs(x) < _FAR and abs(y) < _FAR):  # also true for nan
            return {"status": "diverged", "error": f"left the box after step {step + 1}", "steps": step + 1}
    distances = [math.hypot(x - a, y - b) for a, b in f.minima]
    distance = min(distances)
    value = f.value(x, y)
    return {
        "minimum": distances.index(distance) if distance < near else -1,
        "distance": distance,
        "value": value,
        "gap": value - f.lowest,
        "steps": step,
        "converged": slope < tolerance,
        "x": x,
        "y": y,
    }


def runs_to_find_all(shares: Sequence[float]) -> float:
    """Expected number of independent runs until each of several outcomes was seen at least once.

    The coupon collector with unequal chances: sum over non-empty sets S of (-1)^(|S|+1) / sum of shares in S.

    Args:
        shares: chance of each outcome per run; they may sum to less than 1 (runs that find none of them).

    Returns:
        inf if one of them never happens.

    Example:
        >>> round(runs_to_find_all([0.25, 0.25, 0.25, 0.25]), 4)  # 4 (1 + 1/2 + 1/3 + 1/4)
        8.3333
    """
    if not all(share > 0 for share in shares):
        return math.inf
    return math.fsum(
        (1.0 if size % 2 else -1.0) / sum(group)
        for size in range(1, len(shares) + 1)
        for group in itertools.combinations(shares, size)
    )


def no_op(**params: object) -> dict[str, Metric]:
    """A unit that does nothing: what is left is the engine's own cost."""
    del params
    return {"value": 0.0}
