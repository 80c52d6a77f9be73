"""Columns of several sweeps beside each other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.function.beside import beside


def test_each_column_comes_from_its_own_rows(tmp_path: Path) -> None:
    pd.DataFrame({"recipe": ["a", "a", "b"], "seed": [0, 1, 0], "loss": [1.0, 2.0, 3.0]}).to_csv(tmp_path / "x.csv")
    pd.DataFrame({"of": ["a", "a", "b"], "number": [1, 1, 1], "trace": [4, 6, 9]}).to_csv(tmp_path / "y.csv")
    columns = {
        "loss": {"sweep": "x.csv", "column": "loss"},
        "trace": {"sweep": "y.csv", "column": "trace", "recipe": "of", "seed": "number"},
    }
    assert beside(tmp_path, columns, "a", 1) == {"loss": 2.0, "trace": 5.0}
    with pytest.raises(UsageError, match=r"columns\.loss: x\.csv has no value for b, seed 1"):
        beside(tmp_path, columns, "b", 1)
    with pytest.raises(UsageError, match=r"y\.csv has no column 'size'"):
        beside(tmp_path, {"size": {**columns["trace"], "column": "size"}}, "a", 1)
