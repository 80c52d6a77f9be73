"""Tables of strangers for `fit`, `phases` and the like: each is read as it stands, or refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.fitting import tables
from landsweep.sweeps.laws.fitting.tables import read_table
from tests.attack.folders import FUNCTION, command, ran

XY = pa.table({"x": [1.0, 2.0], "y": [2.0, 3.0]})
UNREADABLE = {
    "deep.json": "[" * 5000,
    "deeper.json": '{"x":' * 5000,
    "deep.jsonl": '{"x":' + "[" * 3000,
    "huge.json": json.dumps([{"x": 10**400, "y": 1}]),
    "digits.json": '[{"x": ' + "9" * 5000 + "}]",
    "surrogate.json": '[{"\\ud800": 1}]',
    "one_more.csv": "x,y\n1,2,3\n4,5,6\n",  # pandas would take x for an index, and y's values for x
    "one_more.txt": "x y\n1 2 3\n4 5 6\n",
    "wide.csv": "x,y\n" + ",".join(["1"] * 20_000),  # an index of 19,998 levels
    "longer.tsv": "x\ty\n1\t2\n1\t2\t3\n",
}
DESCRIPTIONS = {  # what Parquet files carry for pandas, which trusts it
    "garbage": "\xff{",
    "a list": "[]",
    "types": {"index_columns": [5], "columns": 3},
    "an index that is not there": {"index_columns": ["z"], "columns": [], "column_indexes": []},
    "names": {"index_columns": [], "columns": [{"name": 5, "pandas_type": [], "numpy_type": "evil"}]},
    "an endless index": {
        "index_columns": [{"kind": "range", "name": None, "start": 0, "stop": 10**12, "step": 1}],
        "columns": [],
        "column_indexes": [],
    },
    "half an index": {"index_columns": [{"kind": "range", "start": 0}], "columns": [], "column_indexes": []},
    "a type of pandas": {
        "index_columns": [],
        "columns": [{"name": "x", "field_name": "x", "pandas_type": "int64", "numpy_type": "period[Z]"}],
        "column_indexes": [{"name": None, "field_name": None, "pandas_type": "datetimetz", "numpy_type": "object",
                            "metadata": {"timezone": "Mars"}}],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_table_is_refused_in_words(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(UNREADABLE[name])
    with pytest.raises(UsageError, match="can't be read: "):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions_for_pandas_that_were_forged(name: str, tmp_path: Path) -> None:
    given = DESCRIPTIONS[name]
    text = given.encode("latin-1") if isinstance(given, str) else json.dumps(given).encode()
    pq.write_table(XY.replace_schema_metadata({b"pandas": text}), tmp_path / "t.parquet")
    try:
        table = read_table(tmp_path / "t.parquet")
    except UsageError as e:
        assert "can't be read: " in str(e)
    else:
        assert table[["x", "y"]].to_dict("list") == XY.to_pydict()


@pytest.mark.parametrize(("name", "text"), [("t.csv", "x,y\n1,2,\n2,3,\n"), ("t.tsv", "x\ty\n1\t2\t\n2\t3\t\n")])
def test_separators_at_the_ends_of_lines_move_nothing(name: str, text: str, tmp_path: Path) -> None:
    """pandas by itself takes the first column for an index, and gives the others the wrong names."""
    (tmp_path / name).write_text(text)
    assert read_table(tmp_path / name).to_dict("list") == {"x": [1, 2], "y": [2, 3]}


def test_series_that_no_memory_holds_as_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some megabytes of series, in which each metric has steps of its own, would take terabytes."""
    (tmp_path / "many.py").write_text(
        "def f(x, y):\n    for i in range(200):\n        yield {'step': i, f'm{i}': 1.0}\n"
        "    yield {'step': 200, 'm0': 1.0}\n"
    )
    spec = {**FUNCTION, "function": "many:f", "axes": {"x": [0.0], "y": [0.0]}}
    results = ran(tmp_path, spec)
    table = read_table(results / "series")
    assert table.shape[0] == 201 and isinstance(table, pd.DataFrame)
    monkeypatch.setattr(tables, "room", lambda: 201 * 200 * 8 - 1)
    monkeypatch.setattr("landsweep.orchestrator.storage.bounds.room", lambda: 201 * 200 * 8 - 1)
    with pytest.raises(UsageError, match="a column for each of 200 metrics"):
        read_table(results / "series")
    done = command("fit", results / "series", "--law", "power", "--columns", "x=step,y=m1", cwd=tmp_path)
    assert done.returncode == 2 and "200 metrics" in done.stderr
