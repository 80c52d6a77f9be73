"""Probes: measurements on models while they train, one file each.

Their values go into the series, and the last ones into the rows, where a probe says which names they have.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from landsweep.sweeps.lab.probes.activations import ACTIVATION, Activations
from landsweep.sweeps.lab.probes.attention import Attention
from landsweep.sweeps.lab.probes.base import Probe, Subject
from landsweep.sweeps.lab.probes.logits import Logits
from landsweep.sweeps.lab.probes.preconditioned_sharpness import PreconditionedSharpness
from landsweep.sweeps.lab.probes.sharpness import Sharpness, largest_eigenvalues

__all__ = [
    "ACTIVATION",
    "MEASURED",
    "Activations",
    "Attention",
    "Logits",
    "PreconditionedSharpness",
    "Probe",
    "ProbeSpec",
    "Sharpness",
    "Subject",
    "largest_eigenvalues",
]

ProbeSpec = Annotated[
    Activations | Attention | Logits | PreconditionedSharpness | Sharpness, Field(discriminator="probe")
]
"""A probe; told apart by `probe`: activations, attention, logits, preconditioned_sharpness or sharpness."""

_PROBES: tuple[type[Probe], ...] = get_args(get_args(ProbeSpec)[0])
MEASURED = tuple(name for probe in _PROBES for name in probe.measures)
"""Names of all values that a probe can add to the rows."""
