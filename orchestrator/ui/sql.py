"""Questions in SQL, answered by DuckDB in a process of its own, which reads the tables that it is given alone."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import IO

import psutil
import pyarrow as pa

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.ui import asking
from landsweep.orchestrator.ui.asking import Order, mapped

__all__ = ["answer", "is_installed", "table_names"]

_SECONDS = 20.0
_MEMORY = 2 << 30  # bytes, and at most a quarter of what is free
_LARGEST = 512 << 20  # bytes of an answer
_LONGEST = 20_000  # characters of a question
_one_at_a_time = threading.Lock()


def is_installed() -> bool:
    """Whether DuckDB is there."""
    return importlib.util.find_spec("duckdb") is not None


def table_names(names: Mapping[str, str]) -> dict[str, str]:
    """A name in SQL for each sweep: its own in letters, digits and underscores.

    Args:
        names: id of a sweep to its name.

    Returns:
        Name in SQL to the id.

    Example:
        >>> table_names({"a": "my-sweep", "b": "my sweep", "c": "2d"})
        {'my_sweep': 'a', 'my_sweep_2': 'b', 't_2d': 'c'}
    """
    taken: dict[str, str] = {}
    for one, name in names.items():
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()[:60] or "sweep"
        plain = f"t_{plain}" if plain[0].isdigit() else plain
        unique, i = plain, 2
        while unique in taken:
            unique, i = f"{plain}_{i}", i + 1
        taken[unique] = one
    return taken


def answer(question: str, tables: Mapping[str, Callable[[], pa.Table]], most: int) -> tuple[pa.Table, bool]:
    """The table that a question gives.

    Args:
        question: one SELECT of DuckDB's SQL.
        tables: by the names that it may use; only those that it names are read.
        most: rows of the answer.

    Returns:
        The answer, and whether rows were left out.

    Raises:
        UsageError: it is no SELECT, has an error, takes too long or too much memory, or DuckDB is not installed.
    """
    if not is_installed():
        raise UsageError("SQL needs DuckDB, which is not installed: pip install 'landsweep[ui]'")
    if len(question) > _LONGEST:
        raise UsageError(f"the question has {len(question):,} characters; at most {_LONGEST:,} are allowed")
    with _one_at_a_time:
        return _asked(question, tables, most)


def _asked(question: str, tables: Mapping[str, Callable[[], pa.Table]], most: int) -> tuple[pa.Table, bool]:
    room = min(_MEMORY, psutil.virtual_memory().available // 4)
    with ExitStack() as files:
        named: dict[str, int] = {}
        for name, read in tables.items():
            if re.search(rf"(?i)(?<!\w){re.escape(name)}(?!\w)", question):
                named[name] = _written(read(), files.enter_context(_file()))
        answer = files.enter_context(_file()).fileno()
        order = Order(
            question=question, tables=named, answer=answer, most=most, seconds=_SECONDS, memory=room, largest=_LARGEST
        )  # fmt: skip
        if refused := _reply(order):
            raise UsageError(refused)
        table = mapped(answer)
    return table.slice(0, most), table.num_rows > most


def _reply(order: Order) -> str | None:
    """Why there is no answer; None where its file holds one."""
    process = subprocess.Popen(
        [sys.executable, "-P", asking.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[order["answer"], *order["tables"].values()],
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(json.dumps(order).encode())
    finally:
        process.kill()
        process.wait()
    if process.returncode == 0:
        refused: str | None = json.loads(said)["refused"]
        return refused
    if process.returncode == -signal.SIGALRM:
        return f"given up after {_SECONDS:g} s; ask for less, such as one sweep or fewer columns"
    return (
        f"DuckDB's process ended with code {process.returncode}: it had no more memory, which is bounded at "
        f"{order['memory'] / 2**30:.1f} GiB, or has a fault. Ask for less, such as one sweep or shorter texts"
    )


def _file() -> IO[bytes]:
    """A file without a name, in memory where the system has such files."""
    return os.fdopen(os.memfd_create("landsweep"), "w+b") if sys.platform == "linux" else tempfile.TemporaryFile()


def _written(table: pa.Table, file: IO[bytes]) -> int:
    """The descriptor of a file that holds the table now."""
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    file.flush()
    return file.fileno()
