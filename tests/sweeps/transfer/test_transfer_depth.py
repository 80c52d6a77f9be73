"""Transfer over depth: what depth-muP and CompleteP do to activations and to the best rate of real networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landsweep.sweeps.transfer.curve import drift
from landsweep.sweeps.transfer.kind import TransferSpec
from tests.support.transfers import KIND, PERCEPTRON, run_transfer, transfer_spec

DEPTH_SCALED = ("depth_mup", "completep")


def over_depth(**fields: Any) -> TransferSpec:
    """A vision transformer on the digits in several depths, under muP, which ignores the depth, and two that do not."""
    width = fields.pop("width")
    net = {"net": "vit", "width": width, "heads": width // 16, "depth": fields.pop("base"), "patch": 4}
    base = {"base_width": width, "zero": fields.pop("zero")}
    deep = {n: {"parametrization": {**base, "scheme": n, "base_depth": net["depth"]}} for n in DEPTH_SCALED}
    recipe = {
        **PERCEPTRON,
        "net": net,
        "optimizer": {"method": "adamw"},
        "batch_size": 64,
        "steps": fields.pop("steps"),
    }
    arms = {"mup": {"parametrization": {**base, "scheme": "mup"}}, **deep}
    return transfer_spec(recipe=recipe, over="depth", recipes=arms, sharpness=None, backend="loop", **fields)


def test_the_coordinate_check_over_depth_passes_depth_scaled_schemes_alone(tmp_path: Path) -> None:
    """Without a branch multiplier each block adds its share to the residual stream, which so grows with the depth."""
    coordinates = {"learning_rate": 0.01, "values": [4, 8, 16], "first": 64, "seeds": [0, 1]}
    rates = [1e-4, 1e-3, 1e-2]
    size = {"width": 64, "base": 1, "steps": 2, "zero": ["output"]}
    spec = over_depth(**size, values=[1], rates=rates, seeds=[0], coordinates=coordinates)
    found, rows = run_transfer(spec, tmp_path)
    checks = {name: check for name in found.arms if (check := found.check(name)) is not None}
    assert {n: c.verdict for n, c in checks.items()} == {"mup": "fail", "depth_mup": "pass", "completep": "pass"}
    for name, check in checks.items():
        assert check.steps == (1, 2, 3, 4) and "blocks.first.up" in check.layers
        stream = np.abs(check.slopes[check.layers.index("blocks.last"), 1:])
        assert (stream > 0.5).all() if name == "mup" else (stream < 0.1).all()
    assert "per doubling of the depth" in str(KIND.report(spec, rows, found.series).sections)


@pytest.mark.slow
def test_the_best_rate_falls_with_the_depth_under_mup_and_stays_where_branches_are_scaled(tmp_path: Path) -> None:
    """AdamW: close to a halving with each doubling of the blocks, and less than a quarter of that."""
    fields = {"values": [2, 4, 8], "rates": {"log2": [-11, -4, 8]}, "seeds": [0, 1], "planner": "adaptive"}
    found, _ = run_transfer(over_depth(width=16, base=2, steps=40, zero=[], coordinates=None, **fields), tmp_path)
    slopes = {arm: drift(found.curves(arm)) for arm in found.arms}
    assert all(d.sizes == 3 for d in slopes.values())
    assert slopes["mup"].slope < -0.5 and slopes["mup"].interval[1] < -0.4
    assert all(abs(slopes[arm].slope) <= 0.25 for arm in DEPTH_SCALED)
