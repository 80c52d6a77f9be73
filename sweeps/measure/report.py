"""The report of a measuring sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landsweep.orchestrator.report.parts import Report
from landsweep.sweeps.measure.spec import MeasureSweepSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["measure_report"]


def measure_report(spec: MeasureSweepSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
    """A section for each measure."""
    del spec, rows, series
    return Report(sections=())
