"""Coordinate checks of the optimizers that parametrizations have rules for: muP passes, the standard one fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.transfers import PERCEPTRON, run_transfer, transfer_spec

METHODS: dict[str, tuple[dict[str, Any], float]] = {
    "muon": ({"method": "muon", "adamw_learning_rate": 0.01}, 0.1),
    "muon-match-ends": ({"method": "muon", "match": True, "ends": True}, 0.05),
    "lion": ({"method": "lion"}, 0.01),
    "nadamw": ({"method": "nadamw"}, 0.01),
    "rmsprop": ({"method": "rmsprop"}, 0.003),
    "ademamix": ({"method": "ademamix"}, 0.005),
    "grams": ({"method": "grams"}, 0.01),
    "stable_spam": ({"method": "stable_spam"}, 0.01),
}
QUICK = ("lion", "stable_spam")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in METHODS])
def test_mup_passes_the_coordinate_check_with_every_kind_of_step(name: str, tmp_path: Path) -> None:
    optimizer, rate = METHODS[name]
    arms = {n: {"parametrization": {"scheme": n, "base_width": 128, "zero": ["output"]}} for n in ("standard", "mup")}
    spec = transfer_spec(
        recipe={**PERCEPTRON, "batch_size": 256, "optimizer": optimizer, "steps": 2},
        values=[128],
        rates=[1e-4, 1e-3, 1e-2],
        recipes=arms,
        coordinates={"learning_rate": rate, "values": [128, 256, 512, 1024]},
        sharpness=None,
        seeds=[0],
    )
    found, _ = run_transfer(spec, tmp_path)
    checks = {n: check for n in arms if (check := found.check(n)) is not None}
    assert checks["mup"].verdict == "pass", checks["mup"].slopes
    assert checks["standard"].verdict == "fail"
