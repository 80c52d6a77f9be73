"""Claims in a real sweep: on the page, in MLflow, and on the command line; they change without new rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from typer.testing import CliRunner

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.app import app

LOWER = {
    "says": "Small rates <b>end</b> higher",
    "holds": "mean(value, lr == 0.001) > mean(value, lr == 0.01)",
    "over": "start",
}
FALSE = {"says": "Nothing moves", "holds": "max(value) < -1e9", "source": "arXiv 0000.00000, figure 1"}
LOST = {"says": "It is of another column", "holds": "mean(accuracy) > 0.5"}


def run(folder: Path, claims: list[dict[str, Any]]) -> Any:
    spec = {
        "kind": "function",
        "name": "small",
        "function": "landsweep.sweeps.function.examples:descend",
        "fixed": {"steps": 3},
        "axes": {"start": {"range": 6}, "lr": [0.001, 0.01]},
        "claims": claims,
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    words = ["run", str(folder / "small.yaml"), "--site", "local", "--out", str(folder / "results" / "small")]
    return CliRunner().invoke(app, words)


@pytest.mark.filterwarnings("default")
def test_verdicts_are_on_the_page_in_mlflow_and_on_the_command_line(tmp_path: Path) -> None:
    done = run(tmp_path, [LOWER, FALSE])
    assert done.exit_code == 0 and "claims: 1 held, 1 not held; see landsweep claims" in done.output, done.output
    folder = tmp_path / "results" / "small"
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert page.index("Claims") < page.index("Small rates &lt;b&gt;end&lt;/b&gt; higher") and "<b>end" not in page
    assert "metric" in page, "the generic parts of the page are still there"
    assert "not held" in (folder / "report" / "tables" / "claims.csv").read_text(encoding="utf-8")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/results/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    (tracked,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert tracked.data.tags["landsweep.claim.1"] == "not held: Nothing moves"

    asked = CliRunner().invoke(app, ["claims", str(folder)])
    assert asked.exit_code == 0 and "Small rates <b>end</b> higher" in asked.output
    assert CliRunner().invoke(app, ["claims", str(folder), "--check"]).exit_code == 1
    fields = json.loads(CliRunner().invoke(app, ["claims", str(folder), "--json"]).stdout)[str(folder)]
    assert [f["verdict"] for f in fields] == ["held", "not held"]
    assert fields[1]["source"] == "arXiv 0000.00000, figure 1"

    rows = sorted((folder / "rows").iterdir())
    again = run(tmp_path, [LOWER])
    assert again.exit_code == 0 and sorted((folder / "rows").iterdir()) == rows, "claims are labels"
    assert CliRunner().invoke(app, ["claims", str(folder), "--check"]).exit_code == 0
    other = tmp_path / "small.yaml"
    run(tmp_path, [LOST])
    assert "no column 'accuracy'" in CliRunner().invoke(app, ["claims", str(folder)]).output
    other.write_text(yaml.safe_dump({**yaml.safe_load(other.read_text()), "claims": [LOWER]}), encoding="utf-8")
    assert CliRunner().invoke(app, ["claims", str(folder), "--spec", str(other), "--check"]).exit_code == 0


def test_a_claim_about_a_column_that_the_kind_does_not_have_is_refused_before_any_work() -> None:
    fields = {**ZooKind().example().model_dump(mode="json"), "claims": [LOST]}
    with pytest.raises(UsageError, match=r"claims\.0\.holds: there is no column 'accuracy'.*test_accuracy"):
        ZooKind().parse(fields, "spec.yaml")
    fields["claims"] = [{"says": "so", "holds": "mean(test_accuracy, net.hidden.0 == 8) > 0.1"}]
    assert ZooKind().parse(fields, "spec.yaml").claims
