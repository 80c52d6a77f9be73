"""Regressors of the loss of models trained on mixtures, from the mixture alone and with losses of mixed experts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.fitting.tables import read_table

__all__ = ["regressors"]

Floats = NDArray[np.float64]


def regressors(setup: Path, runs: str, mixed: str, domain: str, domains: list[str], seed: int) -> dict[str, float]:
    """Two linear regressors of the loss on a domain, each mixture predicted from all others.

    One sees the weights of the mixture, the other also the losses of the mixed experts on all domains, as
    arXiv 2502.15950 has it. Both have a constant, and the smallest coefficients among those that fit best.

    Args:
        setup: folder that paths start from.
        runs: sweep of models trained on mixtures; its recipes are named as the measures of `mixed`.
        mixed: sweep of the measure `mixture_of_experts`.
        domain: whose loss is predicted.
        domains: all of them.
        seed: of runs and experts.

    Returns:
        Root mean squares of the errors in nats, rank correlations of predicted and measured losses, and those of the
        loss of the mixed experts itself.

    Raises:
        UsageError: there are fewer than five mixtures that both sweeps have.
    """
    measured = read_table(setup / runs).query("seed == @seed").set_index("recipe")
    experts = read_table(setup / mixed).query("seed == @seed").set_index("measure")
    names = [name for name in measured.index if name in experts.index]
    if len(names) < 5:
        raise UsageError(f"{runs} and {mixed} share {len(names)} mixtures at seed {seed}; five are needed")
    shares = experts.loc[names, [f"weight_{d}" for d in domains]].to_numpy(float)
    losses = experts.loc[names, [f"mixed_{d}" for d in domains]].to_numpy(float)
    truth = measured.loc[names, f"test_{domain}_loss"].to_numpy(float)
    plain, with_losses = _left_out(shares, truth), _left_out(np.hstack([shares, losses]), truth)
    own = losses[:, domains.index(domain)]
    return {
        "error_weights": float(np.sqrt(np.mean((plain - truth) ** 2))),
        "error_experts": float(np.sqrt(np.mean((with_losses - truth) ** 2))),
        "rank_weights": float(spearmanr(plain, truth).statistic),
        "rank_experts": float(spearmanr(with_losses, truth).statistic),
        "rank_mixed_loss": float(spearmanr(own, truth).statistic),
        "error_mixed_loss": float(np.sqrt(np.mean((own - truth) ** 2))),
    }


def _left_out(features: Floats, truth: Floats) -> Floats:
    """Each value as a least-squares fit with a constant to all others predicts it."""
    design = np.hstack([np.ones((len(truth), 1)), features])
    predicted = np.empty_like(truth)
    for i in range(len(truth)):
        others = np.arange(len(truth)) != i
        predicted[i] = design[i] @ np.linalg.lstsq(design[others], truth[others], rcond=1e-9)[0]
    return predicted
