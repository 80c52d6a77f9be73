"""Questions in SQL: right answers from the tables that are there, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.ui import sql, views

pytestmark = pytest.mark.rotating

pytest.importorskip("duckdb", reason="DuckDB is not installed: pip install 'landsweep[ui]'")
ROWS = pa.table({"x": [1, 2, 3, 4], "name": ["a", "b", "a", None]})


def ask(question: str, most: int = 100) -> tuple[list[dict[str, object]], bool]:
    table, more = sql.answer(question, {"mine": lambda: ROWS, "other": lambda: pytest.fail("it was not named")}, most)
    return table.to_pylist(), more


def test_an_answer_is_that_of_the_rows() -> None:
    assert ask("select name, sum(x) as s from mine where name is not null group by name order by name") == (
        [{"name": "a", "s": 4}, {"name": "b", "s": 2}],
        False,
    )
    assert ask("select x from MINE order by x", 2) == ([{"x": 1}, {"x": 2}], True)
    assert ask("with m as (select max(x) as x from mine) from m") == ([{"x": 4}], False)


@pytest.mark.parametrize(
    "question",
    [
        "",
        "select",
        "select 1; select 2",
        "select * from nothing",
        "select * from ROWS",  # a variable of Python
        "select * from read_csv('{file}')",
        "select * from '{file}'",
        "select * from read_text('{file}')",
        "select * from read_blob('{file}')",
        "select * from parquet_scan('{file}')",
        "select * from glob('/*')",
        "select * from read_csv('http://127.0.0.1:1/x')",
        "copy mine to '{file}'",
        "export database '{file}'",
        "attach '{file}' as a",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set memory_limit = '1TB'",
        "pragma enable_external_access = true",
        "create table t as select 1",
        "drop view mine",
        "insert into mine values (1, 'a')",
        "call pragma_version()",
        "select getenv('HOME')",
        "explain analyze copy mine to '{file}'",
        "x" * 20_001,
    ],
)
def test_what_is_no_question_to_the_tables_is_refused(question: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("a\nsecret\n")
    with pytest.raises(UsageError) as refused:
        ask(question.format(file=file))
    assert "secret\n" not in str(refused.value) and file.read_text() == "a\nsecret\n"
    assert sorted(tmp_path.iterdir()) == [file]


def test_time_and_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_SECONDS", 0.2)
    endless = "with recursive r as (select 1 as a union all select a + 1 from r) select max(a) from r"
    with pytest.raises(UsageError, match=r"given up after 0\.2 s"):
        ask(endless)
    monkeypatch.setattr(sql, "_SECONDS", 60.0)
    monkeypatch.setattr(sql, "_MEMORY", 64 << 20)
    with pytest.raises(UsageError, match=r"(?i)memory"):
        ask("select * from range(100000000) order by random()")
    assert ask("select count(*) as n from mine") == ([{"n": 4}], False)


@pytest.mark.parametrize(
    "question",
    [
        "select levenshtein(repeat('a', 200000), repeat('b', 200000))",  # 4e10 steps of one call
        "select jaro_similarity(repeat('ab', 300000), repeat('ba', 300000))",
        "select count(*) from mine, (select sum(len(range(10000000))) from range(300))",
    ],
)
def test_one_call_of_a_function_that_takes_hours_is_ended(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_SECONDS", 0.5)
    with pytest.raises(UsageError, match=r"given up after 0\.5 s"):
        ask(question)


@pytest.mark.parametrize(
    "question",
    ["select len(range(300000000))", "select len(list_resize([1], 400000000))", "select map(range(200000000), [1])"],
)
def test_one_call_of_a_function_gets_no_more_memory_than_there_is_for_all(
    question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "_MEMORY", 64 << 20)
    with pytest.raises(UsageError, match=r"(?i)memory|given up"):
        ask(question)


VALUES = {
    "'infinity'::timestamp": "infinity",
    "timestamp '290000-01-01'": "290000-01-01 00:00:00",
    "'-infinity'::date": "-infinity",
    "time '24:00:00'": "24:00:00",
    "interval 9000000 years": "9000000 years",
    "map([1], [2])": "{1=2}",
    "[1, null]": "[1, NULL]",
    "{'a': 1}": "{'a': 1}",
    "'101'::bit": "101",
    "'\\xff'::blob": "\\xFF",
    "union_value(k := 1)": "1",
    "1.50::decimal(9, 2)": "1.50",
}


def test_values_of_any_type_are_shown_and_written_as_they_are() -> None:
    columns = ", ".join(f"{value} as c{n}" for n, value in enumerate(VALUES))
    question = f"select {columns}, x, 2 as c0 from mine order by x desc"
    table, _ = sql.answer(question, {"mine": lambda: ROWS}, 2)
    fields = views.table_json(table)
    assert fields["header"] == [*(f"c{n}" for n in range(len(VALUES))), "x", "c0"]
    *given, x, last = fields["columns"]
    assert (x, last) == ([4, 3], [2, 2])
    csv = b"".join(views.as_csv(table)).decode().replace('""', '"')
    for texts, shown in zip(given, VALUES.values(), strict=True):
        assert [text.replace("\\\\", "\\") for text in texts] == [shown, shown]
        assert shown in csv
    assert views.as_parquet(table)[:4] == b"PAR1"


@pytest.mark.parametrize(
    "question", ["select * from test_all_types()", "describe mine", "summarize mine", "show tables"]
)
def test_answers_of_any_form_become_files(question: str) -> None:
    table, _ = sql.answer(question, {"mine": lambda: ROWS}, 100)
    assert views.table_json(table)["header"] == table.column_names
    assert b"".join(views.as_csv(table)) and views.as_parquet(table)


@pytest.mark.parametrize(
    "question", ["select repeat('a', 100000) from range(1000)", "select range(50000) from range(500)"]
)
def test_an_answer_that_is_too_large_is_refused(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_LARGEST", 10 << 20)
    with pytest.raises(UsageError, match="the answer takes more than 10 MiB"):
        ask(question, 1000)


def test_names_of_sweeps_are_names_in_sql() -> None:
    names = {"a": "my-sweep", "b": "my sweep", "c": "2d", "d": "'; drop", "e": "", "f": "größe"}
    assert sql.table_names(names) == {
        "my_sweep": "a", "my_sweep_2": "b", "t_2d": "c", "drop": "d", "sweep": "e", "gr_e": "f",
    }  # fmt: skip
