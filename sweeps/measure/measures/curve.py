"""Mode connectivity: a curve of low loss between two networks, trained while its ends stay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column, Metric
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.lab.weight_space.batch_norm import reestimate, running_layers
from landsweep.sweeps.lab.weight_space.paths import Path, PathShape, PathTraining, Walk, train_path
from landsweep.sweeps.measure.connectivity import (
    Match,
    Matcher,
    Profile,
    StraightThrough,
    barrier_columns,
    barriers,
    curves,
    distance,
    pair,
    profile,
    samples_named,
)
from landsweep.sweeps.measure.measures.base import Measure, Measured, Of
from landsweep.sweeps.measure.subject import Samples, Subject

__all__ = ["Curve"]

_QUARTERS = 4


class Curve(Measure):
    """Loss and error along a Bezier curve or polygon (Garipov et al. 2018, arXiv 1802.10026), trained in the unit.

    `curve_connectivity` is the quantity of the taxonomy of landscapes (arXiv 2107.11228, 2504.18072): mean error of the
    ends minus the error that is farthest from it, at t = 0, 1/4, 1/2, 3/4 and 1. Below 0 there is a barrier that
    training could not avoid; above 0 the ends themselves were not trained to the end. Those papers give it in per cent.
    """

    of: ClassVar[Of] = "pair"
    measure: Literal["curve"] = "curve"
    shape: PathShape = Field("bezier", description="bezier, or polygon: straight pieces from bend to bend")
    bends: int = Field(1, ge=1, le=16, description="trained points between the ends")
    points: int = Field(61, ge=5, description="on the curve, ends included; one more than a multiple of 4")
    fit_evaluator: str = Field("train", description="evaluator on whose samples the curve is trained")
    steps: int = Field(1000, ge=1, description="of the optimizer")
    batch_size: int = Field(128, ge=1, description="samples of a step")
    learning_rate: float = Field(0.03, gt=0, description="of SGD; from half of the steps it falls, to a hundredth")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0, description="of the weights on the curve, not of the bends")
    match: Match = Field("none", description="by what B's hidden units are brought to the places of A's first")
    straight_through: StraightThrough = StraightThrough()

    @model_validator(mode="after")
    def _quarters(self) -> Self:
        if (self.points - 1) % _QUARTERS:
            raise ValueError(f"points must be one more than a multiple of 4, as 5, 21 and 61 are, got {self.points}")
        return self

    def columns(self) -> tuple[Column, ...]:
        return (
            *barrier_columns("curve", "the trained curve"),
            Column("curve_loss_average", "mean loss on the trained curve, over t"),
            Column(
                "curve_connectivity",
                "mean error of the ends minus the error on the trained curve that is farthest from it, at t = 0, 1/4, "
                "1/2, 3/4, 1; below 0: a barrier",
                "share",
            ),
            Column("curve_length", "Euclidean length of the trained curve"),
            Column("curve_distance", "Euclidean distance of its ends, after matching"),
            Column("curve_match", "by what hidden units were matched", type="text"),
        )

    def evaluators(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super().evaluators(), self.fit_evaluator)))

    def check(self, subject: Subject) -> None:
        a, _ = pair(subject)
        module = a.build()
        if running_layers(module) and not subject.batches:
            raise SpecError("a curve estimates batch normalisation anew at each point; that needs training inputs")
        if self.match != "none":
            Matcher(self.match, self.straight_through).symmetry(module, self.samples(subject))

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        matcher = Matcher(self.match, self.straight_through)
        for subject in subjects:
            yield self._measured(subject, matcher)

    def _measured(self, subject: Subject, matcher: Matcher) -> Measured:
        a, _ = pair(subject)
        module = a.build()
        fit = samples_named(subject, self.fit_evaluator)
        b = matcher.matched(module, subject, fit)
        path = train_path(
            module,
            Path.straight(a.state, b, self.shape, self.bends),
            _batches(fit, self.batch_size, generator(subject.seed, "order")),
            fit.loss,
            PathTraining(self.steps, self.learning_rate, self.momentum, self.weight_decay),
            generator(subject.seed, "curve"),
        )
        names = [name for name, _ in module.named_parameters()]
        again = running_layers(module)
        with Walk(module, path) as walk:
            found = profile(
                walk,
                np.linspace(0, 1, self.points).tolist(),
                self.samples(subject),
                (lambda _: reestimate(module, subject.batches)) if again else None,
            )
        values: dict[str, Metric] = {
            **barriers("curve", found),
            "curve_loss_average": float(np.trapezoid(found.loss, found.t)),
            "curve_connectivity": self._connectivity(found),
            "curve_length": path.length(names),
            "curve_distance": distance(a.state, b, names),
            "curve_match": self.match,
        }
        return Measured(values, curves("curve", found))

    def _connectivity(self, found: Profile) -> float | None:
        if found.error is None:
            return None
        every = (self.points - 1) // _QUARTERS
        five = Profile(found.t[::every], found.loss[::every], found.error[::every])
        signed = barriers("", five)["_error_signed"]
        return signed if isinstance(signed, float) and not math.isnan(signed) else None


def _batches(samples: Samples, size: int, source: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Random batches without end; every sample once per epoch, a rest is left out."""
    size = min(size, len(samples))
    while True:
        order = torch.randperm(len(samples), generator=source).to(samples.targets.device)
        for chosen in torch.split(order[: len(order) // size * size], size):
            yield samples.inputs[chosen], samples.targets[chosen]
