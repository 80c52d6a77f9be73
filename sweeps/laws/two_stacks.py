"""A law of two sizes: the loss of an encoder-decoder over the parameters of both."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid

__all__ = ["TWO_STACKS", "TwoStacks"]


class TwoStacks(Law):
    """L(Ne, Nd) = a Ne^-pe Nd^-pd + Linf (Ghorbani et al., arXiv 2109.07740).

    The paper writes the sizes over reference sizes, which only change a. Where pe and pd differ, parameters of encoder
    and decoder are not worth the same, so the total does not tell the loss.
    """

    name = "two_stacks"
    formula = "L = a Ne^-pe Nd^-pd + Linf"
    source = "arXiv 2109.07740"
    inputs = (
        Quantity("Ne", "parameters", "of the encoder, without embeddings"),
        Quantity("Nd", "parameters", "of the decoder, without embeddings and the last layer"),
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("a", "loss above Linf of one parameter in each", log=True),
        Parameter("pe", "exponent of the encoder", low=-5, high=5),
        Parameter("pd", "exponent of the decoder", low=-5, high=5),
        Parameter("Linf", "irreducible loss, nats per token", low=0),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        scale, by_encoder, by_decoder, floor = (column(theta, i) for i in range(4))
        log_e, log_d = np.log(x["Ne"]), np.log(x["Nd"])
        value = np.exp(np.log(scale) - by_encoder * log_e - by_decoder * log_d)
        return value + floor, np.stack([value / scale, -value * log_e, -value * log_d, np.ones_like(value)], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        exponents = (0.05, 0.2, 0.5, 1.0)
        vectors = grid([0.0], exponents, exponents, y.min() * np.array([0.1, 0.6, 0.95]))
        above = np.maximum(centre(y) - vectors[:, 3], 0.01 * centre(y))
        vectors[:, 0] = above * centre(x["Ne"]) ** vectors[:, 1] * centre(x["Nd"]) ** vectors[:, 2]
        return vectors

    def example(self) -> tuple[Floats, Points]:
        encoder, decoder = np.meshgrid(np.geomspace(2e7, 1e9, 9), np.geomspace(2e7, 1e9, 9))
        return np.array([300.0, 0.2, 0.28, 1.0]), {"Ne": encoder.ravel(), "Nd": decoder.ravel()}


TWO_STACKS = TwoStacks()
