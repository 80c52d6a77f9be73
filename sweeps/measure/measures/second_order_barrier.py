"""Second-order barriers: what gradients and curvature at two networks say of the barrier between them, by layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective, product_with
from landsweep.sweeps.lab.weight_space.batch_norm import running_layers
from landsweep.sweeps.measure.connectivity import Match, Matcher, StraightThrough, pair, samples_named
from landsweep.sweeps.measure.measures.base import Measured, Of
from landsweep.sweeps.measure.measures.curvature import Curvature
from landsweep.sweeps.measure.subject import Subject

__all__ = ["SecondOrderBarrier"]


class SecondOrderBarrier(Curvature):
    """The barrier `line` of the loss, measured, and predicted by both ends, for all layers together and for each alone.

    The loss at A + t D is expanded to second order from A and from B = A + D; with the weights 1 - t and t their mean
    lies above the chord of the ends by t (1 - t) (D'(g_A - g_B) + (t D'H_A D + (1 - t) D'H_B D) / 2). It is exact
    where the loss on the line is quadratic. One layer alone moves from A's weights to B's while all others stay A's
    (arXiv 2406.16300). Curves hold the layers in the order of the parameters.
    """

    of: ClassVar[Of] = "pair"
    measure: Literal["second_order_barrier"]
    points: int = Field(25, ge=3, description="on each line, ends included")
    match: Match = Field("none", description="by what B's hidden units are brought to the places of A's first")
    match_evaluator: str = Field("train", description="evaluator whose samples matching looks at")
    straight_through: StraightThrough = StraightThrough()

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("second_order_barrier", "highest excess over the chord that second-order expansions predict"),
            Column("second_order_measured", "highest excess of the loss on the straight line over the chord"),
            Column("second_order_curvature_start", "curvature D'HD at the first network, D the way to the second"),
            Column("second_order_curvature_middle", "the same half-way"),
            Column("second_order_curvature_end", "the same at the second network"),
            Column("second_order_layer", "highest prediction of a layer alone"),
            Column("second_order_layer_measured", "highest excess over the chord of a layer alone"),
        )

    def evaluators(self) -> tuple[str, ...]:
        looks = self.match in ("activations", "straight_through")
        return tuple(dict.fromkeys((self.evaluator, *([self.match_evaluator] if looks else []))))

    def check(self, subject: Subject) -> None:
        a, _ = pair(subject)
        if running_layers(a.build()):
            raise SpecError(
                "second_order_barrier: the running statistics of batch normalisation move on the line too, which no "
                "derivative in the weights foresees; measure networks without, or take `barrier`"
            )
        super().check(subject)
        if self.match != "none":
            Matcher(self.match, self.straight_through).symmetry(a.build(), self.samples(subject))

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        matcher = Matcher(self.match, self.straight_through)
        for subject in subjects:
            a, _ = pair(subject)
            b = matcher.matched(a.build(), subject, samples_named(subject, self.evaluators()[-1]))
            _, objective = next(iter(self.packs([subject])))
            ends = torch.cat([b[name].flatten() for name in objective.layout.shapes])
            yield self._measured(objective, ends[None].to(objective.weights) - objective.weights)

    def _measured(self, objective: Objective, way: Tensor) -> Measured:
        whole = self._line(objective, way)
        parts = objective.layout.split(way)
        layers = dict.fromkeys(name.rpartition(".")[0] or name for name in parts)
        each = []
        for layer in layers:
            alone = torch.zeros_like(way)
            for name, part in objective.layout.split(alone).items():
                if (name.rpartition(".")[0] or name) == layer:
                    part.copy_(parts[name])
            each.append(self._line(objective, alone))
        values = {
            "second_order_barrier": whole.predicted,
            "second_order_measured": whole.measured,
            "second_order_curvature_start": whole.curvature[0],
            "second_order_curvature_middle": whole.curvature[1],
            "second_order_curvature_end": whole.curvature[2],
            "second_order_layer": max(line.predicted for line in each),
            "second_order_layer_measured": max(line.measured for line in each),
        }
        curves = {
            "layer_predicted": [line.predicted for line in each],
            "layer_measured": [line.measured for line in each],
            "layer_curvature": [line.curvature[1] for line in each],
        }
        return Measured(values, curves)

    def _line(self, objective: Objective, way: Tensor) -> _Line:
        t = torch.linspace(0, 1, self.points, dtype=torch.float64)
        losses = torch.cat([objective.losses(objective.weights + float(s) * way).double().cpu() for s in t])
        chord = (1 - t) * losses[0] + t * losses[-1]
        slopes, curvature = [], []
        for place in (0.0, 0.5, 1.0):
            there = objective.at(objective.weights + place * way)
            slopes.append(float((there.gradient()[1] * way).sum()))
            curvature.append(float((product_with("hessian", there)(way) * way).sum()))
        predicted = t * (1 - t) * (slopes[0] - slopes[2] + (t * curvature[0] + (1 - t) * curvature[2]) / 2)
        return _Line(float(predicted.max()), float((losses - chord).max()), tuple(curvature))


@dataclass(frozen=True, slots=True)
class _Line:
    """Highest excess over the chord, as predicted and as measured, and D'HD at both ends and half-way between."""

    predicted: float
    measured: float
    curvature: tuple[float, ...]
