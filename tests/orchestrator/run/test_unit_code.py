"""Units that replace what Python brings, in the process of all: those after them and the run are as without them."""

from __future__ import annotations

from pathlib import Path

from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.attack.folders import landsweep
from tests.support.cli import write_spec

HARM = """
import builtins, io, json, os, time

class Equal:
    __eq__ = lambda self, other: 1 / 0

def lines():
    builtins.len = None
    yield {"y": 0.0}

SORTS = [
    lambda: setattr(builtins, "open", None),
    lambda: setattr(io, "open", Equal()),
    lambda: setattr(json, "dumps", None),
    lambda: setattr(time, "time", None),
    lambda: setattr(time, "perf_counter", lambda: "now"),
    lambda: setattr(os, "fchdir", None),
    lambda: delattr(os, "replace"),
    lambda: delattr(builtins, "len"),
    lambda: vars(builtins).update({name: None for name in list(vars(builtins)) if name.islower()}),
    lambda: (setattr(builtins, "isinstance", None), 1 / 0),
    lines,
    lambda: os.closerange(3, 256),
]

def unit(i):
    if i % 2 and (given := SORTS[i // 2]()) is not None:
        return given
    return {"y": float(i)}
"""


def test_what_units_replace_is_put_back_after_each(tmp_path: Path) -> None:
    """Half of the units do so, each another thing. They may fail by it; the others may not."""
    (tmp_path / "harm.py").write_text(HARM)
    write_spec(tmp_path, {"kind": "function", "name": "harm", "function": "harm:unit", "axes": {"i": {"range": 24}}})
    words = ("site.executor=local", "site.tracking=false", "site.probe_seconds=0")
    done = landsweep("run", "spec.yaml", "--out", "own", *words, cwd=tmp_path)
    assert "Traceback" not in done.stderr and done.returncode in (0, 1), done.stderr
    rows = {row["i"]: row for row in Ledger.open(Store.at(tmp_path / "own")).rows().to_pylist()}
    assert sorted(rows) == list(range(24))
    assert [(rows[i]["status"], rows[i]["y"]) for i in range(0, 24, 2)] == [("ok", i) for i in range(0, 24, 2)]
    for said in ("the unit {'i': 1} has replaced builtins.open of", "{'i': 13} has replaced os.replace of"):
        assert said in done.stderr, done.stderr
