"""MLflow as a view of the rows, with a real SQLite store and a real server."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import Unreachable
from landsweep.orchestrator.tracking.mlflow import export
from landsweep.orchestrator.tracking.store import check_reachable, default_uri
from tests.support.mlflow_server import free_port, server
from tests.support.paths import ROOT
from tests.support.tracking import HEAD, export_safely, tracked_rows

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)  # of mlflow's own imports


@pytest.fixture
def report_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "demo" / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "index.html").write_text("<p>page</p>", encoding="utf-8")
    (folder / "figures" / "a.png").write_bytes(b"\x89PNG")
    return folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables and no run."""
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("store")
    MlflowClient(tracking_uri=default_uri(folder)).search_experiments()
    return folder / "mlflow.db"


def state(uri: str) -> dict[str, Any]:
    """All that MLflow shows of all runs: what an export that changes nothing must leave alone."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {
        r.info.run_id: {
            "info": dict(r.info),
            "params": r.data.params,
            "tags": r.data.tags,
            "metrics": r.data.metrics,
            "history": {
                k: [(m.step, m.timestamp, m.value) for m in client.get_metric_history(r.info.run_id, k)]
                for k in r.data.metrics
            },
            "artifacts": sorted(
                a.path for p in ("", "report", "report/figures") for a in client.list_artifacts(r.info.run_id, p)
            ),
        }
        for r in runs
    }


def check_export(uri: str, report_dir: Path) -> None:
    """Export, export again, export after more rows, export after a unit was run again."""
    first = tracked_rows([1.0, 3.0, float("inf"), None])
    run_id = export(first, report_dir, HEAD, {"gap": 0.25, "bad": float("nan")}, uri)
    before = state(uri)
    run = before[run_id]
    assert run["metrics"].items() >= {
        "loss.min": 1.0, "loss.mean": 2.0, "loss.max": 3.0, "loss.nonfinite": 1.0, "gap": 0.25,
        "units.ok": 3.0, "units.failed": 1.0, "units.failed.error": 1.0, "units.rows": 4.0, "time.unit_seconds": 4.0,
    }.items()  # fmt: skip
    assert not {"bad", "note.mean", "x.mean", "ended.mean"} & run["metrics"].keys()
    assert (run["params"]["function"], run["params"]["fixed.steps"]) == ("a:b", "5")
    assert run["params"]["fixed.deep.a_b"] == "y" * 5997 + "..."
    assert run["tags"]["landsweep.axis.x"] == '{"range": [0, 4]}'
    assert run["tags"]["landsweep.rows"] == str(report_dir.parent / "rows")
    assert (run["info"]["start_time"], run["info"]["end_time"]) == (999_000, 1_003_000)
    assert (run["info"]["run_name"], run["info"]["status"]) == ("demo", "FINISHED")
    assert {"spec.yaml", "report/index.html", "report/figures/a.png"} <= set(run["artifacts"])

    assert export(first, report_dir, HEAD, {"gap": 0.25, "bad": float("nan")}, uri) == run_id
    assert state(uri) == before, "the same rows change nothing"

    (report_dir / "index.html").write_text("<p>longer page</p>", encoding="utf-8")
    grown = {**HEAD, "spec": {**HEAD["spec"], "axes": {"x": {"range": [0, 5]}}}}
    assert export(tracked_rows([1.0, 3.0, float("inf"), 5.0, 7.0]), report_dir, grown, {"gap": 0.5}, uri) == run_id
    (after,) = state(uri).values()
    assert after["metrics"]["loss.max"] == 7.0 and after["metrics"]["gap"] == 0.5
    assert [v for *_, v in after["history"]["loss.max"]] == [3.0, 7.0]
    assert [v for *_, v in after["history"]["loss.min"]] == [1.0], "what did not change is not written again"
    assert after["metrics"]["units.failed"] == 0.0
    assert after["info"]["end_time"] == 1_004_000
    assert after["tags"]["landsweep.axis.x"] == '{"range": [0, 5]}'
    assert after["params"] == run["params"]

    export(first, report_dir, HEAD, {"gap": 0.25}, uri)  # the plan shrank again: older rows, older times
    (back,) = state(uri).values()
    assert back["metrics"]["loss.max"] == 3.0, "what is shown is what was exported last"


def test_sqlite_store(tmp_path: Path, report_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    uri = default_uri(tmp_path / "results")
    check_reachable(uri)
    check_export(uri, report_dir)
    assert list(elsewhere.iterdir()) == [], "nothing is left where the user stands"
    (artifacts,) = (tmp_path / "results" / "mlflow-artifacts").iterdir()
    assert (artifacts / "artifacts" / "report" / "index.html").read_text() == "<p>longer page</p>"


def test_no_rows_all_failed_and_another_sweep_beside(tmp_path: Path, report_dir: Path, empty_store: Path) -> None:
    uri = default_uri(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")  # making the tables takes seconds
    one = export(tracked_rows([]), report_dir, HEAD, {}, uri)
    two = export(tracked_rows([None, None]), report_dir, {**HEAD, "id": "07e4", "name": "o"}, {}, uri, "mine")
    found = state(uri)
    assert found[one]["metrics"] == {"units.ok": 0, "units.diverged": 0, "units.failed": 0, "units.rows": 0}
    assert (found[one]["info"]["start_time"], found[two]["info"]["status"]) == (900_000, "FAILED")
    assert len(found) == 2


def test_an_export_says_nothing_and_sends_nothing(tmp_path: Path, report_dir: Path) -> None:
    tracked_rows([1.0, 2.0]).to_pickle(tmp_path / "rows.pkl")
    code = f"""
import sys, pandas as pd
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tests.support.tracking import HEAD, export_safely
from landsweep.orchestrator.tracking.store import default_uri
import socket
def refuse(*a, **k):
    raise AssertionError("a connection to the outside")
socket.socket.connect = refuse
rows = pd.read_pickle({str(tmp_path / "rows.pkl")!r})
run, said = export_safely(rows, Path({str(report_dir)!r}), HEAD, {{}}, default_uri(Path({str(tmp_path)!r})))
from mlflow.telemetry.client import get_telemetry_client
assert get_telemetry_client() is None
assert run, said
"""
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CI", "GITHUB", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=quiet, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_two_exports_at_once_into_a_new_store(tmp_path: Path, report_dir: Path) -> None:
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tests.support.tracking import HEAD, tracked_rows
from landsweep.orchestrator.tracking.mlflow import export
from landsweep.orchestrator.tracking.store import default_uri
uri = default_uri(Path({str(tmp_path)!r}))
export(tracked_rows([1.0]), Path({str(report_dir)!r}), {{**HEAD, "id": sys.argv[1]}}, {{}}, uri)
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code, name], stderr=subprocess.PIPE, text=True) for name in ("a", "b")
    ]
    said = [p.communicate(timeout=120)[1] for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert len(state(default_uri(tmp_path))) == 2


def test_a_failed_export_is_told_in_one_line(tmp_path: Path, report_dir: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, but a text that is long enough to be seen as one\n" * 99)
    run_id, said = export_safely(tracked_rows([1.0]), report_dir, HEAD, {}, default_uri(tmp_path))
    assert run_id is None
    assert "No row is lost; later: landsweep export-mlflow" in said and "\n" not in said


@pytest.mark.slow
def test_mlflow_server(tmp_path: Path, report_dir: Path) -> None:
    with server(tmp_path) as uri:
        check_reachable(uri)
        check_reachable(uri + "/")
        check_export(uri, report_dir)
    begin = time.monotonic()
    run_id, said = export_safely(tracked_rows([1.0]), report_dir, HEAD, {}, uri)
    assert run_id is None and uri in said
    assert time.monotonic() - begin < 60, "a server that died costs seconds, not minutes"


def refusal(uri: str) -> str:
    begin = time.monotonic()
    with pytest.raises(Unreachable) as e:
        check_reachable(uri)
    assert time.monotonic() - begin < 6
    assert "secret" not in str(e.value)
    return str(e.value)


def test_a_server_that_is_not_there() -> None:
    said = refusal(f"http://user:secret@127.0.0.1:{free_port()}")
    assert "Connection refused" in said and "start the server" in said
    with socket.socket() as silent:  # takes the connection, never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "did not answer within 3 s" in refusal(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "does not answer" in refusal("http://no-such-host.invalid:5000")


@pytest.mark.parametrize(("status", "fine"), [(404, False), (500, False), (401, True), (403, True)])
def test_a_server_that_is_something_else(status: int, fine: bool) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *given: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{other.server_address[1]}"
        if fine:
            check_reachable(uri)
        else:
            assert f"answers {status}" in refusal(uri)
        other.shutdown()


def test_places_where_no_store_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_reachable(f"sqlite:///{tmp_path}/new/folders/mlflow.db")
    assert not (tmp_path / "new").exists(), "a check writes nothing"
    assert "is a folder" in refusal(f"sqlite:///{tmp_path}")
    assert "is a file" in refusal(f"sqlite:///{tmp_path}/file/mlflow.db")
    assert "can't be written" in refusal("sqlite:////proc/version")  # not even by root
    assert "names no file" in refusal("sqlite:///:memory:")
    assert "give sqlite:////absolute/path/mlflow.db" in refusal("./mlruns")
    assert "no longer keeps runs in plain folders" in refusal(f"file://{tmp_path}")


def test_names_and_texts_that_mlflow_does_not_take_are_shown_under_others_and_said(tmp_path: Path) -> None:
    names = [
        "val//acc",
        "val/acc",
        "../up",
        "a/../b",
        "/abs",
        ".",
        "é*?",
        "tab\tname",
        "x" * 400,
        "x" * 300,
        "trailing/",
        "a\nb",
    ]
    rows = tracked_rows([1.0, 2.0])
    for i, name in enumerate(names):
        rows[name] = [float(i), float(i)]
    fixed = {f"arg{i}": i for i in range(250)} | {"long": "y" * 9000, "odd//key": "v", "list": [1] * 5000}
    head = {**HEAD, "context": {**HEAD["context"], "fixed": fixed}}
    run_id, said = export_safely(rows, tmp_path / "report", head, {"gap//": 0.5}, default_uri(tmp_path))
    assert run_id is not None, said
    shown = state(default_uri(tmp_path))[run_id]
    assert set(map(float, range(len(names)))) <= set(shown["metrics"].values()), "none is lost"
    assert shown["metrics"]["val/acc.mean"] == 0.0 and shown["metrics"]["val/acc.mean_2"] == 1.0
    assert len([k for k in shown["params"] if k.startswith("fixed.arg")]) == 250
    assert shown["params"]["fixed.odd/key"] == "v"
    assert "'val//acc.min' is 'val/acc.min'" in said and "more" in said
    assert "params cut to 6,000 characters: fixed.long, fixed.list" in said
    _, quiet = export_safely(
        tracked_rows([1.0]), tmp_path / "report", {**HEAD, "id": "2", "context": {}}, {}, default_uri(tmp_path)
    )
    assert ";" not in quiet
