"""Layer rotation: how far the weights of each layer have turned since a run's first checkpoint."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.measure.layers import checkpoints_of, matrices_of
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured, Of
from landsweep.sweeps.measure.subject import Subject

__all__ = ["LayerRotation"]


class LayerRotation(AloneMeasure):
    """`layer_rotation`: cosine distance of each layer's weights from those of the first checkpoint (arXiv 1806.01603).

    Layers are all tensors of two or more dimensions; those that are 0 at the first checkpoint have no direction and are
    left out.
    """

    of: ClassVar[Of] = "group"

    measure: Literal["layer_rotation"] = "layer_rotation"

    def columns(self) -> tuple[Column, ...]:
        said = "1 - cosine between a layer's weights at the last and the first checkpoint"
        return (
            Column("layer_rotation", f"{said}, mean over the layers"),
            Column("layer_rotation_lowest", f"{said}, in the layer where it is lowest"),
            Column("layer_rotation_highest", f"{said}, in the layer where it is highest"),
        )

    def evaluators(self) -> tuple[str, ...]:
        return ()

    def check(self, subject: Subject) -> None:
        checkpoints_of(subject, "layer_rotation")

    def of_one(self, subject: Subject) -> Measured:
        checkpoints_of(subject, "layer_rotation")
        first, *later = (matrices_of(model) for model in subject.models)
        names = [name for name, w in first.items() if w.any()]
        turned = np.array([[_turn(first[name], weights[name]) for name in names] for weights in later])
        last = turned[-1] if names else np.array([])
        values = {
            "layer_rotation": float(last.mean()) if names else None,
            "layer_rotation_lowest": float(last.min()) if names else None,
            "layer_rotation_highest": float(last.max()) if names else None,
        }
        along = turned.mean(1).tolist() if names else []
        return Measured(values, {"layer_rotation_along_run": [0.0, *along], "layer_rotation_of_layers": last.tolist()})


def _turn(a: Floats, b: Floats) -> float:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1 - float(np.vdot(a, b)) / norms if norms > 0 else float("nan")
