"""After the rows: a report that can't be made is told, and costs neither rows nor the tracking store's run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.function.kind import FunctionKind, FunctionSpec
from landsweep.sweeps.search.kind import SearchKind
from tests.support.app import app

FIELDS = {
    "kind": "function",
    "name": "small",
    "function": "landsweep.sweeps.function.examples:descend",
    "fixed": {"steps": 3},
}


def spec_file(folder: Path) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**FIELDS, "axes": {"start": [1, 2], "lr": [0.01]}}), encoding="utf-8")
    return path


def run(folder: Path) -> Any:
    results = folder / "results" / "small"
    return CliRunner().invoke(app, ["run", str(spec_file(folder)), "--site", "local", "--out", str(results)])


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("where", ["report", "figure names"])
def test_a_report_that_fails_ends_with_1_and_the_store_gets_the_sweep(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(self: FunctionKind, spec: FunctionSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        if where == "report":
            raise ValueError("torn\n\x1b[31mreport")
        return Report([None])  # type: ignore[list-item]

    monkeypatch.setattr(FunctionKind, "report", torn)
    done = run(tmp_path)
    assert done.exit_code == 1, done.output
    last = [line for line in done.output.splitlines() if line][-1]
    assert last.startswith("error: the report could not be made (") and "landsweep report" in last
    assert "\x1b" not in done.output and ("ValueError: torn\\n\\x1b[31mreport" in last) == (where == "report")
    assert "MLflow run" in done.output and "done: 2 units (2 ok)" in done.output
    monkeypatch.undo()
    again = run(tmp_path)
    assert again.exit_code == 0 and "report:" in again.output, again.output


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve trials over choices of every type, whose best is not the first option."""
    folder = tmp_path_factory.mktemp("search")
    spec = SearchKind.spec.model_validate(
        {
            "name": "choices", "function": "tests.orchestrator.commands.test_publish:judged",
            "budget": {"units": 12}, "generation": 4,
            "space": {
                "batch_size": {"choice": [16, 64, 256]}, "nesterov": {"choice": [False, True]},
                "decay": {"choice": [0.0, 0.1]}, "clip": {"choice": [None, 1.5]}, "layers": {"integer": [1, 3]},
            },
            "goals": [{"minimise": "loss"}],
        }
    )  # fmt: skip
    run_example(SearchKind(), spec, folder)
    return folder


def judged(batch_size: int, nesterov: bool, decay: float, clip: float | None, layers: int) -> dict[str, float]:
    """Least for 256, True, .1, 1.5 and 3."""
    return {"loss": 10 - batch_size / 256 - nesterov - decay - (clip or 0) - layers}


def test_a_search_over_choices_of_any_type_has_a_report_and_a_best_trial(searched: Path) -> None:
    report = CliRunner().invoke(app, ["report", str(searched)])
    assert report.exit_code == 0, report.output
    page = (searched / "report" / "index.html").read_text(encoding="utf-8")
    assert "could not be drawn" not in page
    best = CliRunner().invoke(app, ["best", str(searched)])
    assert best.exit_code == 0, best.output
    found = yaml.safe_load(best.output)
    values = {
        **found["fixed"],
        **{k: v["values"][0] if isinstance(v, dict) else v[0] for k, v in found["axes"].items()},
    }
    rows = pd.read_parquet(searched / "rows")
    assert 10 - judged(**values)["loss"] == pytest.approx(10 - rows["loss"].min())
    assert type(values["batch_size"]) is int and type(values["nesterov"]) is bool and type(values["layers"]) is int
