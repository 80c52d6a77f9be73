"""Would this study determine this law? Simulated studies with known parameters, all fitted at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t as student

from landsweep.sweeps.laws.base import Floats, Law, Points
from landsweep.sweeps.laws.fitting.objective import objective_named
from landsweep.sweeps.laws.fitting.problem import Coordinates, Problem
from landsweep.sweeps.laws.fitting.solver import Batch, descend

__all__ = ["simulate"]

_STEPS = 300


def simulate(
    law: Law, theta: Floats, x: Points, *, noise: float, runs: int = 200, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Fit `runs` studies whose measurements scatter around the law, by least squares on logarithms.

    Args:
        law: what the studies follow.
        theta: true parameters [P].
        x: inputs of the study [n], prepared.
        noise: standard deviation of log measured.
        runs: how many studies.
        level: confidence level of the intervals.
        seed: seed of the noise.

    Returns:
        A line for each parameter: `name`, `true`, `median`, `bias` and `error` (median error and median standard
        error in internal coordinates: relative for positive parameters), `covered` (share of the studies whose
        interval holds the true value).
    """
    coordinates = Coordinates.of(law)
    exact = law.predict(theta[None], x)
    y = exact * np.exp(noise * np.random.default_rng(seed).standard_normal((runs, exact.shape[1])))
    problem = Problem(law, x, y, np.ones(y.shape[1]), objective_named("least-squares"), coordinates)
    truth = coordinates.inside(theta)
    batch = descend(problem, Batch.at(problem, np.tile(truth, (runs, 1))), _STEPS)
    freedom = y.shape[1] - len(theta)
    variance = 2 * batch.value / freedom
    inverse = np.linalg.pinv(batch.curvature, rcond=1e-15, hermitian=True)
    errors = np.sqrt(variance[:, None] * np.einsum("sii->si", inverse))
    covered = np.abs(batch.phi - truth) <= student.ppf((1 + level) / 2, freedom) * errors
    return pd.DataFrame(
        {
            "name": [p.name for p in law.parameters],
            "true": theta,
            "median": np.median(coordinates.outside(batch.phi), axis=0),
            "bias": np.median(batch.phi, axis=0) - truth,
            "error": np.median(errors, axis=0),
            "covered": covered.mean(0),
        }
    )
