"""Multiverse analysis (arXiv 2206.05985): what a Gaussian process that has seen some settings says of all of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.fitting.tables import read_table

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

__all__ = ["gap", "surface"]

_RATES = 33  # places along the learning rate that a draw is looked at


def surface(places: NDArray[np.float64], values: NDArray[np.float64]) -> GaussianProcessRegressor:
    """A Gaussian process fitted to noisy values [n] at places [n, settings].

    A Matern kernel of smoothness 5/2 with a length for each setting, and noise; by the largest marginal likelihood.
    """
    from sklearn.exceptions import ConvergenceWarning  # here: it takes a second to import
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    spans = np.ptp(places, axis=0)
    bounds = [(0.1 * span, 10 * span) for span in spans]
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(spans, bounds, nu=2.5) + WhiteKernel(1e-2, (1e-6, 1.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0)
    with warnings.catch_warnings():  # at a bound a setting has no effect, or the noise none: both may be so
        warnings.filterwarnings("ignore", "The optimal value found", ConvergenceWarning)
        return process.fit(places, values)


@lru_cache(maxsize=4)
def _posterior(folder: Path, metric: str, batches: tuple[int, int], draws: int) -> NDArray[np.float64]:
    """Draws [draws, 2, rates] of the metric without noise along the learning rate, at two batch sizes."""
    rows = read_table(folder)
    columns = ["optimizer.learning_rate", "batch_size"]
    table = rows[[*columns, metric]].dropna().astype(float)
    if missing := set(batches) - set(table["batch_size"]):
        raise UsageError(f"{folder} has no models with a batch size of {min(missing)}")
    process = surface(np.log(table[columns].to_numpy()), table[metric].to_numpy())
    lowest, highest = (float(np.log(end)) for end in (table[columns[0]].min(), table[columns[0]].max()))
    rates = np.linspace(lowest, highest, _RATES)
    grid = np.array([[rate, np.log(batch)] for batch in batches for rate in rates])
    drawn = process.sample_y(grid, draws, random_state=0).T  # of the surface: white noise has no share in it
    return np.asarray(drawn.reshape(draws, 2, _RATES))


def gap(
    setup: Path, sweep: str, draw: int, draws: int, batches: Sequence[int], metric: str = "test_accuracy"
) -> dict[str, float]:
    """By how much a small batch is better than a large one, in one draw from the posterior.

    Args:
        setup: folder that `sweep` is relative to.
        sweep: results of models over learning rates and batch sizes.
        draw: which of the draws.
        draws: how many there are.
        batches: the small and the large one.
        metric: of which more is better.

    Returns:
        `same`: at the rate that is best for the small batch; `own`: each at its best rate; and the two rates, as
        places from 0 to 1 between the lowest and the highest.
    """
    small, large = _posterior(setup / sweep, metric, (batches[0], batches[1]), draws)[draw]
    best, other = int(small.argmax()), int(large.argmax())
    return {
        "same": float(small[best] - large[best]),
        "own": float(small[best] - large[other]),
        "rate_small": best / (_RATES - 1),
        "rate_large": other / (_RATES - 1),
    }
