"""The posterior over a surface: against the closed form, and gaps that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.function.multiverse import gap, surface


def matern(a: np.ndarray, b: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Smoothness 5/2, pair by pair."""
    out = np.empty((len(a), len(b)))
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            r = np.sqrt(5 * (((x - y) / lengths) ** 2).sum())
            out[i, j] = (1 + r + r * r / 3) * np.exp(-r)
    return out


@pytest.mark.parametrize("seed", range(3))
def test_mean_and_deviation_are_those_of_the_formula(seed: int) -> None:
    random = np.random.default_rng(seed)
    places = random.uniform(0, 2, (14, 2))
    values = 3 + np.sin(2 * places[:, 0]) + 0.5 * places[:, 1] + 0.05 * random.normal(size=14)
    new = random.uniform(0, 2, (5, 2))
    process = surface(places, values)
    size, lengths = process.kernel_.k1.k1.constant_value, process.kernel_.k1.k2.length_scale
    noise = process.kernel_.k2.noise_level
    scaled = (values - values.mean()) / values.std()
    inverse = np.linalg.inv(size * matern(places, places, lengths) + (noise + 1e-10) * np.eye(14))
    across = size * matern(new, places, lengths)
    mean, deviation = process.predict(new, return_std=True)
    np.testing.assert_allclose(mean, values.mean() + values.std() * across @ inverse @ scaled, rtol=1e-6)
    variance = size + noise - np.einsum("ij,jk,ik->i", across, inverse, across)
    np.testing.assert_allclose(deviation, values.std() * np.sqrt(variance), rtol=1e-5)


def models(folder: Path) -> None:
    """Accuracies whose best rate grows with the batch, by a known surface: no gap at the best rates."""
    random = np.random.default_rng(0)
    lines = [
        {"optimizer.learning_rate": rate, "batch_size": batch, "status": "ok",
         "test_accuracy": 0.9 - 0.05 * np.log10(rate / (batch / 1600)) ** 2 + 0.002 * random.normal()}
        for rate in np.geomspace(0.01, 1, 7) for batch in (16, 64, 256, 1024) for _ in range(2)
    ]  # fmt: skip
    (folder / "zoo/rows").mkdir(parents=True)
    pd.DataFrame(lines).to_parquet(folder / "zoo/rows/0.parquet")


def test_a_gap_at_one_rate_and_none_at_the_best_ones(tmp_path: Path) -> None:
    models(tmp_path)
    drawn = pd.DataFrame([gap(tmp_path, "zoo", i, 20, [16, 1024]) for i in range(20)])
    wanted = 0.05 * np.log10(64) ** 2  # the large batch's best rate is 64 times as high
    assert drawn["same"].mean() == pytest.approx(wanted, abs=0.02) and drawn["same"].min() > 0.1
    assert abs(drawn["own"].mean()) < 0.01
    assert (drawn["rate_large"] > drawn["rate_small"] + 0.5).all()
    assert drawn["own"].std() > 0  # it says how sure it is
    with pytest.raises(UsageError, match="no models with a batch size of 32"):
        gap(tmp_path, "zoo", 0, 20, [16, 32])
