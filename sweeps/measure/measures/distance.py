"""How far apart the weights of two models are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from landsweep.orchestrator.row import Column
from landsweep.sweeps.measure.measures.base import Measure, Measured, Of
from landsweep.sweeps.measure.subject import StoredModel, Subject

__all__ = ["Distance"]


class Distance(Measure):
    """Euclidean distance and angle between the parameters of two models, taken as vectors in float64."""

    of: ClassVar[Of] = "pair"

    measure: Literal["distance"]

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("distance", "Euclidean norm of the difference of the parameters"),
            Column("relative_distance", "`distance` over the mean of the two norms"),
            Column("angle", "angle between the parameters as vectors; none where one of them is zero", "degrees"),
        )

    def evaluators(self) -> tuple[str, ...]:
        return ()

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        for subject in subjects:
            a, b = (_parameters(model) for model in subject.models)
            norms = a.norm().item(), b.norm().item()
            distance = (a - b).norm().item()
            yield Measured(
                {
                    "distance": distance,
                    "relative_distance": distance / (sum(norms) / 2) if any(norms) else None,
                    "angle": _angle(a / norms[0], b / norms[1]) if all(norms) else None,
                }
            )


def _angle(a: Tensor, b: Tensor) -> float:
    """Angle between unit vectors, in degrees; exact also where it is small, unlike the arc cosine (Kahan)."""
    return math.degrees(2 * math.atan2((a - b).norm().item(), (a + b).norm().item()))


def _parameters(model: StoredModel) -> Tensor:
    """All parameters [P], without buffers."""
    return torch.cat([p.detach().reshape(-1).double() for p in model.build().parameters()])
