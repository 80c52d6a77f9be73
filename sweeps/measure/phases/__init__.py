"""Phases: a label for each cell of a grid of load and temperature, by stated rules over what was measured."""

from __future__ import annotations

from landsweep.sweeps.measure.phases.diagram import Diagram, phase_diagram
from landsweep.sweeps.measure.phases.presets import PRESETS, rules_named
from landsweep.sweeps.measure.phases.rules import PhaseRules
from landsweep.sweeps.measure.phases.section import phase_section

__all__ = ["PRESETS", "Diagram", "PhaseRules", "phase_diagram", "phase_section", "rules_named"]
