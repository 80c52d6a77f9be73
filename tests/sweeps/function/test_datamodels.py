"""Datamodels: ridge regression against scikit-learn, margins by hand, training samples that depend on themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from landsweep import run
from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.function.datamodels import datamodels, linear_datamodels, margins

LOCAL = {"executor": "local", "tracking": False}


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_ridge_regression(seed: int) -> None:
    draw = np.random.default_rng(seed)
    present = (draw.random((30, 80)) < 0.5).astype(float)
    outputs = draw.normal(size=(30, 4))
    weights, offset = linear_datamodels(present, outputs, 0.3)
    reference = Ridge(alpha=0.3 * 30).fit(present, outputs)
    np.testing.assert_allclose(weights, reference.coef_.T, atol=1e-12)
    np.testing.assert_allclose(offset, reference.intercept_, atol=1e-12)


def test_margins_are_the_right_logit_less_the_largest_other() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0], [3.0, -1.0, 5.0]])
    assert margins(logits, torch.tensor([1, 0])).tolist() == [2.0, -2.0]


DATA = """
import numpy as np
def blobs():
    draw = np.random.default_rng(0)
    labels = np.arange(120) % 2
    points = draw.normal(size=(120, 8)) + 0.5 * labels[:, None]
    return {"train": (points[:60], labels[:60]), "test": (points[60:], labels[60:])}
"""


def spec(**recipe: object) -> dict[str, Any]:
    return {
        "kind": "zoo",
        "name": "subsets",
        "recipe": {
            "data": {"source": "callable", "path": "mine:blobs"},
            "net": {"net": "mlp", "hidden": [32]},
            "optimizer": {"method": "adam", "learning_rate": 0.02},
            "steps": 150,
            "batch_size": 30,
            "train_fraction": 0.5,
            **recipe,
        },
        "seeds": {"range": 160},
        "backend": "bmm",
    }


@pytest.mark.rotating
def test_training_samples_depend_on_themselves_more_than_on_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(DATA)
    run(spec(), site=LOCAL, report=False)
    own = datamodels(tmp_path, "results/subsets", "train", 60, 160, 0.01)
    assert own["score"] > 0.5 and own["itself"] > 0.5 and own["self_weight"] > 0
    few = datamodels(tmp_path, "results/subsets", "train", 60, 40, 0.01)
    assert few["score"] < own["score"], "more models, better datamodels"
    assert set(datamodels(tmp_path, "results/subsets", "test", 20, 40, 0.01)) == {"score", "own_class"}
    with pytest.raises(UsageError, match="160 models with weights, and 161 are asked for"):
        datamodels(tmp_path, "results/subsets", "test", 20, 161, 0.01)
    with pytest.raises(UsageError, match="3 are too few"):
        datamodels(tmp_path, "results/subsets", "test", 20, 3, 0.01)
    with pytest.raises(UsageError, match="no split 'validation'; the data has train, test"):
        datamodels(tmp_path, "results/subsets", "validation", 20, 40, 0.01)
    with pytest.raises(UsageError, match="has 60 samples, and 61 are asked for"):
        datamodels(tmp_path, "results/subsets", "test", 61, 40, 0.01)
    run({**spec(train_fraction=1.0), "name": "whole", "seeds": {"range": 4}}, site=LOCAL, report=False)
    with pytest.raises(UsageError, match="train_fraction below 1"):
        datamodels(tmp_path, "results/whole", "test", 20, 4, 0.01)
