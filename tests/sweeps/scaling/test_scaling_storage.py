"""Studies and tables in an object store: run, predicted from, fitted and told apart from what is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example
from landsweep.sweeps.laws.fitting.commands import register
from landsweep.sweeps.laws.fitting.tables import read_table
from landsweep.sweeps.scaling.predict import predict
from tests.support.studies import KIND, branched_study, feature_study


def test_predict_and_fit_read_a_study_of_an_object_store(
    bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_example(KIND, feature_study(), bucket_url)
    run_example(KIND, feature_study(), tmp_path / "here")
    far, near = (json.loads(predict(str(place), [1e6]).json()) for place in (bucket_url, tmp_path / "here"))
    assert far == near and far["points"] == 8
    table = read_table(f"{bucket_url}/rows")
    assert sorted(table["key"]) == sorted(Sweep.at(bucket_url).rows()["key"])
    app = typer.Typer()
    register(app)
    args = ["fit", f"{bucket_url}/rows", "--law", "chinchilla", "--columns", "N=parameters,D=tokens,loss=test_loss"]
    told = CliRunner().invoke(app, [*args, "--fixed", "E=0", "--bootstrap", "0", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["law"] == "chinchilla"


def test_tables_of_an_object_store_are_those_of_the_disk(
    bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    table = pd.DataFrame({"N": [1.0, 2.0, 4.0], "loss": [3.0, 2.5, 2.25]})
    for name, data in (("a.csv", table.to_csv(index=False)), ("a.jsonl", table.to_json(orient="records", lines=True))):
        Store.at(bucket_url).create(name, data.encode())
        pd.testing.assert_frame_equal(read_table(f"{bucket_url}/{name}"), table, check_dtype=False)
    for url, said in (("none.csv", "there is no table"), ("none", "no Parquet files are there")):
        with pytest.raises(UsageError, match=said):
            read_table(f"{bucket_url}/{url}")
    with pytest.raises(UsageError, match="file://, s3:// or gs://"):
        read_table("ftp://host/table.csv")


def test_branches_find_their_points_in_an_object_store(bucket_url: str, tmp_path: Path) -> None:
    run_example(KIND, branched_study(widths=[2, 4], seeds=None, law="kaplan_joint"), bucket_url)
    run_example(KIND, branched_study(widths=[2, 4], seeds=None, law="kaplan_joint"), tmp_path / "here")
    rows = Sweep.at(bucket_url).rows()
    assert (rows["flops_spent"] < rows["flops"]).sum() == 4
    assert metrics_of(bucket_url) == metrics_of(tmp_path / "here")
