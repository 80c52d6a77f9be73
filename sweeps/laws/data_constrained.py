"""Training for several epochs: repeated tokens, and parameters beyond what unique tokens need, are worth ever less."""

from __future__ import annotations

import numpy as np
from scipy.special import gammainc

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["DATA_CONSTRAINED", "DataConstrained"]


_LEAST = 600.0  # exp(-600) parameters are as good as none, and their reciprocal is still a number
_WORTH = (1e-9, 1e9)  # beyond, a repetition is worth nothing, or as much as something new, to nine digits


class DataConstrained(Law):
    """L = E + A / N'^alpha + B / D'^beta with effective N' and D' (Muennighoff et al., arXiv 2305.16264).

        D' = Ud + Ud RD (1 - exp(-(D / Ud - 1) / RD)),   Ud = min(U, D)
        N' = Un + Un RN (1 - exp(-(N / Un - 1) / RN)),   Un = min(N, size that is optimal for U tokens)

    D counts tokens with repetition, U unique ones: D / Ud - 1 is the number of repetitions, N / Un - 1 the excess of
    parameters. The optimal size follows from the law's own single-epoch part, see `chinchilla`. Published: alpha = beta
    = 0.35266, ln A 6.2554, ln B 7.3050, ln E 0.62548, RN 5.3097, RD 15.388, the last two fitted with the others held at
    single-epoch values: `--fixed "E=...,A=...,B=...,alpha=...,beta=..."`.
    """

    name = "data_constrained"
    formula = "L = E + A/N'^alpha + B/D'^beta, D' = U (1 + RD (1 - exp(-(D/U - 1)/RD))), N' likewise"
    source = "arXiv 2305.16264"
    inputs = (
        Quantity("N", "parameters", "size of the model"),
        Quantity("D", "tokens", "tokens seen, with repetition"),
        Quantity("U", "tokens", "unique tokens"),
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("E", "irreducible loss, nats per token", low=0),
        Parameter("A", "loss of one parameter, nats", log=True),
        Parameter("B", "loss of one token, nats", log=True),
        Parameter("alpha", "exponent of size", log=True, low=1e-3, high=5),
        Parameter("beta", "exponent of data", log=True, low=1e-3, high=5),
        Parameter("RN", "excess of parameters, in optimal sizes, that is worth 63 % of its limit", True, *_WORTH),
        Parameter("RD", "repetitions that are worth 63 % of their limit", True, *_WORTH),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        e, a, b, alpha, beta, worth_n, worth_d = (column(theta, i) for i in range(7))
        log_u = np.log(x["U"])
        log_ratio = np.log(alpha * a) - np.log(beta * b)
        optimal = log_ratio / alpha + beta / alpha * log_u  # logarithm of the size that is optimal for U tokens
        limited = optimal < np.log(x["N"])
        unique_n = np.where(limited, np.exp(np.clip(optimal, -_LEAST, np.log(x["N"]))), x["N"])
        size, size_by_unique, size_by_worth = _effective(x["N"], unique_n, worth_n)
        data, _, data_by_worth = _effective(x["D"], np.minimum(x["U"], x["D"]), worth_d)
        term_n = np.exp(np.log(a) - alpha * np.log(size))
        term_d = np.exp(np.log(b) - beta * np.log(data))
        slope_n, slope_d = -alpha * term_n / size, -beta * term_d / data
        by_optimal = np.where(limited, slope_n * size_by_unique * unique_n, 0.0)  # by the logarithm of Un
        ones = np.ones_like(term_n)
        gradient = [
            ones,
            term_n / a + by_optimal / (alpha * a),
            term_d / b - by_optimal / (alpha * b),
            -term_n * np.log(size) + by_optimal * (1 - log_ratio - beta * log_u) / alpha**2,
            -term_d * np.log(data) + by_optimal * (log_u - 1 / beta) / alpha,
            slope_n * size_by_worth,
            slope_d * data_by_worth,
        ]
        return e + term_n + term_d, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        del x
        scales = np.exp([3.0, 6.0, 9.0])
        return grid(y.min() * np.array([0.5, 0.9]), scales, scales, (0.2, 0.4, 0.7), (0.2, 0.4, 0.7), (3, 20), (3, 20))

    def example(self) -> tuple[Floats, Points]:
        e, a, b = np.exp([0.62548, 6.2554, 7.3050])
        sizes, unique, epochs = np.meshgrid(np.geomspace(1e7, 4e9, 8), np.geomspace(1e8, 4e9, 4), (1, 2, 4, 10, 30, 80))
        x = {"N": sizes.ravel(), "D": (unique * epochs).ravel(), "U": unique.ravel()}
        return np.array([e, a, b, 0.35266, 0.35266, 5.3097, 15.388]), x


def _effective(amount: Floats, unique: Floats, worth: Floats) -> tuple[Floats, Floats, Floats]:
    """Effective amount, and its derivatives by the unique amount and by what repetitions are worth."""
    tired = (amount - unique) / unique / worth
    gone = -np.expm1(-tired)
    by_worth = gammainc(2, tired)  # 1 - (1 + tired) exp(-tired), which by subtraction loses all digits for small tired
    return unique * (1 + worth * gone), gone + worth * by_worth, unique * by_worth


DATA_CONSTRAINED = DataConstrained()
