"""The critical batch: how far a batch can grow before doubling it stops halving the steps."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column

__all__ = ["CRITICAL_BATCH", "CriticalBatch"]


class CriticalBatch(Law):
    """B_crit(L) = Bstar / L^(1 / aB), in tokens (Kaplan et al., arXiv 2001.08361, equation 1.4; arXiv 1812.06162).

    Training at batch B to the loss L takes S = S_min (1 + B_crit / B) steps. Published: Bstar 2e8 tokens
    (2.1e8 in its appendix), aB 0.21.
    """

    name = "critical_batch"
    formula = "batch = Bstar / loss^(1/aB)"
    source = "arXiv 2001.08361"
    inputs = (Quantity("loss", "nats per token", "loss that is reached"),)
    output = Quantity("batch", "tokens", "critical batch")
    parameters = (
        Parameter("Bstar", "critical batch at a loss of 1 nat, tokens", log=True),
        Parameter("aB", "exponent", low=1e-3, high=10),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        log_loss, a = np.log(x["loss"]), column(theta, 1)
        value = np.exp(np.log(column(theta, 0)) - log_loss / a)
        return value, np.stack([value / column(theta, 0), value * log_loss / a**2], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        return np.array([(centre(y) * centre(x["loss"]) ** (1 / a), a) for a in (0.05, 0.1, 0.2, 0.5, 1.0)])

    def example(self) -> tuple[Floats, Points]:
        return np.array([2e8, 0.21]), {"loss": np.linspace(2.2, 6.0, 25)}


CRITICAL_BATCH = CriticalBatch()
