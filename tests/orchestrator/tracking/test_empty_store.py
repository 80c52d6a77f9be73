"""New SQLite stores start from an empty one that is kept: they are what MLflow would have made."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import mlflow
import pytest

from landsweep.orchestrator.tracking.empty_store import keep_empty, start_from_empty
from landsweep.orchestrator.tracking.mlflow import export
from landsweep.orchestrator.tracking.store import default_uri
from tests.support.tracking import HEAD, tracked_rows

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)  # of mlflow's own imports


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the empty store of this version is kept by a user who has kept none yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "landsweep" / "empty-stores" / f"mlflow-{mlflow.__version__}.db"


def exported(folder: Path) -> Path:
    """The store of a sweep of two rows."""
    (folder / "demo" / "report").mkdir(parents=True)
    export(tracked_rows([1.0, 2.0]), folder / "demo" / "report", HEAD, {}, default_uri(folder))
    return folder / "mlflow.db"


def content(store: Path, folder: Path) -> tuple[list[Any], dict[str, list[Any]]]:
    """Tables and rows, without what differs between any two exports: ids, times, the folder, the order of checks."""

    def plain(value: Any) -> Any:
        text = re.sub(r"[0-9a-f]{32}", "ID", str(value).replace(str(folder), "FOLDER"))
        return re.sub(r"\b1[0-9]{12}\b", "TIME", text)

    with contextlib.closing(sqlite3.connect(store)) as database:
        tables = database.execute("SELECT name, type, sql FROM sqlite_master").fetchall()
        rows = {
            name: database.execute(f"SELECT * FROM {name}").fetchall() for name, kind, _ in tables if kind == "table"
        }
    schema = sorted(
        (name, kind, sorted(line.strip("\t ,") for line in str(sql).splitlines())) for name, kind, sql in tables
    )
    return schema, {name: sorted([plain(v) for v in row] for row in some) for name, some in rows.items()}


def test_a_store_that_starts_from_the_kept_one_is_as_mlflow_makes_it(kept: Path, tmp_path: Path) -> None:
    by_mlflow = exported(tmp_path / "first")
    assert kept.is_file()
    began = kept.stat().st_mtime_ns
    copied = exported(tmp_path / "second")
    assert content(copied, tmp_path / "second") == content(by_mlflow, tmp_path / "first")
    assert copied.stat().st_mode == by_mlflow.stat().st_mode
    assert kept.stat().st_mtime_ns == began
    assert not [file.name for file in copied.parent.iterdir() if ".new-" in file.name]


def test_the_kept_store_holds_nothing_of_the_sweep_that_made_it(kept: Path, tmp_path: Path) -> None:
    exported(tmp_path / "first")
    assert str(tmp_path).encode() not in kept.read_bytes().replace(b"\0", b"")
    schema, rows = content(kept, tmp_path)
    assert schema and {name for name, some in rows.items() if some} == {"alembic_version", "workspaces"}


@pytest.mark.parametrize("damage", ["half", "nothing", "text", "a table less", "a run more"])
def test_a_kept_store_that_is_damaged_is_not_used(kept: Path, tmp_path: Path, damage: str) -> None:
    exported(tmp_path / "first")
    whole = kept.read_bytes()
    match damage:
        case "half":
            kept.write_bytes(whole[: len(whole) // 2])
        case "nothing":
            kept.write_bytes(b"")
        case "text":
            kept.write_bytes(b"no store " * 1000)
        case "a table less":
            with contextlib.closing(sqlite3.connect(kept)) as database:
                database.execute("DROP TABLE runs")
        case _:
            with contextlib.closing(sqlite3.connect(kept)) as database:
                database.execute("INSERT INTO runs (run_uuid) VALUES ('a')")
                database.commit()
    store = exported(tmp_path / "second")
    assert content(store, tmp_path / "second") == content(tmp_path / "first" / "mlflow.db", tmp_path / "first")
    assert kept.is_file() and content(kept, tmp_path)[1]["runs"] == []  # a sound one has taken its place


def test_a_store_with_runs_is_not_kept_and_one_that_exists_is_not_replaced(kept: Path, tmp_path: Path) -> None:
    store = exported(tmp_path / "first")
    kept.unlink()
    keep_empty(store, mlflow.__version__)
    assert not kept.exists()
    exported(tmp_path / "second")
    assert kept.is_file()
    before = store.read_bytes()
    assert not start_from_empty(store, mlflow.__version__)
    assert store.read_bytes() == before
    assert not start_from_empty(tmp_path / "second" / "other.db", "0.0")  # of another version


def test_without_a_folder_closed_to_others_mlflow_makes_every_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = tmp_path / "state" / "landsweep"
    open_to_all.mkdir(parents=True)
    open_to_all.chmod(0o777)
    monkeypatch.setenv("XDG_STATE_HOME", str(open_to_all.parent))
    assert exported(tmp_path / "first").is_file()
    assert not list(open_to_all.iterdir())
