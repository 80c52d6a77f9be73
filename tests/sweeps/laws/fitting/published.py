"""Published tables, where the variable LANDSWEEP_PUBLISHED_DATA names the folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = os.environ.get("LANDSWEEP_PUBLISHED_DATA")
published = pytest.mark.skipif(FOLDER is None, reason="LANDSWEEP_PUBLISHED_DATA names no folder of published tables")
CHINCHILLA_COLUMNS = {"N": "Model Size", "C": "Training FLOP", "D": "C/6/N"}
EXCLUDED = ["loss top 5"]


def table(name: str) -> Path:
    assert FOLDER is not None
    return Path(FOLDER) / name
