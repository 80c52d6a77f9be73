"""Alignment of spectra: whether the leading singular directions of a run's layers stay what they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.measure.layers import checkpoints_of, matrices_of
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured, Of
from landsweep.sweeps.measure.subject import StoredModel, Subject

__all__ = ["SpectraAlignment"]

Spectra: TypeAlias = Sequence[tuple[Floats, Floats, Floats]]
"""Of each layer: left singular vectors [outputs, r], singular values [r], right singular vectors [inputs, r]."""


class SpectraAlignment(AloneMeasure):
    """`spectra_alignment`: leading singular values and subspaces of each layer, along a run.

    Overlap of two subspaces of dimension k is |U'V|^2 / k, with U and V their orthonormal bases: 1 for the same, k / n
    on average for random ones in n dimensions. Similarity of spectra is the cosine between the vectors of singular
    values, in falling order. Layers are all tensors of two or more dimensions, as matrices [outputs, inputs]; k is
    smaller in layers that have fewer dimensions.
    """

    of: ClassVar[Of] = "group"

    measure: Literal["spectra_alignment"] = "spectra_alignment"
    top: int = Field(3, ge=1, description="k: leading singular vectors of a layer")
    against: Literal["first", "last"] = Field("last", description="checkpoint that the others are compared to")

    def columns(self) -> tuple[Column, ...]:
        ends = "at a run's first and last checkpoint, mean over the layers"
        return (
            Column("spectra_overlap_outputs", f"overlap of the leading left singular vectors {ends}"),
            Column("spectra_overlap_inputs", f"overlap of the leading right singular vectors {ends}"),
            Column("spectra_cosine", f"cosine between the singular values {ends}"),
        )

    def evaluators(self) -> tuple[str, ...]:
        return ()

    def check(self, subject: Subject) -> None:
        checkpoints_of(subject, "spectra_alignment")

    def of_one(self, subject: Subject) -> Measured:
        checkpoints_of(subject, "spectra_alignment")
        spectra = [_spectra(model) for model in subject.models]
        reference, other = (0, -1) if self.against == "first" else (-1, 0)
        along = np.array([self._likeness(spectra[reference], each) for each in spectra])
        values = dict(zip((c.name for c in self.columns()), along[other].tolist(), strict=True))
        return Measured(values, {f"{name}_along_run": along[:, i].tolist() for i, name in enumerate(values)})

    def _likeness(self, reference: Spectra, other: Spectra) -> list[float]:
        """The columns' values for one checkpoint and the one that it is compared to."""
        each = []
        for (left, values, right), (left_too, values_too, right_too) in zip(reference, other, strict=True):
            k = min(self.top, len(values))
            overlaps = [_square(a[:, :k].T @ b[:, :k]) / k for a, b in ((left, left_too), (right, right_too))]
            norms = np.linalg.norm(values) * np.linalg.norm(values_too)
            each.append([*overlaps, float(values @ values_too / norms) if norms > 0 else math.nan])
        return [float(v) for v in np.mean(each, axis=0)]


def _spectra(model: StoredModel) -> Spectra:
    svds = (np.linalg.svd(matrix, full_matrices=False) for matrix in matrices_of(model).values())
    return [(left, values, right.T) for left, values, right in svds]


def _square(matrix: Floats) -> float:
    return float((matrix**2).sum())
