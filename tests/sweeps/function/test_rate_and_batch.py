"""Best batch size, learning rate and critical batch size: those that were planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.function.rate_and_batch import best_settings

BATCHES, RATES = np.array([4, 8, 16, 32, 64]), 2.0 ** np.arange(-9, -2)


def _write(folder: Path, best: float, rate: float) -> None:
    """A loss that is a paraboloid in the logarithms of both."""
    b, r = np.meshgrid(BATCHES, RATES)
    loss = 1 + 0.1 * (np.log2(b) - best) ** 2 + 0.2 * (np.log2(r) - rate) ** 2
    table = pd.DataFrame({"batch_size": b.ravel(), "optimizer.learning_rate": r.ravel(), "test_loss": loss.ravel()})
    table = table.assign(train_fraction=0.5, seed=0)
    pd.concat([table, table.assign(seed=1, test_loss=0.1), table.assign(train_fraction=0.1, test_loss=0.2)]).to_csv(
        folder / "runs.csv"
    )


def test_the_planted_optimum_is_between_the_points(tmp_path: Path) -> None:
    _write(tmp_path, 3.8, -6.3)
    found = best_settings(tmp_path, "runs.csv", 0.5, 0, "test_loss", 0.05)
    assert found["best_batch"] == pytest.approx(2**3.8) and found["best_rate"] == pytest.approx(2**-6.3)
    assert found["bracketed"] == 1
    assert found["sensitivity"] == pytest.approx(0.2 * np.mean((np.log2(RATES) + 6.3) ** 2 - 0.09))
    low, at, above = (1 + 0.1 * (k - 3.8) ** 2 + 0.2 * 0.09 for k in (4, 4, 5))
    assert found["critical_batch"] == pytest.approx(2 ** (4 + (1.05 * low - at) / (above - at)))


def test_an_optimum_at_an_end_is_said_and_missing_points_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, 9.0, -6.0)
    found = best_settings(tmp_path, "runs.csv", 0.5, 0, "test_loss", 0.05)
    assert (found["best_batch"], found["critical_batch"], found["bracketed"]) == (64, 64, 0)
    with pytest.raises(UsageError, match="must be known"):
        best_settings(tmp_path, "runs.csv", 0.25, 0, "test_loss", 0.05)
