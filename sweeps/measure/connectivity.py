"""What measures of connectivity share: the pair, its matching, profiles along paths, three definitions of a barrier."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column, Metric
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.losses import right_answers
from landsweep.sweeps.lab.matching.activations import match_activations
from landsweep.sweeps.lab.matching.straight_through import match_straight_through
from landsweep.sweeps.lab.matching.symmetry import Symmetry, find_symmetry, permute
from landsweep.sweeps.lab.matching.weights import Matching, match_weights
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.lab.weight_space.paths import Walk
from landsweep.sweeps.measure.subject import Samples, StoredModel, Subject

__all__ = [
    "Match",
    "Matcher",
    "Profile",
    "State",
    "StraightThrough",
    "barrier_columns",
    "barriers",
    "curves",
    "distance",
    "judged",
    "pair",
    "profile",
    "samples_named",
]

Match: TypeAlias = Literal["none", "weights", "activations", "straight_through"]
State: TypeAlias = Mapping[str, Tensor]

_PROVED_ON = 4  # samples with which permutations are tried out


class StraightThrough(Section):
    """How straight-through matching learns."""

    steps: int = Field(50, ge=1, description="of Adam, one batch each")
    learning_rate: float = Field(0.001, gt=0, description="of Adam")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a path passes through.

    Attributes:
        t: where, from 0 to 1.
        loss: mean loss at each place.
        error: share of wrong answers; None where the targets are no classes.
    """

    t: tuple[float, ...]
    loss: tuple[float, ...]
    error: tuple[float, ...] | None


def pair(subject: Subject) -> tuple[StoredModel, StoredModel]:
    """The two models, whose tensors have equal names and shapes.

    Raises:
        SpecError: there are not two, or they differ in architecture.
    """
    if len(subject.models) != 2:
        raise SpecError(f"this measure takes pairs of models, but was given {len(subject.models)}; select `pairs`")
    a, b = subject.models
    differing = [
        k
        for k in {**a.state, **b.state}
        if k not in a.state or k not in b.state or a.state[k].shape != b.state[k].shape
    ]
    if differing:
        raise SpecError(
            f"models {a.key} and {b.key} differ in shape or name of {', '.join(differing[:6])}; only networks of one "
            "architecture are connected: pair models that are equal in the fields of `net`"
        )
    return a, b


def samples_named(subject: Subject, name: str) -> Samples:
    """The samples of an evaluator.

    Raises:
        SpecError: there is none of this name.
    """
    if name not in subject.samples:
        raise SpecError(f"there is no evaluator {name!r}; there are {', '.join(subject.samples)}")
    return subject.samples[name]


class Matcher:
    """Brings the hidden units of B to the places of A's; what was found of the architecture is used again.

    Args:
        match: by what.
        settings: of straight-through matching.
    """

    def __init__(self, match: Match, settings: StraightThrough) -> None:
        self._match, self._settings = match, settings
        self._symmetry: Symmetry | None = None

    def symmetry(self, module: nn.Module, samples: Samples) -> Symmetry:
        """The hidden units of the architecture.

        Raises:
            SpecError: as `find_symmetry`.
        """
        if self._symmetry is None:
            self._symmetry = find_symmetry(module, samples.inputs[:_PROVED_ON])
        return self._symmetry

    def matched(self, module: nn.Module, subject: Subject, samples: Samples) -> State:
        """The state dict of B, permuted to A.

        Args:
            module: of the architecture, on the device; its weights change.
            subject: the pair.
            samples: that activations and losses are taken from.
        """
        _a, b = subject.models
        if self._match == "none":
            return b.state
        symmetry = self.symmetry(module, samples)
        return permute(b.state, symmetry.units, self._matching(module, subject, symmetry, samples).orders)

    def _matching(self, module: nn.Module, subject: Subject, symmetry: Symmetry, samples: Samples) -> Matching:
        a, b = subject.models
        draw = generator(subject.seed, "match")
        if self._match == "weights":
            return match_weights(a.state, b.state, symmetry, [n for n, _ in module.named_parameters()], draw)
        if self._match == "activations":
            return match_activations(a.build(), b.build(), symmetry, [inputs for inputs, _ in samples.batches()])
        steps, rate = self._settings.steps, self._settings.learning_rate
        batches = list(samples.batches())
        return match_straight_through(module, a.state, b.state, symmetry, batches, samples.loss, draw, steps, rate)


def distance(a: State, b: State, names: Sequence[str]) -> float:
    """Euclidean distance of two networks in the space of their parameters."""
    return math.sqrt(sum(float((a[k].double() - b[k].double()).square().sum()) for k in names))


def profile(
    walk: Walk, points: Sequence[float], samples: Samples, arrived: Callable[[float], None] | None = None
) -> Profile:
    """Loss and error at points of a path.

    Args:
        walk: along the path.
        points: from 0 to 1.
        samples: that judge.
        arrived: called at each point, before its loss is taken: to re-estimate statistics, to repair.
    """
    losses, errors = [], []
    for t in points:
        walk.move(t)
        if arrived is not None:
            arrived(t)
        loss, error = judged(walk.module, samples)
        losses.append(loss)
        errors.append(error)
    classes = not samples.targets.is_floating_point()
    return Profile(tuple(points), tuple(losses), tuple(errors) if classes else None)


@torch.inference_mode()
def judged(module: nn.Module, samples: Samples) -> tuple[float, float]:
    """Mean loss and share of wrong answers (NaN where the targets are no classes), summed in float64."""
    loss = hits = torch.zeros((), dtype=torch.float64, device=samples.targets.device)
    classes = not samples.targets.is_floating_point()
    for inputs, targets in samples.batches():
        outputs = module(inputs)
        loss = loss + samples.loss(outputs, targets).double().sum()
        if classes:
            hits = hits + right_answers(outputs, targets).sum()
    both = (torch.stack([loss, hits]) / len(samples)).tolist()
    return both[0], 1 - both[1] if classes else math.nan


def barriers(prefix: str, path_profile: Profile) -> dict[str, Metric]:
    """The three definitions for loss and error, and the profile's ends, middle and highest point.

    A loss on the path that is not finite makes the barriers infinite.
    """
    values: dict[str, Metric] = {}
    for what, profile in (("loss", path_profile.loss), ("error", path_profile.error)):
        names = ("line", "mean", "signed", "start", "end", "middle", "highest")
        if profile is None:
            values |= {f"{prefix}_{what}_{name}": None for name in names}
            continue
        y, t = np.array(profile), np.array(path_profile.t)
        mean = (y[0] + y[-1]) / 2
        if np.isfinite(y).all():
            signed = mean - y[np.abs(y - mean).argmax()]
            given = [(y - (1 - t) * y[0] - t * y[-1]).max(), y.max() - mean, signed]
        else:
            given = [math.inf, math.inf, -math.inf]
        middle = y[int(np.abs(t - 0.5).argmin())]
        given += [y[0], y[-1], middle, t[np.where(np.isfinite(y), y, math.inf).argmax()]]
        values |= {f"{prefix}_{what}_{name}": float(v) for name, v in zip(names, given, strict=True)}
    return values


def barrier_columns(prefix: str, path: str) -> Iterator[Column]:
    """The columns of `barriers`.

    Args:
        prefix: of their names.
        path: in words, such as `the straight line`.
    """
    for what in ("loss", "error"):
        unit = "" if what == "loss" else "share"
        yield Column(
            f"{prefix}_{what}_line", f"highest excess of the {what} on {path} over the chord of its ends", unit
        )
        yield Column(f"{prefix}_{what}_mean", f"highest {what} on {path} minus the mean of its ends", unit)
        yield Column(
            f"{prefix}_{what}_signed",
            f"mean {what} of the ends minus the {what} on {path} that is farthest from it; below 0: a barrier",
            unit,
        )
        yield Column(f"{prefix}_{what}_start", f"{what} of the first model, where {path} begins", unit)
        yield Column(f"{prefix}_{what}_end", f"{what} of the second model, where {path} ends", unit)
        yield Column(f"{prefix}_{what}_middle", f"{what} half-way on {path}", unit)
        yield Column(f"{prefix}_{what}_highest", f"where on {path} the {what} is highest, from 0 to 1")


def curves(prefix: str, path_profile: Profile) -> dict[str, tuple[float, ...]]:
    """The profile as curves, at equal distances from 0 to 1: PREFIX_loss and, of classes, PREFIX_error."""
    error = {} if path_profile.error is None else {f"{prefix}_error": path_profile.error}
    return {f"{prefix}_loss": path_profile.loss, **error}
