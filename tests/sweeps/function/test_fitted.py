"""Laws fitted to the results of another sweep: planted laws are found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.reading import read_yaml
from landsweep.sweeps.function.fitted import (
    budgets,
    curves,
    here,
    mixtures,
    published_annealing,
    sizes,
    slowdown,
    trajectory,
    two_stacks,
)
from landsweep.sweeps.lab.data import Translation
from landsweep.sweeps.laws.annealing import areas
from landsweep.sweeps.laws.steps_batch import STEPS_BATCH
from tests.support.paths import SHIPPED_SPECS


def test_a_planted_power_of_the_size_predicts_the_largest(tmp_path: Path) -> None:
    n = np.array([100, 200, 400, 800, 3200])
    table = pd.DataFrame({"recipe": "mup", "seed": 0, "parameters": n, "test_loss": 1.5 + (50 / n) ** 0.7})
    pd.concat([table, table.assign(seed=1, test_loss=9.0), table.assign(recipe="other")]).to_csv(tmp_path / "runs.csv")
    found = sizes(here(tmp_path), "runs.csv", "mup", 0, "test_loss")
    assert found["error_held"] < 1e-4 and found["measured"] == pytest.approx(float(table["test_loss"].iloc[-1]))


def test_planted_exponents_of_two_stacks_come_back(tmp_path: Path) -> None:
    encoder, decoder = (a.ravel().astype(float) for a in np.meshgrid([1, 2, 3], [1, 3]))
    loss = 0.26 + 0.5 * encoder**-0.2 * decoder**-0.6
    table = pd.DataFrame({"net.encoder_depth": encoder, "net.depth": decoder, "seed": 0, "test_loss": loss,
                          "parameters": 1000 + 500 * encoder + 700 * decoder})  # fmt: skip
    pd.concat([table, table.assign(seed=1, test_loss=1.0)]).to_csv(tmp_path / "runs.csv")
    found = two_stacks(tmp_path, "runs.csv", 0, 0.26)
    assert found["by_encoder"] == pytest.approx(0.2, abs=1e-4) and found["by_decoder"] == pytest.approx(0.6, abs=1e-4)
    assert found["error_two"] < 1e-5 < 0.02 < found["error_total"]


def test_the_floor_of_the_shipped_spec_is_the_entropy_of_its_data() -> None:
    fitted, runs = (read_yaml(SHIPPED_SPECS / f"papers/translation_2109_07740{end}.yaml") for end in ("", "_runs"))
    entropy = Translation.model_validate(runs["recipe"]["data"]).entropy()
    assert fitted["fixed"]["floor"] == pytest.approx(entropy, abs=1e-4)


def test_the_best_size_of_each_budget_predicts_the_largest_one(tmp_path: Path) -> None:
    lines = []
    for budget in (1e9, 2e9, 4e9, 8e9, None):
        for size in (0.5, 1.0, 2.0):  # the one in the middle is best
            best = 3 * (budget or 1e12) ** -0.1
            lines.append({"budget": budget, "parameters": size * (budget or 1.0) ** 0.5, "seed": 0,
                          "test_loss": best * (1.0 if size == 1 else 1.1)})  # fmt: skip
    pd.DataFrame(lines).to_csv(tmp_path / "runs.csv")
    found = budgets(tmp_path, "runs.csv", 0)
    assert found["error_held"] < 1e-6 and found["growth"] == pytest.approx(0.5, abs=1e-6)
    assert found["measured"] == pytest.approx(3 * 8e9**-0.1)


def _series(folder: Path, curve: dict[str, np.ndarray], loss: dict[str, np.ndarray]) -> None:
    """Curves as the series of a sweep, every fifth step."""
    parts = [
        pd.DataFrame({"key": name, "recipe": name, "seed": 0, "step": np.arange(1, len(rate) + 1),
                      "learning_rate": rate, "test_loss": loss[name]})[4::5]
        for name, rate in curve.items()
    ]  # fmt: skip
    (folder / "sweep/series").mkdir(parents=True)
    pd.concat(parts).to_parquet(folder / "sweep/series/part.parquet")


def test_a_planted_annealing_law_predicts_a_schedule_that_was_not_fitted(tmp_path: Path) -> None:
    steps = np.arange(200)
    rates = {"constant": np.full(200, 0.01), "wsd20": np.where(steps < 160, 0.01, 0.01 * (200 - steps) / 40),
             "linear": 0.01 * (200 - steps) / 200}  # fmt: skip
    losses = {}
    for name, rate in rates.items():
        first, second = areas(rate, 0.99) if name else (rate, rate)
        losses[name] = 1 + 0.5 * first**-0.5 - 0.3 * second
    _series(tmp_path, rates, losses)
    found = curves(tmp_path, "sweep", "annealing_curves", 0, "test_loss", "learning_rate", ["constant", "wsd20"], 20)
    assert found["points"] == 37 and found["error_held"] < 0.02
    with pytest.raises(UsageError, match="no other recipe"):
        curves(tmp_path, "sweep", "annealing_curves", 0, "test_loss", "learning_rate", list(rates), 20)


def test_a_break_is_found_where_it_was_planted(tmp_path: Path) -> None:
    t = np.arange(1, 401.0)
    loss = 2 * (t / 60) ** -0.4 * (1 + (t / 60) ** 10) ** 0.03
    _series(tmp_path, {"constant": np.full(400, 0.01)}, {"constant": loss})
    broken, plain = (slowdown(tmp_path, "sweep", law, 0, "test_loss") for law in ("deceleration", "power"))
    assert broken["rmse"] < 0.1 * plain["rmse"] and broken["step"] == pytest.approx(60, rel=0.1)


def test_a_planted_mixture_law_predicts_mixtures_and_longer_training(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    h, n = random.uniform(0.05, 0.95, 16), random.choice([1000, 4000], 16)
    sample, steps = np.repeat(np.arange(16), 5), np.tile([0, 100, 200, 300, 600], 16)
    h, n = h[sample], n[sample]
    loss = 1 + 1 / (1.5 * h**0.5 + 0.5 * (1 - h) ** 0.4) + 20 / n**0.6 + 90 / (np.maximum(steps, 1) * 384.0) ** 0.5
    table = pd.DataFrame({"parameters": n, "step": steps, "data.weights.a": 3 * h, "data.weights.b": 3 - 3 * h,
                          "sample": sample, "test_a_loss": loss})  # fmt: skip
    (tmp_path / "sweep/series").mkdir(parents=True)
    table.to_parquet(tmp_path / "sweep/series/part.parquet")
    for alpha in (None, 0.6, 1.5):  # two sizes do not determine the exponent of size: any will do
        found = mixtures(tmp_path, "sweep", "mixture_additive:2", "a", 1, 384, 300, alpha)
        assert found["points"] == 4  # of the samples 1, 5, 9 and 13 the step 600
        assert found["error_held"] < 0.01 < found["spread"]


def test_a_planted_law_of_size_steps_and_batch_predicts_whole_curves(tmp_path: Path) -> None:
    size, batch, step = (v.ravel() for v in np.meshgrid([1e3, 2e3, 4e3], [4, 16, 64], np.arange(0, 1001, 50)))
    points = {"N": size, "S": np.maximum(step, 1.0), "B": batch * 2.0}
    loss = STEPS_BATCH.predict(np.array([[500, 40, 0.3, 0.6, 20, 0.4]]), points)[0]
    table = pd.DataFrame({"parameters": size, "batch_size": batch, "step": step, "seed": 0, "test_loss": loss})
    (tmp_path / "sweep/series").mkdir(parents=True)
    pd.concat([table, table.assign(seed=1, test_loss=3.0)]).to_parquet(tmp_path / "sweep/series/part.parquet")
    for held, curves_held in (("size", 2), ("batch", 2), ("both", 1)):
        found = trajectory(tmp_path, "sweep", 0, "test_loss", 16, 2, 100, held)
        assert found["points"] == 19 * curves_held  # steps 100 to 1,000
        assert found["error_held"] < 1e-3 < found["fall"]
    with pytest.raises(UsageError, match="no curves for held: both, batch: 5"):
        trajectory(tmp_path, "sweep", 0, "test_loss", 5, 2, 100, "both")


def test_published_points_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANDSWEEP_PUBLISHED_DATA", raising=False)
    with pytest.raises(UsageError, match="LANDSWEEP_PUBLISHED_DATA"):
        published_annealing("L0")
