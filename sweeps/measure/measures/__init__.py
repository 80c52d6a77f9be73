"""Measures: quantities of stored models, one file each.

Each gives its columns and curves; what it needs of a model, a pair or a group is in `Subject`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from landsweep.sweeps.measure.measures.alpha import Alpha
from landsweep.sweeps.measure.measures.average_sharpness import AverageSharpness
from landsweep.sweeps.measure.measures.barrier import Barrier
from landsweep.sweeps.measure.measures.base import Measure, Measured, Of
from landsweep.sweeps.measure.measures.calibration import Calibration
from landsweep.sweeps.measure.measures.cka import Cka
from landsweep.sweeps.measure.measures.class_losses import ClassLosses
from landsweep.sweeps.measure.measures.curve import Curve
from landsweep.sweeps.measure.measures.directional_curvature import DirectionalCurvature
from landsweep.sweeps.measure.measures.disagreement import Disagreement
from landsweep.sweeps.measure.measures.distance import Distance
from landsweep.sweeps.measure.measures.distance_from_start import DistanceFromStart
from landsweep.sweeps.measure.measures.dropout_path import DropoutPath
from landsweep.sweeps.measure.measures.dropout_stability import DropoutStability
from landsweep.sweeps.measure.measures.effective_dimension import EffectiveDimension
from landsweep.sweeps.measure.measures.eigenvalues import Eigenvalues
from landsweep.sweeps.measure.measures.first_order_flatness import FirstOrderFlatness
from landsweep.sweeps.measure.measures.gradient import Gradient
from landsweep.sweeps.measure.measures.input_derivatives import InputDerivatives
from landsweep.sweeps.measure.measures.layer_rotation import LayerRotation
from landsweep.sweeps.measure.measures.lla import Lla
from landsweep.sweeps.measure.measures.losses import Losses
from landsweep.sweeps.measure.measures.own import OwnMeasure
from landsweep.sweeps.measure.measures.pruning import Pruning
from landsweep.sweeps.measure.measures.quantisation import Quantisation
from landsweep.sweeps.measure.measures.relative_flatness import RelativeFlatness
from landsweep.sweeps.measure.measures.robustness import Robustness
from landsweep.sweeps.measure.measures.roughness import Roughness
from landsweep.sweeps.measure.measures.sam_sharpness import SamSharpness
from landsweep.sweeps.measure.measures.second_order_barrier import SecondOrderBarrier
from landsweep.sweeps.measure.measures.spectra_alignment import SpectraAlignment
from landsweep.sweeps.measure.measures.spectrum import Spectrum
from landsweep.sweeps.measure.measures.subspace_drift import SubspaceDrift
from landsweep.sweeps.measure.measures.third_order import ThirdOrder
from landsweep.sweeps.measure.measures.trace import Trace
from landsweep.sweeps.measure.measures.worst_sharpness import WorstSharpness

__all__ = ["Measure", "MeasureSpec", "Measured", "Of"]

MeasureSpec = Annotated[
    Alpha
    | AverageSharpness
    | Barrier
    | Calibration
    | Cka
    | ClassLosses
    | Curve
    | DirectionalCurvature
    | Disagreement
    | Distance
    | DistanceFromStart
    | DropoutPath
    | DropoutStability
    | EffectiveDimension
    | Eigenvalues
    | FirstOrderFlatness
    | Gradient
    | InputDerivatives
    | LayerRotation
    | Lla
    | Losses
    | OwnMeasure
    | Pruning
    | Quantisation
    | RelativeFlatness
    | Robustness
    | Roughness
    | SamSharpness
    | SecondOrderBarrier
    | SpectraAlignment
    | Spectrum
    | SubspaceDrift
    | ThirdOrder
    | Trace
    | WorstSharpness,
    Field(discriminator="measure"),
]
"""A measure; told apart by `measure`, which is the name of its file."""
