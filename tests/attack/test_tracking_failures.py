"""MLflow that hangs, fails or is tampered with: one line, in bounded tries; exports at once make one run."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from landsweep.orchestrator.commands.publish import publish
from landsweep.orchestrator.kind import Ranked
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.tracking import tracker
from landsweep.sweeps.function.kind import FunctionKind
from tests.attack.amounts import attacks, held
from tests.attack.folders import FUNCTION, command, landsweep, ran
from tests.support.cli import LANDSWEEP

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own imports
BUSY = b"HTTP/1.1 429 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
EMPTY = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@contextlib.contextmanager
def server(answers: int, status: bytes = b"200 OK", then: bytes = b"") -> Iterator[tuple[str, list[socket.socket]]]:
    """Answers so many requests, and then gives `then`, or never a word; gives its address and all connections."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                answer = EMPTY % status if len(connections) <= answers else then
                if answer:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
    finally:
        listener.close()
        for connection in connections:
            connection.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("tracked"), FUNCTION)


@pytest.mark.parametrize(
    ("answers", "tries"),
    [pytest.param(1, 1, id="after the first check"), pytest.param(2, 2, id="in the export", marks=pytest.mark.slow)],
)
def test_a_server_that_hangs_after_the_first_check(tmp_path: Path, answers: int, tries: int) -> None:
    """The check before the export asks once more; MLflow itself asks twice, and gives up."""
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(FUNCTION))
    with server(answers) as (uri, connections):
        words = ("run", "spec.yaml", "--out", "r", "site.executor=local", f"site.tracking={uri}")
        done = landsweep(*words, cwd=tmp_path, env={"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"})
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if f"MLflow export to {uri} failed" in line]
        assert len(lines) == 1 and "No row is lost; later: landsweep export-mlflow" in lines[0]
        assert len(connections) == answers + tries


@pytest.mark.parametrize(
    "then", [b"garbage\r\n\r\n", BUSY, pytest.param(EMPTY % b"500 Internal Server Error", marks=pytest.mark.slow)]
)
def test_a_server_that_fails_in_an_export_is_told_in_one_line(own: Path, then: bytes) -> None:
    with server(2, then=then) as (uri, _):  # two checks: of the address, and before the export
        done = landsweep("export-mlflow", own, "--uri", uri, cwd=own)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "MLflow export to" in done.stderr and "No row is lost" in done.stderr


def test_a_server_that_answers_byte_by_byte_is_given_up(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client waits for the next byte, again and again; so the export as a whole has an end."""
    monkeypatch.setattr(tracker, "_PATIENCE", 2.0)
    monkeypatch.setattr(tracker, "_PATIENCE_EACH", 0.0)
    said: list[str] = []
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"
    with dripping(begun) as uri:
        assert publish(lambda: Sweep.at(own), str(own), Site(tracking=uri), said.append) is not None
        line = said[-1]
        assert line.startswith(f"MLflow export to {uri} failed: TimeoutError") and "No row is lost; later" in line, said
        done = command("export-mlflow", own, "--uri", uri, cwd=own)
        assert done.returncode == 2 and "TimeoutError" in done.stderr, done


@contextlib.contextmanager
def dripping(begun: bytes) -> Iterator[str]:
    """A server whose answers begin so and go on with a blank every tenth of a second; gives its address."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(begun)
            while not over.wait(0.1):
                connection.sendall(b" ")

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()


@pytest.mark.parametrize("put", ["a link out", "a link to nothing", "a file"])
def test_artifacts_of_a_named_store_that_others_have_changed(own: Path, tmp_path: Path, put: str) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert command("export-mlflow", own, "--uri", uri, cwd=tmp_path).returncode == 0
    report = next(tmp_path.glob("mlflow-artifacts/*/artifacts/report"))
    report.rename(tmp_path / "before")
    (tmp_path / "precious").mkdir()
    if put == "a file":
        report.touch()
    else:
        report.symlink_to(tmp_path / ("precious" if put == "a link out" else "nothing"))
    (own / "report" / "more.txt").write_text(put)  # so that there is something to send
    done = landsweep("export-mlflow", own, "--uri", uri, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert not list((tmp_path / "precious").iterdir()) and not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("how", ["without a table", pytest.param("locked", marks=pytest.mark.slow)])
def test_a_file_of_mlflow_that_can_not_be_used_is_told_in_one_line(own: Path, tmp_path: Path, how: str) -> None:
    """MLflow logs such an error with its own traceback, and raises it too."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert command("export-mlflow", own, "--uri", uri, cwd=tmp_path).returncode == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("DROP TABLE runs" if how == "without a table" else "DELETE FROM tags")  # so a run is to be made
        other.execute("BEGIN IMMEDIATE" if how == "locked" else "SELECT 1")
        done = landsweep("export-mlflow", own, "--uri", uri, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and len(lines) == 1, done.stderr
    assert lines[0].startswith("error: MLflow export to sqlite:///"), lines
    assert ("database is locked" if how == "locked" else "no such ") in lines[0], lines


class Unranked(FunctionKind, Ranked):
    """Its list of the most interesting units can't be made."""

    def tracked(self, spec: object, rows: object) -> object:  # type: ignore[override]
        raise ValueError("no list")


def test_a_list_of_units_that_fails_is_no_failed_report(own: Path, tmp_path: Path) -> None:
    said: list[str] = []
    sweep = Sweep.at(own)
    sweep.kind = Unranked()
    site = Site(tracking=f"sqlite:///{tmp_path}/mlflow.db")
    assert publish(lambda: sweep, str(own), site, said.append) is not None, "the report is there"
    assert len(said) == 3 and said[0].startswith("report:"), said
    assert "no runs of single units" in said[1] and "ValueError: no list" in said[1]
    assert said[2].startswith("MLflow run ")
    assert not any("report could not be made" in line for line in said)


@attacks(None, full=3)
def test_exports_of_one_sweep_at_once(own: Path, tmp_path: Path, n: int) -> None:
    """Three processes into one new file: one run, with a run for each unit."""
    rounds = 0
    for i in range(n):
        uri = f"sqlite:///{tmp_path}/{i}/mlflow.db"
        words = [*LANDSWEEP, "export-mlflow", str(own), "--uri", uri]
        exports = [subprocess.Popen(words, env=os.environ, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        said = [export.communicate()[1] for export in exports]
        assert [export.returncode for export in exports] == [0, 0, 0], said
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("landsweep-function")
        runs = client.search_runs([experiment.experiment_id])
        rounds += len([run for run in runs if "landsweep.sweep" in run.data.tags]) == 1
    held("three exports of one sweep at once", rounds, n)
