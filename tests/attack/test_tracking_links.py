"""MLflow's files beside a results folder of somebody else: no file of the user's is written over, or emptied."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from landsweep.orchestrator.notes import is_own
from tests.attack.folders import FUNCTION, Done, command, ran, stranger

KIND = "landsweep-function"
pytestmark = [pytest.mark.rotating, pytest.mark.filterwarnings("ignore")]  # of MLflow's own imports


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("tracked"), FUNCTION)


@pytest.fixture
def archive(own: Path, tmp_path: Path) -> Path:
    """A stranger's archive as the user unpacked it; gives the sweep in it."""
    shutil.copytree(own, tmp_path / "pub" / "z")
    return tmp_path / "pub" / "z"


@pytest.fixture
def mine_too(tmp_path: Path) -> Path:
    """A sweep of the user's own, beside which others have put files."""
    return ran(tmp_path, {**FUNCTION, "name": "mine"})


def planted(results: Path, location: str) -> MlflowClient:
    """A store beside the results whose run of this sweep has its artifacts elsewhere."""
    client = MlflowClient(tracking_uri=f"sqlite:///{results.parent}/mlflow.db")
    head = json.loads((results / "sweep.json").read_text())
    tags = {"landsweep.sweep": head["id"], "landsweep.rows": f"{results.resolve()}/rows"}
    client.create_run(client.create_experiment(KIND, artifact_location=location), tags=tags)
    with closing(sqlite3.connect(results.parent / "mlflow.db")) as file:
        file.execute("update runs set artifact_uri = ?", (location,))
        file.commit()
    return client


def refused(done: Done, *words: str) -> None:
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    text = " ".join(done.stderr.split())
    assert all(word in text for word in words), text


@pytest.mark.parametrize("words", [("export-mlflow",), ("rerun", "site.executor=local")])
def test_a_store_beside_a_strangers_sweep_is_not_used(archive: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "rc").write_text("precious")
    shutil.rmtree(archive / "report", ignore_errors=True)
    (archive / "report").mkdir()
    (archive / "report" / "tables.md").write_text("theirs")
    (archive.parent / "a" / "report").mkdir(parents=True)
    (archive.parent / "a" / "report" / "tables.md").symlink_to(home / "rc")
    planted(archive, str(archive.parent / "a"))
    if words[0] == "rerun":  # there is work
        next((archive / "rows").glob("part*.parquet")).unlink()
    refused(
        command(words[0], archive, *words[1:], cwd=tmp_path), "mlflow" if words[0] == "rerun" else "--uri", "--trust"
    )
    assert (home / "rc").read_text() == "precious"
    if words[0] == "export-mlflow":  # with a word of trust links are refused all the same
        refused(command("export-mlflow", archive, "--trust", cwd=tmp_path), "is a link")
        assert (home / "rc").read_text() == "precious"


def test_another_store_and_a_word_of_trust_let_an_export_go_on(archive: Path, tmp_path: Path) -> None:
    for words in (("--uri", f"sqlite:///{tmp_path}/user.db"), ("--trust",)):
        done = command("export-mlflow", archive, *words, cwd=tmp_path)
        assert done.returncode == 0 and "MLflow run" in done.stdout, done.stderr


@pytest.mark.parametrize("where", ["{home}", "file://{home}", "../home", "s3://bucket/x", "http://127.0.0.1:9/x"])
def test_artifacts_go_nowhere_but_beside_the_store(mine_too: Path, tmp_path: Path, where: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    planted(mine_too, where.format(home=home))
    (tmp_path / "stand").mkdir()
    refused(command("export-mlflow", mine_too, cwd=tmp_path / "stand"), "report is to be written", "mlflow.db")
    assert not list(home.iterdir())


def empty(path: Path, precious: Path) -> None:
    path.symlink_to(precious)


@pytest.mark.parametrize(
    "name", [".mlflow.db.lock", "mlflow.db", "mlflow.db-wal", "mlflow.db-journal", "mlflow.db-shm"]
)
@pytest.mark.parametrize("put", [empty, lambda path, _: os.mkfifo(path)], ids=["link", "fifo"])
def test_files_of_the_store_are_files(
    mine_too: Path, tmp_path: Path, name: str, put: Callable[[Path, Path], None]
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("")
    if name != "mlflow.db":
        precious.write_text("precious")
    before = precious.read_bytes()
    put(mine_too.parent / name, precious)
    for words in ((), ("--uri", f"sqlite:///{mine_too.parent}/mlflow.db")):
        refused(command("export-mlflow", mine_too, *words, cwd=tmp_path), name)
    assert precious.read_bytes() == before


@pytest.mark.parametrize("name", ["x' or tags.`landsweep.sweep` != '", "", "../x", 'a"b'])
def test_ids_of_sweeps_are_ids(archive: Path, tmp_path: Path, name: str) -> None:
    stranger(archive, "", keep=True, id=name)
    done = command("export-mlflow", archive, "--uri", f"sqlite:///{tmp_path}/user.db", cwd=tmp_path)
    refused(done, "sweep.json", "id")
    assert not (tmp_path / "user.db").exists()


@pytest.mark.parametrize("lost", [False, True], ids=["all there", "the sweep's run was deleted"])
def test_a_copied_id_changes_no_run_of_another_folder(mine_too: Path, tmp_path: Path, lost: bool) -> None:
    uri = f"sqlite:///{tmp_path}/user.db"
    assert command("export-mlflow", mine_too, "--uri", uri, cwd=tmp_path).returncode == 0
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(KIND)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    top = next(r for r in runs if "landsweep.sweep" in r.data.tags)
    if lost:
        client.delete_run(top.info.run_id)
    copy = tmp_path / "pub" / "z"
    shutil.copytree(mine_too, copy)
    done = command("export-mlflow", copy, "--uri", uri, "--units", "0", cwd=tmp_path)
    if not lost:
        refused(done, "--experiment", "--trust")
    there = {r.info.run_id: dict(r.data.tags) for r in client.search_runs([experiment.experiment_id])}
    for run in runs:
        if not (lost and run is top):
            assert there[run.info.run_id] == run.data.tags
    again = command("export-mlflow", copy, "--uri", uri, "--experiment", "copies", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_a_moved_sweep_keeps_its_run_with_a_word_of_trust(mine_too: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/user.db"
    first = command("export-mlflow", mine_too, "--uri", uri, cwd=tmp_path).stdout
    moved = mine_too.rename(tmp_path / "moved")
    refused(command("export-mlflow", moved, "--uri", uri, cwd=tmp_path), "--trust")
    assert (
        command("export-mlflow", moved, "--uri", uri, "--trust", cwd=tmp_path).stdout.split()[:3] == first.split()[:3]
    )


def test_a_rerun_without_trust_makes_no_sweep_ones_own(archive: Path, tmp_path: Path) -> None:
    head = json.loads((archive / "sweep.json").read_text())
    part = next((archive / "rows").glob("part*.parquet"))
    part.unlink()  # rows are missing, so there is work
    local = ("site.executor=local", "site.tracking=false")
    done = command("rerun", archive, *local, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not is_own(archive, head), "computed here, and still of somebody else"
    part = next((archive / "rows").glob("part*.parquet"))
    part.unlink()
    assert command("rerun", archive, *local, "--trust", cwd=tmp_path).returncode == 0
    assert is_own(archive, head)
