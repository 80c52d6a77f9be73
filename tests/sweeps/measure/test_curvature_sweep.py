"""Curvature through a whole sweep: rows and curves are those of the zoo's models, by autograd."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.autograd.functional import hessian
from torch.func import functional_call

from landsweep import Zoo
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.sweeps.lab.data.digits import Digits
from tests.support.measures import measure_spec, measured, small_zoo

MEASURES = {
    "out": {"measure": "eigenvalues", "top": 2, "parameters": ["out.weight"], "tolerance": 1e-5, "dtype": "float64"},
    "whole": {"measure": "spectrum", "steps": 10, "runs": 2},
    "ball": {"measure": "worst_sharpness", "radius": 0.1, "steps": 2},
    "drift": {"measure": "subspace_drift", "top": 2, "products": 30},
}


def test_a_sweep_over_a_zoo_gives_rows_and_curves(tmp_path: Path) -> None:
    small_zoo(tmp_path / "zoo")
    evaluators = {"train": {"split": "train", "first": 100}}
    of = [{"sweep": "zoo", "checkpoints": ["all"]}]
    spec = measure_spec(tmp_path, measures=MEASURES, subjects=["each", "along"], evaluators=evaluators, of=of)
    rows, end = measured(spec, tmp_path)
    assert len(rows) == end.done and set(rows["status"]) == {"ok"}
    zoo, split = Zoo(tmp_path / "zoo"), Digits(source="digits").load(Path()).splits["train"]
    inputs, targets = split.inputs[:100].double(), split.targets[:100]
    for row in rows[rows["measure"] == "out"].itertuples():
        module = zoo[row.of_key].module(row.of_label).double().eval()
        name = "out.weight"

        def loss(w: torch.Tensor, module: torch.nn.Module = module, name: str = name) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(functional_call(module, {name: w}, (inputs,)), targets)

        weights = module.get_parameter(name).detach()
        whole = hessian(loss, weights, vectorize=True).view(weights.numel(), -1)
        wanted = torch.linalg.eigvalsh(whole).flip(0)[:2].tolist()
        assert [row.eigenvalue_1, row.eigenvalue_2] == pytest.approx(wanted, rel=1e-6)
    series = Sweep.at(tmp_path / "out").series()
    nodes = series[series["metric"] == "nodes"].groupby("key").size()
    assert set(nodes) == {20} and len(nodes) == 12
    assert rows["overlap_ends"].notna().sum() == 4
