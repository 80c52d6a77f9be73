"""The perceptron of arXiv 2301.13703: SGD with the hinge loss on separable data with few samples near the boundary."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["fitted"]


def fitted(
    samples: int, temperature: float, draw: int, density: float = 0.0, dimensions: int = 16, longest: int = 1_000_000
) -> dict[str, float | int | str]:
    """Train from weights 0 with one sample a step until every margin is at least 1.

    The first coordinate of a sample has the density |x|^density exp(-x^2 / 2), the others are standard normal, and
    the label is the sign of the first. Steps whose sample has no loss change nothing, so only their number is drawn.

    Args:
        samples: size P of the training set.
        temperature: learning rate / batch size; the batch size is 1.
        draw: seed of data and steps.
        density: exponent of the density near the boundary, above -1.
        dimensions: of a sample.
        longest: changes of the weights after which it gives up.

    Returns:
        The first weight, which is the signal, the length of the others, which is noise, and the steps times the rate;
        `status: diverged` where the samples were not fitted in time.
    """
    random = np.random.default_rng(draw)
    x = random.normal(size=(samples, dimensions))
    # Each sample is taken times its label, which only takes the sign from the first coordinate: its margin is then x w.
    x[:, 0] = np.sqrt(2 * random.gamma((1 + density) / 2, size=samples))  # x^2 / 2 has a gamma distribution
    margins, weights, steps = np.zeros(samples), np.zeros(dimensions), 0
    for _ in range(longest):
        wrong = np.flatnonzero(margins < 1)
        if not len(wrong):
            noise = math.sqrt(float(weights[1:] @ weights[1:]))
            return {"signal": float(weights[0]), "noise": noise, "time": steps * temperature, "steps": steps}
        steps += int(random.geometric(len(wrong) / samples))
        weights += temperature * x[wrong[random.integers(len(wrong))]]
        margins = x @ weights
    return {"status": "diverged", "signal": float(weights[0]), "noise": math.nan, "time": math.nan, "steps": steps}
