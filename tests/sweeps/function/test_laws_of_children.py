"""Laws of fine-tuned children, mixtures and domains: what was planted in their tables is found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.function.data_experts import regressors
from landsweep.sweeps.function.domains import frontier
from landsweep.sweeps.function.tuned import best_mixture, continual, rectified
from landsweep.sweeps.laws.annealing import areas


def test_a_planted_plateau_is_seen_by_the_rectified_law_alone(tmp_path: Path) -> None:
    share = np.geomspace(0.001, 1, 12)
    table = pd.DataFrame({"net.args.parent": 64, "seed": 0, "train_fraction": share})
    table["test_loss"] = 800 / (400 + (16384 * share).round() ** 0.9) + 0.5
    pd.concat([table, table.assign(seed=1, test_loss=9.0)]).to_csv(tmp_path / "tuned.csv", index=False)
    found = rectified(tmp_path, "tuned.csv", "64", 0, 16384, "test_loss")
    assert found["rectified_held"] < 1e-3 < found["power_offset_fitted"]
    assert found["rectified_largest"] == pytest.approx(found["measured"], rel=1e-3)


def series(folder: Path, name: str, rates: dict[str, np.ndarray], losses: dict[str, np.ndarray], **more: int) -> None:
    (folder / name / "series").mkdir(parents=True)
    parts = [
        pd.DataFrame({"key": k, "recipe": k, "step": np.arange(1, len(r) + 1), "learning_rate": r, "loss": losses[k]})
        for k, r in rates.items()
    ]
    pd.concat(parts).iloc[9::10].assign(**more).to_parquet(folder / name / "series/part.parquet")


def test_a_planted_law_of_continual_training_predicts_another_schedule(tmp_path: Path) -> None:
    steps = np.arange(300)
    before = np.full(300, 0.01)
    first, _ = areas(before, 0.99)
    series(tmp_path, "parents", {"p": before}, {"p": 1 + 0.6 * first**-0.4}, seed=0)
    rates = {"constant": before, "linear": 0.01 * (300 - steps) / 300, "half": before / 2}
    losses = {}
    for name, rate in rates.items():
        s1, s2 = areas(rate, 0.99)
        losses[name] = 1 + 0.6 * (first[-1] + s1) ** -0.4 - 0.5 * s2 + 0.8 * (1 - (1 + 5 * s1) ** -0.7)
    series(tmp_path, "children", rates, losses, **{"net.args.parent": 0})
    found = continual(tmp_path, "parents", "children", 0, "loss", ["constant", "linear"])
    assert found["error_held"] < 0.003 < 0.05 * found["spread_held"] and found["shift"] > 0 and found["points"] == 30
    with pytest.raises(UsageError, match="no other recipe"):
        continual(tmp_path, "parents", "children", 0, "loss", list(rates))


def test_the_planted_best_mixture_is_chosen(tmp_path: Path) -> None:
    share, steps = (v.ravel() for v in np.meshgrid([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95], [50, 100, 200, 400]))
    n, m = 32 * steps * share, 32 * steps * (1 - share)
    names = [f"a{round(100 * s):02d}" for s in share]
    table = pd.DataFrame({"seed": 0, "steps": steps, "recipe": names, "share": share})
    table["test_a_loss"] = 20 * (100 + n + 0.1 * m**0.9) ** -0.5 + 0.6
    table["test_b_loss"] = 60 * (100 + m + 0.3 * n**0.9) ** -0.5 + 0.4
    table.to_csv(tmp_path / "grid.csv", index=False)
    found = best_mixture(tmp_path, "grid.csv", ["a", "b"], 32, 0, dict(zip(names, share, strict=True)))
    last = table[table["steps"] == 400]
    mean = (last["test_a_loss"] + last["test_b_loss"]) / 2
    assert found["share_grid"] == last["share"].to_numpy()[mean.argmin()]
    assert abs(found["share_law"] - found["share_grid"]) < 0.08 and found["regret"] < 1e-3
    assert found["loss_grid"] == pytest.approx(mean.min())


def test_losses_of_experts_help_where_the_truth_depends_on_them(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    h = random.dirichlet(np.ones(2), 12)
    names = [f"m{i}" for i in range(12)]
    mixed = np.stack([np.sin(5 * h[:, 0]), h[:, 1] ** 2], 1)
    runs = pd.DataFrame({"recipe": names, "seed": 0})
    runs.assign(test_a_loss=2 * mixed[:, 0] + h[:, 1]).to_csv(tmp_path / "runs.csv", index=False)
    experts = pd.DataFrame({"measure": names, "seed": 0, "mixed_a": mixed[:, 0], "mixed_b": mixed[:, 1]})
    experts = experts.assign(weight_a=h[:, 0], weight_b=h[:, 1])
    experts.to_csv(tmp_path / "mixed.csv", index=False)
    found = regressors(tmp_path, "runs.csv", "mixed.csv", "a", ["a", "b"], 0)
    assert found["error_experts"] < 1e-9 < 0.1 < found["error_weights"] and found["rank_experts"] == 1
    with pytest.raises(UsageError, match="share 0 mixtures at seed 3"):
        regressors(tmp_path, "runs.csv", "mixed.csv", "a", ["a", "b"], 3)


def test_the_frontier_of_a_planted_law_has_its_exponent(tmp_path: Path) -> None:
    """Of L = A N^-a + B D^-b the best size grows as C^(b / (a + b)) (arXiv 2203.15556, equation 4)."""
    a, b = 0.6, 0.4
    sizes, steps = np.geomspace(100, 1e5, 13), np.unique(np.geomspace(10, 30000, 80).astype(int))
    parts = [
        pd.DataFrame({"parameters": n, "recipe": "text", "seed": 0, "step": steps,
                      "test_loss": 30 * n**-a + 30 * (64.0 * steps) ** -b})
        for n in sizes
    ]  # fmt: skip
    (tmp_path / "runs/series").mkdir(parents=True)
    pd.concat(parts).to_parquet(tmp_path / "runs/series/part.parquet")
    found = frontier(tmp_path, "runs", "text", 0, 64)
    assert found["exponent"] == pytest.approx(b / (a + b), abs=0.02) and found["budgets"] >= 8
    assert frontier(tmp_path, "runs", "text", 0, 64, points=2)["exponent"] is None
