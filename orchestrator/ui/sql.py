"""Questions in SQL, answered by DuckDB in memory: it reads the tables of sweeps that it is given, and nothing else."""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Callable, Mapping

import psutil
import pyarrow as pa

from landsweep.orchestrator.errors import UsageError

__all__ = ["answer", "is_installed", "table_names"]

_SECONDS = 20.0
_MEMORY = 2 << 30  # bytes, and at most a quarter of what is free
_THREADS = 2
_BATCH = 10_000  # rows
_LARGEST = 512 << 20  # bytes of an answer
# What JSON, CSV and Parquet hold alike; values of other types become texts as DuckDB writes them.
_PLAIN = re.compile(r"BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|VARCHAR|DECIMAL\(.*\)|\"?NULL\"?")
_LONGEST = 20_000  # characters of a question
_STATEMENT = "SELECT"
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
        raise UsageError(f"the question has {len(question):,} characters; at most {_LONGEST:,} are taken")
    with _one_at_a_time:
        return _asked(question, tables, most)


def _asked(question: str, tables: Mapping[str, Callable[[], pa.Table]], most: int) -> tuple[pa.Table, bool]:
    import duckdb

    room = min(_MEMORY, psutil.virtual_memory().available // 4)
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": _THREADS,
            "memory_limit": f"{room >> 20}MiB",
            "temp_directory": "",
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    timer = threading.Timer(_SECONDS, connection.interrupt)
    try:
        for name, read in tables.items():
            if re.search(rf"(?i)(?<!\w){re.escape(name)}(?!\w)", question):
                connection.register(name, read())
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        statements = connection.extract_statements(question)
        if len(statements) != 1 or statements[0].type.name != _STATEMENT:
            raise UsageError("give one SELECT: this page reads, and changes nothing")
        timer.start()
        answer = connection.sql(question)
        types = [str(kind) for kind in answer.types]
        columns = [f"#{i}" if _PLAIN.fullmatch(t) else f"CAST(#{i} AS VARCHAR)" for i, t in enumerate(types, 1)]
        reader = answer.project(", ".join(columns)).to_arrow_reader(min(most + 1, _BATCH))
        table = _read(reader, most)
        return table.slice(0, most).rename_columns(answer.columns), table.num_rows > most
    except (duckdb.Error, OSError, pa.ArrowException) as e:  # of the reader's, errors of DuckDB are OSErrors
        if isinstance(e, duckdb.InterruptException) or "INTERRUPT" in str(e):
            raise UsageError(
                f"given up after {_SECONDS:g} s; ask for less, such as one sweep or fewer columns"
            ) from None
        raise UsageError(str(e)) from e
    finally:
        timer.cancel()
        connection.close()


def _read(reader: pa.RecordBatchReader, most: int) -> pa.Table:
    """The rows of an answer, and one more than `most` where there are more.

    Raises:
        UsageError: they take too much memory.
    """
    batches: list[pa.RecordBatch] = []
    for batch in reader:
        batches.append(batch)
        if sum(b.nbytes for b in batches) > _LARGEST:
            raise UsageError(f"the answer takes more than {_LARGEST >> 20} MiB; ask for fewer rows or shorter texts")
        if sum(b.num_rows for b in batches) > most:
            break
    return pa.Table.from_batches(batches, reader.schema)
