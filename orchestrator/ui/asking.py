"""The process in which DuckDB answers a question, in bounded time and memory whatever a single step of it takes.

DuckDB looks at its own limits between steps, and one call of a function can take far more; so an alarm ends the
process, and the system gives it no more memory. The file is its program, and imports nothing of landsweep.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa

__all__ = ["Order", "mapped"]

_THREADS = 2
_BATCH = 10_000  # rows
_SLACK = 512 << 20  # bytes beside what DuckDB counts: an answer, stacks, what the allocator holds
# What JSON, CSV and Parquet hold alike; values of other types become texts as DuckDB writes them.
_PLAIN = re.compile(r"BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|VARCHAR|DECIMAL\(.*\)|\"?NULL\"?")
_STATEMENT = "SELECT"


class Order(TypedDict):
    """What is asked, as JSON.

    Attributes:
        question: one SELECT.
        tables: name to the descriptor of a file that holds it as a stream of Arrow.
        answer: descriptor of the file that gets the answer in the same form.
        most: rows of the answer; one more says that there are more.
        seconds: for all of it.
        memory: bytes that DuckDB may take.
        largest: bytes of the answer.
    """

    question: str
    tables: dict[str, int]
    answer: int
    most: int
    seconds: float
    memory: int
    largest: int


class _Refused(Exception):
    """Why there is no answer."""


def mapped(descriptor: int) -> pa.Table:
    """The table in a file, which is not copied into memory."""
    return pa.ipc.open_stream(pa.py_buffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))).read_all()


def _main() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a process that ignores or blocks it hands that on
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order: Order = json.load(sys.stdin)
    try:
        _answer(order)
        refused = None
    except _Refused as e:
        refused = str(e)
    json.dump({"refused": refused}, sys.stdout)


def _answer(order: Order) -> None:
    import duckdb

    connection = _connected(order)
    _bound(order["memory"] + _SLACK)
    signal.setitimer(signal.ITIMER_REAL, order["seconds"])
    try:
        statements = connection.extract_statements(order["question"])
        if len(statements) != 1 or statements[0].type.name != _STATEMENT:
            raise _Refused("give one SELECT: this page reads, and changes nothing")
        answer = connection.sql(order["question"])
        types = [str(kind) for kind in answer.types]
        columns = [f"#{i}" if _PLAIN.fullmatch(t) else f"CAST(#{i} AS VARCHAR)" for i, t in enumerate(types, 1)]
        reader = answer.project(", ".join(columns)).to_arrow_reader(min(order["most"] + 1, _BATCH))
        table = _read(reader, order["most"], order["largest"]).rename_columns(answer.columns)
        with open(order["answer"], "wb", closefd=False) as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    except (duckdb.Error, OSError, pa.ArrowException, UnicodeError) as e:  # of the reader's, DuckDB's are OSErrors
        raise _Refused(str(e)) from e


def _connected(order: Order) -> Any:  # noqa: ANN401 - a connection of DuckDB, which has no types
    import duckdb

    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": _THREADS,
            "memory_limit": f"{order['memory'] >> 20}MiB",
            "temp_directory": "",
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    for name, descriptor in order["tables"].items():
        connection.register(name, mapped(descriptor))
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _bound(room: int) -> None:
    """Let this process grow by this many bytes; systems other than Linux have no such bound.

    Raises:
        _Refused: the system does not say how large it is, such as one without /proc.
    """
    if sys.platform != "linux":
        return
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + room
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (OSError, ValueError, IndexError) as e:
        raise _Refused(
            f"no question is answered: the memory for it can't be bounded, because this system does not say in "
            f"/proc/self/statm how much a process takes ({e}). Mount /proc"
        ) from e


def _read(reader: pa.RecordBatchReader, most: int, largest: int) -> pa.Table:
    """The rows of an answer, and one more than `most` where there are more.

    Raises:
        _Refused: they take too much memory.
    """
    batches: list[pa.RecordBatch] = []
    for batch in reader:
        batches.append(batch)
        if sum(b.nbytes for b in batches) > largest:
            raise _Refused(f"the answer takes more than {largest >> 20} MiB; ask for fewer rows or shorter texts")
        if sum(b.num_rows for b in batches) > most:
            break
    return pa.Table.from_batches(batches, reader.schema)


if __name__ == "__main__":
    _main()
