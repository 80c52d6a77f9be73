"""Datamodels: which training samples a prediction depends on, from many models of random subsets (arXiv 2202.00622)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.lab.trained_models.reader import Zoo
from landsweep.sweeps.lab.training.draws import subset

__all__ = ["datamodels", "linear_datamodels", "margins"]


def datamodels(
    setup: Path, sweep: str, split: str, targets: int, models: int, penalty: float, held: float = 0.25
) -> dict[str, float]:
    """Linear datamodels of the first samples of a split, tested on models that they were not fitted to.

    Args:
        setup: folder that paths start from.
        sweep: of models of one recipe that differ in their seeds, with `train_fraction` below 1 and their weights kept.
        split: whose samples are predicted; of the training split, each sample should depend on itself most.
        targets: how many of them.
        models: how many of the sweep's models are used, those it lists first.
        penalty: of the ridge regression, on the scale of `linear_datamodels`.
        held: share of the models that the test is made with.

    Returns:
        `score`: mean rank correlation, over targets, of predicted and true margins of the held models (the linear
        datamodelling score); `own_class`: share of targets whose most helpful training sample is of their class; of the
        training split also `itself`: share of targets that are their own most helpful sample, and `self_weight`: mean
        weight of a target's own presence, in margins.

    Raises:
        UsageError: there are too few models or targets, or no such split; models were trained on all samples, or on
            noisy labels.
    """
    fitted = models - max(2, round(held * models))
    if fitted < 2:
        raise UsageError(f"models: {models} are too few to fit some and test on {held:g} of them; give at least 4")
    seen = _observed(setup, sweep, split, targets, models)
    weights, offset = linear_datamodels(seen.present[:fitted], seen.outputs[:fitted], penalty)
    predicted = seen.present[fitted:] @ weights + offset
    scores = [spearmanr(p, t).statistic for p, t in zip(predicted.T, seen.outputs[fitted:].T, strict=True)]
    helpful = weights.argmax(0)
    own_class = seen.classes[helpful] == seen.labels
    values = {"score": float(np.mean(scores)), "own_class": float(np.mean(own_class))}
    if seen.trained_on:
        own = np.arange(targets)
        values |= {"itself": float(np.mean(helpful == own)), "self_weight": float(weights[own, own].mean())}
    return values


class _Observed(NamedTuple):
    """What models of subsets give.

    Attributes:
        present: [models, samples], 1 where a model was trained on a sample.
        outputs: [models, targets], margins.
        classes: [samples], of the training samples.
        labels: [targets].
        trained_on: whether the targets are the first training samples.
    """

    present: Floats
    outputs: Floats
    classes: NDArray[np.int64]
    labels: NDArray[np.int64]
    trained_on: bool


def _observed(setup: Path, sweep: str, split: str, targets: int, models: int) -> _Observed:
    """Arguments and errors are those of `datamodels`."""
    zoo = Zoo(setup / sweep)
    if len(zoo) < models:
        raise UsageError(f"models: {sweep} has {len(zoo):,} models with weights, and {models:,} are asked for")
    first = zoo[0].recipe()
    if first.train_fraction == 1 or first.label_noise:
        raise UsageError(f"{sweep}: datamodels need models of random subsets: train_fraction below 1, no label_noise")
    with zoo.reading():
        data = first.data.load(setup)
    if split not in data.splits:
        raise UsageError(f"split: there is no split {split!r}; the data has {', '.join(data.splits)}")
    train, test = data.splits[first.split], data.splits[split]
    if targets > len(test):
        raise UsageError(f"targets: the split {split} has {len(test):,} samples, and {targets:,} are asked for")
    inputs = test.cast(torch.float64 if first.dtype == "float64" else torch.float32).inputs[:targets]
    labels = test.targets[:targets]
    present, outputs = np.zeros((models, len(train))), np.empty((models, targets))
    for i in range(models):
        recipe = zoo[i].recipe()
        present[i, subset(recipe.seed, recipe.train_fraction, len(train))] = 1.0
        with torch.no_grad():
            outputs[i] = margins(zoo[i].module().eval()(inputs), labels).numpy()
    return _Observed(present, outputs, train.targets.numpy(), labels.numpy(), split == first.split)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Logit of the right class less the largest of the others, [n], of logits [n, classes]."""
    right = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return (right[:, 0] - others.max(1).values).double()


def linear_datamodels(present: Floats, outputs: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Ridge regression of outputs on the presence of samples, for all targets at once.

    min over w, b of mean (y - x w - b)^2 + penalty |w|^2 with the mean over models; solved in the space of models, of
    which there are fewer than samples.

    Args:
        present: [models, samples], 1 where a model was trained on a sample.
        outputs: [models, targets].
        penalty: above 0.

    Returns:
        Weights [samples, targets] and offsets [targets].
    """
    centre, middle = present.mean(0), outputs.mean(0)
    x, y = present - centre, outputs - middle
    dual = np.linalg.solve(x @ x.T + penalty * len(x) * np.eye(len(x)), y)
    weights = x.T @ dual
    return weights, middle - centre @ weights
