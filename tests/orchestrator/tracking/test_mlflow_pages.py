"""MLflow's own pages in a browser: a sweep is one run, its units lie below it, each with its params and its curve."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.cli import LANDSWEEP, write_spec
from tests.support.mlflow_server import server
from tests.support.paths import ROOT
from tests.support.ui import Looker, running_browser


@pytest.mark.slow
def test_a_sweep_its_units_and_their_curves_are_seen(tmp_path: Path) -> None:
    spec = {
        "kind": "function", "name": "looked-at", "function": "tests.support.pages:curved", "axes": {"lr": [0.1, 0.3]},
    }  # fmt: skip
    with server(tmp_path) as uri:
        words = [*LANDSWEEP, "run", str(write_spec(tmp_path, spec)), "--site", "local", f"site.tracking={uri}"]
        subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
        client = MlflowClient(uri)
        (experiment,) = (e for e in client.search_experiments() if e.name == "landsweep-function")
        runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment.experiment_id])}
        assert set(runs) == {"looked-at", "lr=0.1", "lr=0.3"}
        pages = f"{uri}/#/experiments/{experiment.experiment_id}/runs"
        with running_browser() as browser, Looker(browser) as looker:
            looker.page.goto(pages)
            looker.page.wait_for_selector("text=looked-at")
            assert not looker.page.locator("text=lr=0.3").count(), "the runs of units are folded below it"
            looker.keep("mlflow-runs")
            looker.page.goto(f"{pages}/{runs['looked-at']}")
            for text in ("Child runs", "lr=0.3", "Finished"):
                looker.page.wait_for_selector(f"text={text}")
            looker.page.goto(f"{pages}/{runs['lr=0.3']}")
            looker.page.wait_for_selector("text=Parent run")
            looker.page.goto(f"{pages}/{runs['lr=0.3']}/model-metrics")
            looker.page.wait_for_selector(".scatterlayer .trace")
            looker.keep("mlflow-unit")
