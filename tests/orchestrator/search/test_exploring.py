"""The exploring sampler: variances by conditioning a joint normal, and surfaces that it learns better than chance."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from sklearn.gaussian_process.kernels import RBF

from landsweep.orchestrator.search.exploring import ExploringSampler, reductions


@pytest.mark.parametrize("seed", range(20))
def test_a_reduction_is_the_difference_of_two_conditional_variances(seed: int) -> None:
    source = np.random.default_rng(seed)
    kernel, noise = RBF([0.4, 0.7]), 0.05
    seen, options, elsewhere = (source.random((n, 2)) for n in (5, 4, 7))

    def left(places: np.ndarray) -> float:
        """The mean variance elsewhere, by the Schur complement of the joint covariance."""
        joint = kernel(np.vstack([places, elsewhere]))
        n = len(places)
        noisy = joint[:n, :n] + noise * np.eye(n)
        return float(np.trace(joint[n:, n:] - joint[n:, :n] @ np.linalg.inv(noisy) @ joint[:n, n:]) / len(elsewhere))

    found = reductions(kernel, noise, seen, options, elsewhere)
    wanted = [left(seen) - left(np.vstack([seen, x])) for x in options]
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-12)


def _worst_gap(sampler: Callable[[int], BaseSampler], seed: int) -> float:
    """How far a place on the rate's axis may be from all trials, in decades; the goal does not depend on `idle`."""
    study = optuna.create_study()
    for number in range(20):
        study.sampler = sampler(1000 * seed + number)
        trial = study.ask()
        rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
        trial.suggest_categorical("idle", ["a", "b"])
        trial.suggest_int("width", 4, 32, step=4)
        study.tell(trial, math.sin(3 * math.log10(rate)))
    rates = np.sort([math.log10(t.params["rate"]) for t in study.trials])
    return float(np.diff([-4.0, *rates, 0.0]).max())


def test_it_leaves_no_large_stretch_of_a_setting_that_matters_unseen() -> None:
    """Over three searches, against random draws with the same seeds."""
    exploring = [_worst_gap(lambda s: ExploringSampler(8, 64, s), seed) for seed in range(3)]
    random = [_worst_gap(lambda s: RandomSampler(seed=s), seed) for seed in range(3)]
    assert np.mean(exploring) < 0.8 * np.mean(random), (exploring, random)


def test_running_trials_count_so_that_a_generation_spreads() -> None:
    study = optuna.create_study()
    for number in range(8):
        study.sampler = ExploringSampler(8, 64, number)
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1) ** 2)
    asked = []
    for number in range(4):
        study.sampler = ExploringSampler(8, 64, 100 + number)
        asked.append(study.ask().suggest_float("x", 0, 1))
    assert min(abs(a - b) for i, a in enumerate(asked) for b in asked[:i]) > 0.05, asked
