"""One loss against another: planted shifted power laws predict more compute, and distances from a line are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.function.loss_against_loss import extrapolated, off_the_line

STEPS = np.arange(0, 401, 20)


def _write(folder: Path) -> None:
    """Models of three sizes on the data a and b, whose losses are shifted powers of each other, but for `odd`."""
    parts = []
    for recipe, parameters in (
        ("a1", 100),
        ("a2", 200),
        ("a4", 400),
        ("b1", 100),
        ("b2", 200),
        ("b4", 400),
        ("odd", 100),
    ):
        on_a = 1.5 + 8 * (parameters * np.maximum(STEPS, 1)) ** -0.3
        on_b = 0.9 + 1.2 * (on_a - 1.5) ** 1.4
        a, b = (on_a, on_b) if recipe[0] != "b" else (on_a + 0.5, on_b + 0.25)
        for seed in (0, 1):
            parts.append(
                pd.DataFrame({"recipe": recipe, "parameters": parameters, "seed": seed, "step": STEPS,
                              "test_a_loss": a, "test_b_loss": b * (1.1 if recipe == "odd" else 1) + 5 * seed})
            )  # fmt: skip
    (folder / "sweep/series").mkdir(parents=True)
    pd.concat(parts).to_parquet(folder / "sweep/series/part.parquet")


def test_a_planted_law_predicts_more_compute_on_the_same_and_on_other_models(tmp_path: Path) -> None:
    _write(tmp_path)
    pairs = {
        name: [{"recipes": ["a1", "a2", "a4"], "loss": "test_a_loss"}, {"recipes": others, "loss": "test_b_loss"}]
        for name, others in (("same", ["a1", "a2", "a4"]), ("other", ["b1", "b2", "b4"]))
    }
    for pair, last in (("same", 0.0), ("other", 0.25)):
        found = extrapolated(tmp_path, "sweep", 0, pair, pairs, 4.0)
        assert found["fitted"] + found["held"] == 60  # 20 steps of three models; the first evaluation is left out
        assert found["error_held"] < 1e-3 and found["error_last"] < 1e-3
        end = 0.9 + 1.2 * (8 * 160_000**-0.3) ** 1.4 + last
        before = 0.9 + 1.2 * (8 * 40_000**-0.3) ** 1.4 + last
        assert found["gain_last"] == pytest.approx(before / end - 1)


def test_models_on_the_line_have_no_distance_and_others_the_planted_one(tmp_path: Path) -> None:
    _write(tmp_path)
    line, factors = ["a1", "a2", "a4"], {"size": ["a1", "a4"], "kind": ["odd"]}
    for factor, distance in (("size", 0.0), ("kind", 0.1)):
        found = off_the_line(tmp_path, "sweep", 0, line, factor, factors, "test_a_loss", "test_b_loss")
        assert found["scatter"] < 1e-3 and found["distance"] == pytest.approx(distance, abs=2e-3)
    with pytest.raises(UsageError, match="has no recipe c1 with seed 0"):
        off_the_line(tmp_path, "sweep", 0, line, "new", {"new": ["c1"]}, "test_a_loss", "test_b_loss")
