"""Wall-clock time of a training step from the shapes of a model: arithmetic, and numbers that move through memory."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["WALL_CLOCK", "WallClock", "transformer_step"]


def transformer_step(
    layers: Floats, width: Floats, heads: Floats, context: Floats, batch: Floats, vocabulary: Floats
) -> dict[str, Floats]:
    """FLOPs and moved numbers of one training step of a decoder transformer with a feed-forward width of 4 x width.

    A product [m, k] x [k, n] counts 2 m k n FLOPs, m k + k n numbers read and m n written. Each of the two
    normalisations, the two residual sums and the activation of a layer, and its softmax, reads and writes its numbers
    once. Backward counts twice as much as forward.

    Args:
        layers: number of blocks [n].
        width: of the residual stream [n].
        heads: attention heads [n].
        context: tokens in a sequence [n].
        batch: sequences [n].
        vocabulary: tokens of the vocabulary [n].

    Returns:
        `flops` and `moved`, each [n].
    """
    tokens = batch * context
    products = (
        (tokens, width, 3 * width),
        (tokens, width, width),
        (tokens, width, 4 * width),
        (tokens, 4 * width, width),
    )
    flops = sum(2 * m * k * n for m, k, n in products)
    moved = sum(m * k + k * n + m * n for m, k, n in products)
    flops = flops + 4 * tokens * context * width  # scores, and their product with the values
    moved = (
        moved + 4 * tokens * width + 2 * batch * heads * context**2
    )  # both read two and write one, scores and weights
    moved = moved + 2 * batch * heads * context**2 + 2 * tokens * (4 * width) + 8 * tokens * width
    flops = layers * flops + 2 * tokens * width * vocabulary
    moved = layers * moved + tokens * width + width * vocabulary + tokens * vocabulary
    return {"flops": np.asarray(3 * flops, np.float64), "moved": np.asarray(3 * moved, np.float64)}


class WallClock(Law):
    """t = t0 + flops tf + moved tm, seconds per training step (after Inbar and Sernau, arXiv 2406.18922).

    For small or thin models time follows the numbers that move through memory, not the FLOPs. With the steps of a run
    this turns a law of N and D into one of time. `transformer_step` counts both inputs from the shapes.
    """

    name = "wall_clock"
    formula = "seconds = t0 + flops tf + moved tm"
    source = "arXiv 2406.18922"
    inputs = (
        Quantity("flops", "FLOPs", "of one training step"),
        Quantity("moved", "numbers", "read and written in one training step"),
    )
    output = Quantity("seconds", "s", "of one training step")
    parameters = (
        Parameter("t0", "overhead of a step, s", low=0),
        Parameter("tf", "seconds per FLOP", log=True),
        Parameter("tm", "seconds per moved number", log=True),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        ones = np.ones((len(theta), len(x["flops"])))
        value = column(theta, 0) + column(theta, 1) * x["flops"] + column(theta, 2) * x["moved"]
        return value, np.stack([ones, ones * x["flops"], ones * x["moved"]], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        shares = grid((0.01, 0.3), (0.05, 0.5, 0.95))
        rest = float(np.exp(np.mean(np.log(y))))
        by_flops, by_moved = (rest / np.exp(np.mean(np.log(x[name]))) for name in ("flops", "moved"))
        return np.column_stack([shares[:, 0] * y.min(), shares[:, 1] * by_flops, (1 - shares[:, 1]) * by_moved])

    def example(self) -> tuple[Floats, Points]:
        layers, width, batch = (
            v.ravel() for v in np.meshgrid((2.0, 6.0, 12.0), (64.0, 256.0, 1024.0), (1.0, 8.0, 32.0))
        )
        ones = np.ones_like(width)
        return np.array([2e-3, 2e-12, 1e-10]), transformer_step(
            layers, width, width / 64, 256 * ones, batch, 8192 * ones
        )


WALL_CLOCK = WallClock()
