"""The study for a cluster, as it is shipped, on small files of tokens: bf16, branches, models on two devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landsweep import plan, run
from tests.support.cli import command

SMALL = [
    "recipe.data.vocabulary=64",
    "recipe.data.context=16",
    "recipe.batch_size=16",
    "recipe.micro_batch=8",
    "recipe.schedule.warmup_steps=5",
    "recipe.evaluate={splits: [test], first: 64, every_steps: 50}",
    "recipe.optimizer.learning_rate=0.01",
    "widths=[8, 16, 24, 32]",
    "shape={aspect: 8, head_width: 8}",
    "budgets=[1e9, 4e9]",
    "limits={least_steps: 20}",
    "rate={size: -0.23, at_size: 3000}",
    "rates=[1]",
    'devices={by_parameters: {"2e4": 2}}',
    "validate={budgets: [2e10]}",
]


def test_its_plan_tells_device_hours_and_what_they_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = {"gpus": 1, "workers": 16, "peak_flops": 1e15, "mfu": 0.4, "price": 3.0}
    forecast = plan("scaling_cluster", site=site)
    assert forecast.costs is not None and forecast.device_hours is not None and forecast.price is not None
    runs = [dict(zip(forecast.costs.table.header, line, strict=True)) for line in forecast.costs.table.lines]
    main = [line for line in runs if line["branches at"] == "-"]
    assert {float(str(line["s per run"])) for line in main if line["budget"] == "1e+19"} == {2.5e4}, "1e19 / 4e14"
    assert forecast.price == pytest.approx(3 * forecast.device_hours)
    assert forecast.seconds == pytest.approx(forecast.device_hours * 3600 / 16)
    assert "device-hours, which cost" in str(forecast)
    unknown = plan("scaling_cluster", site={**site, "mfu": None})
    assert unknown.device_hours is None and "give site.peak_flops and site.mfu" in str(unknown)


@pytest.mark.slow
def test_it_runs_on_two_cores_with_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/tokens").mkdir(parents=True)
    draw = np.random.default_rng(0)
    follows = draw.dirichlet(np.full(64, 0.1), size=64).cumsum(1)
    for name, length in (("train_00", 30_000), ("train_01", 30_000), ("val_00", 8_000)):
        tokens = np.zeros(length, "<u2")
        for i, u in enumerate(draw.random(length - 1)):
            tokens[i + 1] = min(63, np.searchsorted(follows[tokens[i]], u))
        tokens.tofile(tmp_path / f"data/tokens/{name}.bin")
    site = {"executor": "local", "workers": 2, "tracking": False}
    results = run("scaling_cluster", *SMALL, site=site)
    rows = results.rows
    assert len(rows) == 8 and set(rows["status"]) == {"ok"} and set(rows["precision"]) == {"bf16"}
    assert (rows["devices"] == np.where(rows["parameters"] > 2e4, 2, 1)).all() and set(rows["devices"]) == {1, 2}
    branches = rows[rows["flops_spent"] < 0.5 * rows["flops"]]
    assert len(branches) == 3 and 2 in set(branches["devices"]), "shorter horizons leave the main run, of gangs too"
    assert (rows["budget"] == 2e10).sum() == 1 and "At 2e+10 FLOPs the law predicts" in results.report.answer
    assert (rows["test_loss"] < np.log(64)).all()
    assert "sound" in command("verify", results.where, cwd=tmp_path).stdout
