"""A function for `measure: own`: the loss of a mixture of several models' probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from landsweep.sweeps.measure.subject import Samples, StoredModel, Subject

__all__ = ["mixture_of_experts"]


def mixture_of_experts(subject: Subject, weights: Mapping[str, float], column: str = "recipe") -> dict[str, float]:
    """Mean of -log sum_i w_i p_i(target) over the samples of each evaluator, `mixed_EVALUATOR`, and `weight_MODEL`.

    The mixture of data experts of arXiv 2502.15950, when each model was trained on one domain: it tells, without any
    training, how well models do that are trained on a mixture of the domains. It is the loss of an expert where that
    one has all the weight, and never more than the weighted mean of the experts' losses.

    Args:
        subject: a group of classifiers or language models, one for each weight.
        weights: what `column` holds in a model's row, to its weight; they are divided by their sum.
        column: of the models' rows.

    Raises:
        ValueError: the weights are not those of the models of the group, negative, or all 0.
    """
    models = {str(model.row[column]): model for model in subject.models}
    if models.keys() != weights.keys() or len(models) != len(subject.models):
        have = ", ".join(str(model.row[column]) for model in subject.models)
        raise ValueError(f"weights: there must be one for each model; given {', '.join(weights)}; {column} has {have}")
    total = sum(weights.values())
    if min(weights.values()) < 0 or not total > 0:
        raise ValueError(f"weights: must be 0 or more, with a sum above 0; got {dict(weights)}")
    shares = torch.tensor([weights[name] / total for name in models], dtype=torch.float64)
    losses = {
        f"mixed_{name}": float(-torch.logsumexp(_of_target(models, samples) + shares.log()[:, None], 0).mean())
        for name, samples in subject.samples.items()
    }
    return {**losses, **{f"weight_{name}": weights[name] / total for name in sorted(models)}}


@torch.no_grad()
def _of_target(models: Mapping[str, StoredModel], samples: Samples) -> Tensor:
    """Logarithm of the probability that each model gives the target of each sample and position, [models, n]."""
    each = []
    for model in models.values():
        module = model.build()
        logs = [
            torch.log_softmax(module(inputs).double(), -1).gather(-1, targets[..., None]).flatten()
            for inputs, targets in samples.batches()
        ]
        each.append(torch.cat(logs).cpu())
    return torch.stack(each)
