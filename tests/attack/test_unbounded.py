"""Processes that bound their own memory: where the system does not let them, they compute nothing, and say so."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.ui import asking, sql
from landsweep.sweeps.lab.programs import searcher

SIZE = "/proc/self/statm"
SAYS = [None, "", "many 1 2"]  # what stands there; None: there is no such file


def without_size(program: str, says: str | None, folder: Path) -> str:
    """A copy of a program that looks for its size elsewhere."""
    if says is not None:
        (folder / "size").write_text(says)
    text = Path(program).read_text(encoding="utf-8")
    assert f'Path("{SIZE}")' in text
    copy = folder / "program.py"
    copy.write_text(text.replace(f'Path("{SIZE}")', f"Path({str(folder / 'size')!r})"))
    return str(copy)


@pytest.mark.parametrize("says", SAYS)
def test_no_pattern_is_searched(says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher, "__file__", without_size(searcher.__file__, says, tmp_path))
    with pytest.raises(OSError, match=r"can't be bounded.*/proc"):
        list(searcher.Searcher().search(["(?P<x>.)"], ["a"], 10.0))


@pytest.mark.parametrize("says", SAYS[:2])
def test_no_question_is_answered(says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    monkeypatch.setattr(asking, "__file__", without_size(asking.__file__, says, tmp_path))
    with pytest.raises(UsageError, match=r"can't be bounded.*/proc"):
        sql.answer("select x from mine", {"mine": lambda: pa.table({"x": [1]})}, 10)
