"""All losses of this project, sample by sample: of packs of K models, and of one network alone.

`sample_losses` and `hits` work on K models at once, and how they sum does not depend on K. `LOSSES` are torch's own
formulas for one network; in the last bit their cross entropy may differ from the stacked one, so neither stands in for
the other. The audit of a zoo writes its loss down once more, on purpose: it checks the ones here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from landsweep.sweeps.lab.few_classes import cross_entropies

__all__ = [
    "LOSSES",
    "OF_CLASSES",
    "LossFunction",
    "LossName",
    "TrainingLoss",
    "batch_loss",
    "hits",
    "log_softmax",
    "right_answers",
    "sample_losses",
]

LossName: TypeAlias = Literal["cross_entropy", "mse", "hinge", "squentropy", "stablemax", "outputs"]
LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Outputs [n, ...] and targets [n, ...] of one network to the loss of each sample, [n]."""


OF_CLASSES: frozenset[str] = frozenset(("cross_entropy", "hinge", "squentropy", "stablemax"))
"""Losses that need classes."""


def log_softmax(outputs: Tensor) -> Tensor:
    """Logarithm of softmax over the last axis of [K, n, classes], given as [K, classes, n].

    Over an axis that is not the last torch computes it 20 times as fast where classes are few; and with K in front, how
    it splits the work does not depend on K, so neither do a model's bits.
    """
    return torch.log_softmax(outputs.transpose(1, 2).contiguous(), 1)


def sample_losses(loss: LossName, outputs: Tensor, targets: Tensor) -> Tensor:
    """Loss of each sample of K models, [K, n]; of a sequence, the mean over its positions.

    Args:
        loss: cross_entropy (in nats); mse (mean over the outputs of a sample; of classes, to their one-hot code);
            hinge, squentropy or stablemax: see `_margins`, `_squares` and `_stable_max`; outputs (their mean, whatever
            the targets: of networks that compute their own loss).
        outputs: [K, n, classes], [K, n, positions, classes], or of the shape of the targets.
        targets: [K, n] or [K, n, positions] classes, or floating point of the shape of the outputs.
    """
    k, n = outputs.shape[:2]
    if loss == "cross_entropy":
        logs = log_softmax(outputs.flatten(1, -2))
        each = -logs.gather(1, targets.reshape(k, 1, -1))[:, 0]
    elif loss in _OF_LOGITS:
        each = _OF_LOGITS[loss](outputs.flatten(1, -2), targets.reshape(k, -1))
    elif loss == "outputs":
        each = outputs
    else:
        if not targets.is_floating_point():
            targets = F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
        each = (outputs - targets.reshape(outputs.shape)).square()
    return each if each.shape == (k, n) else each.reshape(k, n, -1).mean(2)


def _margins(outputs: Tensor, targets: Tensor) -> Tensor:
    """Hinge loss of several classes: the mean over all classes of max(0, 1 - f_y + f_j), 0 for y itself.

    torch's multi_margin_loss. Of two classes it is max(0, 1 - (f_y - f_other)) / 2.

    Args:
        outputs: [..., classes].
        targets: [...] classes.
    """
    right = outputs.gather(-1, targets.unsqueeze(-1))
    return ((1 - right + outputs).clamp(min=0).sum(-1) - 1) / outputs.shape[-1]


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squentropy (arXiv 2302.03952): cross entropy plus the mean square of the logits of the wrong classes."""
    right = outputs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    wrong = (outputs.square().sum(-1) - right.square()) / (outputs.shape[-1] - 1)
    return outputs.logsumexp(-1) - right + wrong


def _stable_max(outputs: Tensor, targets: Tensor) -> Tensor:
    """StableMax cross entropy (arXiv 2501.04697): -log(s_y / sum of s_j), s = f + 1 above 0 and 1 / (1 - f) below."""
    sizes = torch.where(outputs >= 0, outputs + 1, 1 / (1 - outputs.clamp(max=0)))
    right = sizes.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return sizes.sum(-1).log() - right.log()


_OF_LOGITS: Mapping[str, LossFunction] = {"hinge": _margins, "squentropy": _squares, "stablemax": _stable_max}


@dataclass(frozen=True, slots=True)
class TrainingLoss:
    """What training lowers: a loss, and terms that evaluation leaves out.

    Attributes:
        name: as in `sample_losses`.
        z_loss: times (log sum exp of the logits)^2 is added (arXiv 2204.02311, section 5); 0: there is none.
        label_smoothing: share of each sample's weight that is spread evenly over all classes (arXiv 1512.00567,
            section 7), as in torch's cross entropy. Both are of cross entropy.
    """

    name: LossName
    z_loss: float = 0.0
    label_smoothing: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether it is the loss alone."""
        return not (self.z_loss or self.label_smoothing)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Losses [K, n]; arguments as in `sample_losses`."""
        each = sample_losses(self.name, outputs, targets)
        if self.plain:
            return each
        normaliser = outputs.logsumexp(-1)
        if self.label_smoothing:
            each = each.lerp(_by_sample(normaliser - outputs.mean(-1)), self.label_smoothing)
        return each + self.z_loss * _by_sample(normaliser.square()) if self.z_loss else each


def _by_sample(values: Tensor) -> Tensor:
    """Means [K, n] of values [K, n] or [K, n, ...]."""
    return values if values.ndim == 2 else values.flatten(2).mean(2)


def hits(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers in each sample of K models, [K, n]: 0 or 1, of a sequence the mean over its positions.

    Args:
        outputs: [K, n, classes] or [K, n, positions, classes].
        targets: [K, n] or [K, n, positions] classes.
    """
    k, n = outputs.shape[:2]
    guesses = outputs.max(-1).indices.view(targets.shape)  # as argmax, in a seventh of its time
    right = (guesses == targets).to(outputs.dtype)
    return right if right.ndim == 2 else right.reshape(k, n, -1).mean(2)


def batch_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """What a network alone lowers: mean cross entropy over all positions for classes, else mean squared error.

    Args:
        outputs: [n, classes], [n, positions, classes], or of the shape of the targets.
        targets: [n] or [n, positions] classes, or floating point of the shape of the outputs.
    """
    if targets.is_floating_point():
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def right_answers(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of right answers in each sample of one network, [n], in float64; shapes as in `batch_loss`."""
    return _sample_means((outputs.max(-1).indices == targets).double())


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    if targets.ndim == 1 and outputs.ndim == 2:
        return cross_entropies(outputs, targets)
    if targets.ndim == 1:
        return F.cross_entropy(outputs, targets, reduction="none")
    each = cross_entropies(outputs.flatten(0, -2), targets.flatten())
    return _sample_means(each.view(targets.shape))


def _mse(outputs: Tensor, targets: Tensor) -> Tensor:
    values = targets if targets.is_floating_point() else F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
    if values.shape != outputs.shape:
        raise ValueError(f"outputs have shape {list(outputs.shape)}, but targets {list(values.shape)}")
    return ((outputs - values) ** 2).flatten(1).mean(1)


def _error(outputs: Tensor, targets: Tensor) -> Tensor:
    return _sample_means((outputs.argmax(-1) != targets).double())


def _sample_means(values: Tensor) -> Tensor:
    """Means [n] of values [n] or [n, ...]."""
    return values if values.ndim == 1 else values.flatten(1).mean(1)


LOSSES: Mapping[str, LossFunction] = {
    "cross_entropy": _cross_entropy,
    "mse": _mse,
    "hinge": lambda outputs, targets: _sample_means(_margins(outputs, targets)),
    "squentropy": lambda outputs, targets: _sample_means(_squares(outputs, targets)),
    "stablemax": lambda outputs, targets: _sample_means(_stable_max(outputs, targets)),
    "outputs": lambda outputs, targets: _sample_means(outputs),
    "error": _error,
}
"""Losses of one network by name."""
