"""Accuracy on a task against the loss on it: a sigmoid between chance and the best that can be reached."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["TASK_SIGMOID", "TaskSigmoid"]


class TaskSigmoid(Law):
    """accuracy = b + a / (1 + exp(k (L - L0))) (the second step of Bhagia et al., arXiv 2412.04403).

    L is the loss on the right answers of a task, in nats or bits per byte; the first step, that loss against size and
    tokens, is the law `chinchilla` (`--bounds "A=1:,B=1:"` for the authors' bounds of its scales). The paper writes
    a / (1 + exp(-k (L - L0))) + b and lets k be negative; here k > 0, so that accuracy rises as the loss falls: from b,
    chance, at a high loss to b + a at a low one. Fit it in linear units (`--linear`): errors of an accuracy are not
    relative.
    """

    name = "task_sigmoid"
    formula = "accuracy = b + a / (1 + exp(k (L - L0)))"
    source = "arXiv 2412.04403"
    inputs = (Quantity("L", "nats or bits per byte", "loss on the right answers", positive=False),)
    output = Quantity("accuracy", "share", "of questions that are answered right")
    parameters = (
        Parameter("a", "gain over chance at a low loss", log=True, high=1),
        Parameter("b", "accuracy of chance", low=0, high=1),
        Parameter("k", "slope, per unit of loss", log=True, low=1e-3, high=1e4),
        Parameter("L0", "loss at which half of the gain is reached"),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        gain, chance, slope, middle = (column(theta, i) for i in range(4))
        u = slope * (x["L"] - middle)
        share = expit(-u)
        change = gain * share * expit(u)
        gradient = [share, np.ones_like(share), -change * (x["L"] - middle), change * slope]
        return chance + gain * share, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        low, high = float(x["L"].min()), float(x["L"].max())
        span, rise = max(high - low, 1e-9), max(float(np.ptp(y)), 1e-3)
        middles = low + span * np.array([0.0, 0.25, 0.5, 0.75, 1.0])
        return grid([rise, 2 * rise], [float(y.min()), 0.8 * float(y.min())], np.array([2, 6, 20]) / span, middles)

    def example(self) -> tuple[Floats, Points]:
        return np.array([0.65, 0.25, 6.0, 0.9]), {"L": np.linspace(0.3, 1.8, 60)}


TASK_SIGMOID = TaskSigmoid()
