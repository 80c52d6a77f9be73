"""A function for `measure: own`: whether derivatives in the inputs rank these as correlation with the target does."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import spearmanr

from landsweep.sweeps.measure.subject import Subject

__all__ = ["rank_agreement"]


def rank_agreement(subject: Subject) -> dict[str, float]:
    """How alike input derivatives of the outputs and Spearman's correlation with the target rank the inputs."""
    (model,) = subject.models
    (samples,) = subject.samples.values()
    module, inputs = model.build(), samples.inputs
    rho = np.array([abs(spearmanr(x, samples.targets[:, 0]).statistic) for x in inputs.T])
    sizes: list[list[float]] = []
    for j in range(inputs.shape[1]):
        x = inputs.clone().requires_grad_(True)
        value, along = module(x)[:, 0], []
        for _ in range(3):
            (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True, allow_unused=True)
            if slope is None:  # the derivative before is constant
                along += [0.0] * (3 - len(along))
                break
            value = slope[:, j]
            along.append(float(value.detach().abs().mean()))
            if not value.requires_grad:
                along += [0.0] * (3 - len(along))
                break
        sizes.append(along)
    orders = np.array(sizes).T
    agree = [0.0 if np.ptp(order) == 0 else float(spearmanr(order, rho).statistic) for order in orders]
    return dict(zip(("first", "second", "third"), agree, strict=True))
