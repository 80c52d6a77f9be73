"""Reports never fail because of values: every kind's page comes out of rows of every odd sort."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landsweep.orchestrator.claim import Claim
from landsweep.orchestrator.commands.publish import make_page
from landsweep.orchestrator.kind import SweepKind, kinds
from landsweep.orchestrator.row import METERS, RowMaker
from tests.support.hostile import HOSTILE, Elements
from tests.support.paths import GOLDEN

pytestmark = pytest.mark.rotating

KINDS = sorted(kinds())
NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-300, 5e-324, 1e37, -1e37, 1e308, -1e308, math.inf, -math.inf, math.nan, None, 2**53)
TEXTS = (None, "", " ", "[4,8]", "4", "null", "nan", "$x_1$", "x" * 10**5, "\ud83d\ude00", *HOSTILE)
FREE_PARAMS = {"function", "zoo"}  # kinds whose axes may hold nulls, and text beside numbers


class Rows:
    """The golden rows of a kind's example as the ledger gives them, series that fit them, and ways to spoil both.

    Attributes:
        rows: one line per unit.
        series: key, step, metric, value.
    """

    def __init__(self, kind: SweepKind[Any]) -> None:
        spec = kind.example()
        params, columns = kind.params(spec), kind.columns(spec)
        golden = json.loads((GOLDEN / f"{kind.name}.json").read_text(encoding="utf-8"))
        meters = {"attempt": 1, "worker": "host:1", "seconds": 0.5, "cpu_seconds": 0.4, "peak_memory": 90.0}
        lines = [{"key": k, **row, **meters, "ended": 1e9 + i} for i, (k, row) in enumerate(golden.items())]
        schema = RowMaker(params, columns).schema()
        extra = [name for name in lines[0] if name not in schema.names]
        schema = pa.schema([*schema, *(pa.field(n, pa.float64()) for n in extra if not isinstance(lines[0][n], str)),
                            *(pa.field(n, pa.string()) for n in extra if isinstance(lines[0][n], str))])  # fmt: skip
        self.rows: pd.DataFrame = pa.Table.from_pylist(lines, schema=schema).to_pandas()
        self.params = [c.name for c in params]
        self.metrics = [n for n in self.rows if n not in {"key", *self.params, *(c.name for c in METERS)}]
        numeric = [n for n in self.metrics if pd.api.types.is_numeric_dtype(self.rows[n])][:4]
        told = [
            {"key": key, "step": step, "metric": metric, "value": (float(value) + step / 20)}
            for metric in [*numeric, "sharpness", "activation/hidden.0"]
            for key, value in zip(self.rows["key"], self.rows.get(metric, self.rows["seconds"]), strict=True)
            for step in (0, 20, 40)
        ]
        self.series = pd.DataFrame(told)


@cache
def base(name: str) -> Rows:
    return Rows(kinds()[name])


def few(draw: Callable[..., Any], rows: Rows) -> None:
    """None, one, or half of the rows."""
    rows.rows = rows.rows.iloc[: draw(st.sampled_from([0, 1, 2, len(rows.rows) // 2]))].reset_index(drop=True)


def ended(draw: Callable[..., Any], rows: Rows) -> None:
    """All, or some, failed, diverged or were pruned, and have no metrics."""
    status = draw(st.sampled_from(["failed", "diverged", "pruned"]))
    every = draw(st.booleans())
    chosen = [every or draw(st.booleans()) for _ in range(len(rows.rows))]
    rows.rows["status"] = rows.rows["status"].astype(object)
    rows.rows.loc[chosen, "status"] = status
    rows.rows["error"] = rows.rows["error"].astype(object)
    rows.rows.loc[chosen, "error"] = draw(st.sampled_from(TEXTS))
    for name in rows.metrics:
        rows.rows[name] = rows.rows[name].astype(object)
        rows.rows.loc[chosen, name] = None


def values(draw: Callable[..., Any], rows: Rows) -> None:
    """One value, or a mixture, in a column, or in one of its cells."""
    free = rows.metrics + ([p for p in rows.params if p != "seed"] if draw.kind in FREE_PARAMS else [])  # type: ignore[attr-defined]
    if not free:  # the only metric is missing
        return
    name = draw(st.sampled_from(free))
    number = pd.api.types.is_numeric_dtype(rows.rows[name])
    pool = st.sampled_from(NUMBERS if number else TEXTS)
    column = list(rows.rows[name].astype(object))
    if draw(st.booleans()):
        column = [draw(pool)] * len(column) if draw(st.booleans()) else [draw(pool) for _ in column]
    elif column:
        column[draw(st.integers(0, len(column) - 1))] = draw(pool)
    objects = draw(st.booleans()) or not number
    rows.rows[name] = pd.Series(column, dtype=object if objects else float)


def scalars(draw: Callable[..., Any], rows: Rows) -> None:
    """A column as objects, NumPy scalars among them."""
    name = draw(st.sampled_from([*rows.metrics, *rows.params]))
    kind = np.dtype(rows.rows[name].dtype) if isinstance(rows.rows[name].dtype, np.dtype) else np.dtype(object)
    plain = kind.kind in "ifb"
    rows.rows[name] = pd.Series([kind.type(v) if plain else v for v in rows.rows[name]], dtype=object)


def missing(draw: Callable[..., Any], rows: Rows) -> None:
    """A metric whose column came late, and is not there."""
    if not rows.metrics:
        return
    name = draw(st.sampled_from(rows.metrics))
    rows.rows = rows.rows.drop(columns=name)
    rows.metrics = [m for m in rows.metrics if m != name]


def strange(draw: Callable[..., Any], rows: Rows) -> None:
    """A column that nobody declared, under any name."""
    name = draw(st.sampled_from(["x" * 300, *HOSTILE]))
    rows.rows[name] = pd.Series([draw(st.sampled_from(NUMBERS + TEXTS)) for _ in range(len(rows.rows))], dtype=object)


def along(draw: Callable[..., Any], rows: Rows) -> None:
    """No series, of one step, with gaps, with values that are huge or not finite, of units without a row."""
    series = rows.series
    how = draw(st.sampled_from(["none", "one step", "values", "some", "names"]))
    if how == "none":
        series = series.iloc[:0]
    elif how == "one step":
        series = series[series["step"] == 0]
    elif how == "values":
        series = series.assign(value=draw(st.sampled_from([v for v in NUMBERS if isinstance(v, float)])))
    elif how == "some":
        series = series[[draw(st.booleans()) for _ in range(len(series))]]
    else:
        series = series.assign(metric=draw(st.sampled_from(HOSTILE)), key="no such unit")
    rows.series = series.reset_index(drop=True)


CLAIMS = tuple(
    Claim(says="so it is", holds=holds, over=over)
    for over in (None, "worker", "error")
    for holds in (
        "mean(seconds) < 1 and max(seconds) < std(seconds)",
        "share(status == 'ok') > quantile(attempt, 0.5, worker == 'a')",
        "spearman(seconds, attempt) < slope(seconds, ended) and at_min(seconds, attempt) > count(cpu_seconds)",
    )
)
SPOILERS = (few, ended, values, values, scalars, missing, strange, along)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_page_comes_out_whatever_the_rows_hold(name: str, data: st.DataObject) -> None:
    kind = kinds()[name]
    rows = copy.copy(base(name))
    rows.rows, rows.series = rows.rows.copy(), rows.series.copy()
    draw: Any = lambda strategy: data.draw(strategy)  # noqa: E731 - it carries the kind's name
    draw.kind = name
    for spoil in data.draw(st.lists(st.sampled_from(SPOILERS), max_size=3)):
        spoil(draw, rows)
    with tempfile.TemporaryDirectory() as folder:
        head = {"spec": kind.example().model_dump(mode="json"), "params": kind.params(kind.example())}
        spec = kind.example().model_copy(update={"claims": CLAIMS})
        page, report = make_page(kind, spec, head, rows.rows, rows.series, Path(folder))
        shown = Elements(page.read_text(encoding="utf-8"))
    assert len(report.verdicts) == len(CLAIMS)
    assert shown.evil == []
    assert "could not be drawn" not in shown.text
    assert "How it was made" in shown.text
    assert all(math.isfinite(v) for v in report.summary.values())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("declared", [True, False])
def test_half_characters_are_shown_as_escapes(tmp_path: Path, name: str, declared: bool) -> None:
    """Text that no UTF-8 holds, in a column that the kind declares and in one that nobody did."""
    kind = kinds()[name]
    rows = base(name).rows.copy()
    column = "error" if declared else "strange"
    rows[column] = pd.Series(["a\ud83d"] * len(rows), dtype=object)
    rows["status"] = ["failed" if declared else status for status in rows["status"]]
    head = {"spec": kind.example().model_dump(mode="json"), "params": kind.params(kind.example())}
    page, _ = make_page(kind, kind.example(), head, rows, base(name).series, tmp_path)
    shown = page.read_text(encoding="utf-8")
    assert "How it was made" in shown and (not declared or "a\\ud83d" in shown)
