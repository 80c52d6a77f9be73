"""Scalar networks: gradient descent on (w_1 ... w_D - 1)^2 / 2, and where gradient flow would end from each step.

Such a network has one weight in each of its D layers. Gradient flow keeps all differences w_i^2 - w_j^2, so its end is
the root of one equation, and the sharpness there, the sum of 1 / w_i^2, needs no integration: the sharpness of the
gradient-flow solution (GFS sharpness) of arXiv 2305.13064.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from landsweep.orchestrator.row import Metric

__all__ = ["descend", "flow_end", "sharpness"]

Weights = NDArray[np.float64]
_FAR = 1e3


def flow_end(weights: Weights) -> Weights:
    """Where gradient flow ends that starts at these weights [D]: there their product is 1.

    The smallest weight u passes through all values with the others at sign_j sqrt(u^2 + w_j^2 - u_0^2), so their
    product rises or falls in u throughout, and is 1 once.

    Raises:
        ValueError: the product is not positive and two weights share the smallest size: the flow ends in a saddle.
    """
    least = int(np.abs(weights).argmin())
    others = np.delete(weights, least)
    apart = np.maximum(others**2 - weights[least] ** 2, 0.0)
    if math.prod(weights) <= 0 and not np.all(apart > 0):
        raise ValueError("two weights share the smallest size, and the product is not positive: the flow ends at 0")
    signs = float(np.prod(np.sign(others)))

    def excess(u: float) -> float:
        return signs * u * float(np.prod(np.sqrt(u * u + apart))) - 1

    far = 1 + float(np.abs(weights).max())
    end = brentq(excess, *sorted((0.0, signs * far)), xtol=1e-15, rtol=1e-15)
    rest = np.sign(others) * np.sqrt(end * end + apart)
    return np.insert(rest, least, end)


def sharpness(weights: Weights) -> float:
    """Largest eigenvalue of the Hessian of (w_1 ... w_D - 1)^2 / 2."""
    product = math.prod(weights)
    slopes = product / weights
    hessian = np.outer(slopes, slopes) + (product - 1) * product / np.outer(weights, weights)
    np.fill_diagonal(hessian, slopes**2)
    return float(np.linalg.eigvalsh(hessian)[-1])


def descend(
    depth: int, times: float, start: int, steps: int = 1000, tolerance: float = 1e-12
) -> Generator[dict[str, Metric], None, dict[str, Metric]]:
    """Gradient descent on a scalar network from random positive weights.

    Args:
        depth: D.
        times: the learning rate, in units of 2 / (GFS sharpness at the start): below 1 the flow's end is stable.
        start: number of the start, and its seed: log-normal weights, scaled so that their product lies in [0.3, 1.2].
        steps: at most this many.
        tolerance: the run ends when the loss is below it.

    Yields:
        step, loss, sharpness and gfs_sharpness of each step.

    Returns:
        loss, steps, gfs_first and gfs_last; largest_rise: of the GFS sharpness from one step to the next, as a share of
        it; loss_rises: steps at which the loss rose; threshold: 2 / learning rate; flow_left: steps from whose weights
        the flow ends in a saddle, which count for nothing. A run that leaves for infinity has the status `diverged`.
    """
    random = np.random.default_rng([depth, start])
    weights = np.exp(random.normal(0, 0.5, depth))
    weights *= (random.uniform(0.3, 1.2) / math.prod(weights)) ** (1 / depth)
    first = last = float(np.sum(1 / flow_end(weights) ** 2))
    rate = 2 * times / first
    rises, worst, before, left = 0, 0.0, math.inf, 0
    loss, step = math.inf, 0
    for step in range(steps + 1):
        loss = (math.prod(weights) - 1) ** 2 / 2
        try:
            now = float(np.sum(1 / flow_end(weights) ** 2))
        except ValueError:
            now, left = last, left + 1
        worst, last = max(worst, now / last - 1), now
        rises += loss > before
        before = loss
        yield {"step": step, "loss": loss, "sharpness": sharpness(weights), "gfs_sharpness": now}
        if loss < tolerance or step == steps:
            break
        weights = weights - rate * (math.prod(weights) - 1) * math.prod(weights) / weights
        if not np.abs(weights).max() < _FAR or not np.all(weights):
            return {"status": "diverged", "error": f"left for infinity in step {step + 1}", "steps": step + 1}
    return {
        "loss": loss,
        "steps": step,
        "gfs_first": first,
        "gfs_last": last,
        "largest_rise": worst,
        "loss_rises": rises,
        "threshold": 2 / rate,
        "flow_left": left,
    }
