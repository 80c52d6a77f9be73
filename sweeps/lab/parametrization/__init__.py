"""Parametrizations: how initialisation and rates of each tensor depend on width and depth. One file per scheme."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from landsweep.sweeps.lab.parametrization.anatomy import NetTensor, anatomy
from landsweep.sweeps.lab.parametrization.apply import (
    Factors,
    TensorLine,
    factors,
    family_of,
    plain_lines,
    rescale,
    tensor_lines,
)
from landsweep.sweeps.lab.parametrization.base import Growth, Parametrization, Rule
from landsweep.sweeps.lab.parametrization.completep import CompleteP
from landsweep.sweeps.lab.parametrization.depth_mup import DepthMup
from landsweep.sweeps.lab.parametrization.embedding_rate import EmbeddingRate
from landsweep.sweeps.lab.parametrization.mup import Mup
from landsweep.sweeps.lab.parametrization.ntk import Ntk
from landsweep.sweeps.lab.parametrization.standard import Standard

__all__ = [
    "CompleteP",
    "DepthMup",
    "EmbeddingRate",
    "Factors",
    "Growth",
    "Mup",
    "NetTensor",
    "Ntk",
    "Parametrization",
    "ParametrizationSpec",
    "Rule",
    "Standard",
    "TensorLine",
    "anatomy",
    "factors",
    "family_of",
    "plain_lines",
    "rescale",
    "tensor_lines",
]

ParametrizationSpec = Annotated[
    Standard | Mup | Ntk | DepthMup | CompleteP | EmbeddingRate, Field(discriminator="scheme")
]
"""A parametrization; told apart by `scheme`: standard, mup, ntk, depth_mup, completep or embedding_rate."""
