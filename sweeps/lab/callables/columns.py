"""Columns that a user declares for what a callable gives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from landsweep.orchestrator.row import METERS
from landsweep.orchestrator.spec import Section

__all__ = ["RESERVED", "ColumnSpec"]

RESERVED = {"key", *(c.name for c in METERS)}  # columns that every row has


class ColumnSpec(Section):
    """What a metric means."""

    doc: str = Field("", description="one sentence: what the number is")
    unit: str = Field("", description="such as s, MB or %")
    type: Literal["float", "int", "bool", "text"] = Field("float", description="how it is stored")
