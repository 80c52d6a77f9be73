"""A sampler that learns the whole surface: each trial where it leaves the least variance behind."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

__all__ = ["ExploringSampler", "reductions"]

_Array = NDArray[np.float64]


class ExploringSampler(BaseSampler):
    """Bayesian experimental design of a multiverse analysis (arXiv 2206.05985): it explores and does not optimise.

    A Gaussian process with a Matern kernel (smoothness 5/2, a length for each setting) and noise is fitted to the
    trials that have ended. Of random candidates the one is taken that lowers the variance of the process most, in the
    mean over other random places. Variances do not depend on values, so running trials count as if they had ended.

    Args:
        startup: trials that are drawn at random first.
        candidates: how many are compared, and at how many places.
        seed: of what is drawn.
    """

    def __init__(self, startup: int, candidates: int, seed: int) -> None:
        self._startup, self._candidates, self._seed = startup, candidates, seed
        self._random = RandomSampler(seed=seed)
        self._space = IntersectionSearchSpace(include_pruned=False)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The settings that all trials have, but for those of a single value."""
        return {name: d for name, d in self._space.calculate(study).items() if not d.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values of the best candidate; none, while too few trials have ended."""
        states = (TrialState.COMPLETE, TrialState.RUNNING)
        whole = [t for t in study.get_trials(deepcopy=False, states=states) if search_space.keys() <= t.params.keys()]
        ended = [t for t in whole if t.state == TrialState.COMPLETE and math.isfinite(t.values[0])]
        if not search_space or len(ended) < max(self._startup, 2):
            return {}
        source = np.random.default_rng(self._seed)
        drawn = [_draw(search_space, source) for _ in range(2 * self._candidates)]
        places = np.array([_place(values, search_space) for values in drawn])
        seen = np.array([_place(t.params, search_space) for t in whole])
        fitted = np.array([_place(t.params, search_space) for t in ended])
        process = _fitted(fitted, np.array([t.values[0] for t in ended]))
        kernel, noise = process.kernel_.k1, process.kernel_.k2.noise_level
        options, elsewhere = places[: self._candidates], places[self._candidates :]
        return drawn[int(np.argmax(reductions(kernel, noise, seen, options, elsewhere)))]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 - as Optuna declares it
        """A random value."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def reductions(kernel: Any, noise: float, seen: _Array, options: _Array, elsewhere: _Array) -> _Array:  # noqa: ANN401
    """By how much one more value at each option lowers the variance of a Gaussian process, in the mean over places.

    It is the mean over z of cov(x, z)^2 / (var(x) + noise), both given what was seen (Cohn et al. 1996).

    Args:
        kernel: of the process, without noise; called with places [a, d] and [b, d] it gives [a, b].
        noise: variance of a value.
        seen: [n, d].
        options: [m, d].
        elsewhere: [q, d].

    Returns:
        [m].
    """
    gram = kernel(seen, seen) + noise * np.eye(len(seen))
    towards = np.linalg.solve(gram, kernel(seen, elsewhere))
    across = kernel(options, elsewhere) - kernel(options, seen) @ towards
    own = np.einsum("mn,nm->m", kernel(options, seen), np.linalg.solve(gram, kernel(seen, options)))
    variances = np.diag(kernel(options, options)) - own
    return np.asarray((across**2).mean(1) / (np.maximum(variances, 0) + noise))


def _fitted(places: _Array, values: _Array) -> GaussianProcessRegressor:
    from sklearn.exceptions import ConvergenceWarning  # here: it takes a second to import
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    lengths = np.ones(places.shape[1])
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(lengths, (0.05, 20.0), nu=2.5) + WhiteKernel(1e-2, (1e-6, 1.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():  # at a bound a setting has no effect, or the noise none: both may be so
        warnings.filterwarnings("ignore", "The optimal value found", ConvergenceWarning)
        return process.fit(places, values)


def _draw(space: dict[str, BaseDistribution], source: np.random.Generator) -> dict[str, Any]:
    """Random values, uniform in the scale of each setting."""
    values: dict[str, Any] = {}
    for name, d in space.items():
        if isinstance(d, CategoricalDistribution):
            values[name] = d.choices[int(source.integers(len(d.choices)))]
            continue
        assert isinstance(d, FloatDistribution | IntDistribution)
        low, high = (math.log(d.low), math.log(d.high)) if d.log else (d.low, d.high)
        value = low + (high - low) * float(source.random())
        value = math.exp(value) if d.log else value
        if d.step is not None:
            value = min(d.low + round((value - d.low) / d.step) * d.step, d.high)
        values[name] = round(value) if isinstance(d, IntDistribution) else min(max(value, d.low), d.high)
    return values


def _place(values: dict[str, Any], space: dict[str, BaseDistribution]) -> list[float]:
    """Values as a place in a cube from 0 to 1; an option of several is an axis of its own."""
    place: list[float] = []
    for name, d in space.items():
        if isinstance(d, CategoricalDistribution):
            place += [float(values[name] == option) for option in d.choices]
            continue
        assert isinstance(d, FloatDistribution | IntDistribution)
        at, low, high = (math.log(v) if d.log else float(v) for v in (values[name], d.low, d.high))
        place.append((at - low) / (high - low))
    return place
