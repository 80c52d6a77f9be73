"""Rows in, tables and figures and one self-contained HTML page out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from landsweep.orchestrator.report.parts import Report

if TYPE_CHECKING:
    import pandas as pd

    from landsweep.orchestrator.report.tables import Head

__all__ = ["render"]


def render(report: Report, head: Head, rows: pd.DataFrame, series: pd.DataFrame, out: Path) -> Path:
    """Write the page and its pictures; the plotting libraries are only imported here.

    Args:
        report: sections of the kind; without any, generic ones are made from the rows.
        head: what is known of the sweep beside its rows; every entry may be missing.
        rows: one line per unit, in the plan's order; may be empty.
        series: key, step, metric, value; may be empty.
        out: folder of the sweep.

    Returns:
        The path of `report/index.html` under `out`; pictures lie beside it in `figures/`.
    """
    from landsweep.orchestrator.report.page import write

    return write(report, head, rows, series, out)
