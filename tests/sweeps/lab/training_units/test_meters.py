"""What rows say of speed: against which peak, and in which precision."""

import math
from pathlib import Path
from typing import Any

import pytest

from landsweep import Zoo
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Ended, train_pack
from landsweep.sweeps.lab.training.calendar import samples_seen
from landsweep.sweeps.lab.training_units.meters import Meters, peak_of
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.paths import ROOT
from tests.sweeps.lab.training.plain_loop import data_of, recipe


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


def test_rows_say_how_fast_a_model_was_trained(tmp_path: Path) -> None:
    """Samples over seconds; operations by the closed form of the network over the stated peak."""
    one = recipe(precision="bf16", on_spike="skip", batch_size=100, steps=30)
    spec = {"kind": "zoo", "name": "fast", "recipe": one.model_dump(mode="json"), "backend": "loop"}
    site = Site(executor="local", tracking=False, peak_flops=1e9)
    run_sweep(ZooKind(), ZooKind().parse(spec, "spec"), site, tmp_path / "zoo", folder=ROOT, watch=QuietWatch())
    (row,) = Zoo(tmp_path / "zoo").rows.to_dict("records")
    samples = samples_seen(one, len(data_of(one).splits["train"]), 30)
    assert (row["device"], row["precision"], row["skipped_steps"]) == ("cpu", "bf16", 0)
    assert row["samples_per_second"] * row["seconds"] == pytest.approx(samples)
    # 64-8-10: three products of 64 x 8 and 8 x 10 but for the gradient of the first layer's inputs
    assert row["mfu"] * 1e9 == pytest.approx(row["samples_per_second"] * 2 * (2 * 64 * 8 + 3 * 8 * 10))
    assert row["tokens_per_second"] is None or math.isnan(row["tokens_per_second"])
