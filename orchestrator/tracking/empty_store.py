"""New SQLite stores as copies of an empty one, because MLflow takes longest to make the tables.

For a new file MLflow runs every migration of its history: more processor time than all else that an export does. So
the first store that it makes is kept, empty, in the user's own state folder, one for each version of MLflow, and later
ones start as copies of it. MLflow still compares the tables with those that it wants when it opens a store.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from landsweep.orchestrator.notes import state_folder

__all__ = ["keep_empty", "start_from_empty"]

_SHELF = "empty-stores"
_MODE = 0o644  # what SQLite gives a new file, less the umask


def start_from_empty(database: Path, version: str) -> bool:
    """Make a new store from the empty one that is kept, whole or not at all.

    Args:
        database: where the store will be; its folder exists.
        version: of MLflow.

    Returns:
        Whether that was done; not where the file exists, or no sound empty store is kept: then MLflow makes the tables.
    """
    kept = _kept(version)
    if kept is None or not kept.is_file() or database.exists():
        return False
    part = database.with_name(f".{database.name}.new-{os.getpid()}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE), "wb") as file:
            file.write(kept.read_bytes())
        if not _is_empty(part):
            kept.unlink()
            return False
        os.link(part, database)  # unlike a rename it never replaces a store that came meanwhile
    except OSError:  # also of file systems without links
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


def keep_empty(database: Path, version: str) -> None:
    """Keep a copy of a store that MLflow has just made, unless it has content; where that fails nothing is kept."""
    kept = _kept(version)
    if kept is None or kept.exists():
        return
    try:
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=kept.parent, prefix=".new-")
        os.close(handle)
        part = Path(name)
        try:
            with (
                contextlib.closing(sqlite3.connect(database)) as source,
                contextlib.closing(sqlite3.connect(part)) as copy,
            ):
                source.backup(copy)
                if _tables(copy).get("experiments") == 1:  # the default one, whose folder is that of this process
                    copy.execute("DELETE FROM experiments")
                    copy.commit()
            if _is_empty(part):
                part.replace(kept)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, sqlite3.Error):
        return


def _kept(version: str) -> Path | None:
    folder = state_folder()
    return None if folder is None else folder / _SHELF / f"mlflow-{version}.db"


def _is_empty(path: Path) -> bool:
    """Whether the file is a sound store without experiments and runs."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            sound = database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            tables = _tables(database)
    except sqlite3.Error:
        return False
    return sound and tables.get("experiments") == 0 and tables.get("runs") == 0


def _tables(database: sqlite3.Connection) -> dict[str, int]:
    """How many rows those tables have that every store has."""
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {
        name: int(database.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
        for name in ("experiments", "runs")
        if name in names
    }
