"""What rows say of speed: against which peak, and in which precision."""

from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.kind import Workbench
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Ended, train_pack
from landsweep.sweeps.lab.training_units.meters import Meters, peak_of


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA H100 PCIe", "float32", 51e12),
        ("NVIDIA H100 NVL", "tf32", 417e12),
        ("NVIDIA H200", "bf16", 989e12),
        ("NVIDIA H200 NVL", "fp16", 835e12),
        ("Tesla V100-SXM2-16GB", "fp16", 125e12),
        ("Tesla V100-PCIE-16GB", "fp16", 112e12),
        ("Tesla V100-PCIE-16GB", "bf16", None),
        ("NVIDIA GH200 480GB", "bf16", None),
        ("NVIDIA A100-SXM4-40GB", "float64", None),
        ("Tesla T40", "float32", None),
        ("cpu", "float32", None),
    ],
)
def test_the_peak_is_that_of_the_very_card(device: str, precision: str, peak: float | None) -> None:
    assert peak_of(device, precision) == peak
    assert peak_of(device, precision, 5e9) == 5e9


def metered(**fields: Any) -> dict[str, Any]:
    given = {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [4]}, "steps": 3, "batch_size": 8}
    recipe = Recipe.model_validate({**given, "evaluate": {"first": 8}, **fields})
    data: Data = recipe.data.load(Path())
    end = next(e for e in train_pack([recipe], data, backend="loop") if isinstance(e, Ended))
    return dict(Meters(Workbench()).of(end, recipe, data, started_at=0, devices=1))


@pytest.mark.parametrize(
    ("fields", "precision"),
    [
        ({}, "float32"),
        ({"precision": "bf16"}, "bf16"),
        ({"dtype": "float64"}, "float64"),
        ({"precision": "tf32"}, "float32"),  # on a CPU there is none
    ],
)
def test_precision_is_what_products_were_computed_in(fields: dict[str, Any], precision: str) -> None:
    row = metered(**fields)
    assert (row["device"], row["precision"], row["mfu"]) == ("cpu", precision, None)
    assert row["samples_per_second"] > 0
