"""The script for an hour on a GPU works before there is one."""

from pathlib import Path

import pytest

from landsweep.orchestrator.reading import read_yaml
from tests.benchmarks.gpu import main


@pytest.mark.slow
def test_every_part_runs_in_a_tiny_size(tmp_path: Path) -> None:
    figures = main(["--dry", "--out", str(tmp_path / "gpu.json")])
    assert figures["device"] == "cpu" and figures["gpt"]["tokens_per_second"] > 0
    assert {row["net"] for row in figures["packs"]} == {"mlp, 1.2k", "mlp, 10k", "cnn", "resnet-20"}
    assert [row["models"] for row in figures["graphs"]] == [2] * 3 and figures["graphs"][0]["captured"] is None
    assert figures["landscape"]["points_per_second"] > 0
    assert read_yaml(tmp_path / "gpu.json") == figures
    assert "| mlp, 1.2k | 2 |" in (tmp_path / "gpu.md").read_text()
