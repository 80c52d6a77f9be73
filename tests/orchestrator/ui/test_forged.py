"""What a forged folder makes the web application answer: views, or one line that says what is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.storage.ledger.seal import unseal
from landsweep.orchestrator.ui import about, units, views
from landsweep.orchestrator.ui.kinds import Kinds
from landsweep.orchestrator.ui.places import Place, Places
from landsweep.orchestrator.ui.tables import Snapshot, Tables
from tests.attack.folders import rewritten
from tests.support.paths import GOLDEN

EVIL = "x; touch evil #"
LONG = ["run", "a " * 2_000, "b" * 4_000, EVIL]  # cut in the middle, it would lose one quotation mark


def forged(folder: Path, **fields: Any) -> tuple[Place, Snapshot]:
    copy = folder / "copy"
    shutil.copytree(GOLDEN / "begun" / "function", copy)
    facts = json.loads((copy / "sweep.json").read_text())
    (copy / "sweep.json").write_text(json.dumps({**facts, **fields}))
    (place,) = Places([str(copy)]).all()
    return place, Tables().read(place)


@pytest.mark.parametrize("spec", [None, 3, "text", [], [[]], {"axes": 3}, {"space": "x", "axes": None}])
def test_a_spec_that_is_none_keeps_no_rows_from_being_shown(spec: object, tmp_path: Path) -> None:
    place, snapshot = forged(tmp_path, spec=spec)
    assert Kinds().columns(snapshot, place)["columns"]
    (shown,) = views.compared({place.id: snapshot})["sweeps"]
    assert shown["rows"] == 9 and "value" in shown["metrics"]
    key = views.keys(snapshot, views.Query(), 1)[0]
    assert units.unit(place, snapshot, key, "")["values"]


@pytest.mark.parametrize("name", ["\ud800", ["a"], {"\udfff": 1}])
def test_an_id_that_is_no_text_keeps_no_rows_from_being_shown(name: object, tmp_path: Path) -> None:
    _, snapshot = forged(tmp_path, id=name)
    assert snapshot.table.num_rows == 9 and snapshot.version


@pytest.mark.parametrize(
    "typed", [f"run a.yaml {EVIL}", ["run", EVIL, "$(touch evil)"], "run `touch evil`", "run 'a; touch evil", LONG]
)
@pytest.mark.parametrize("cause", [EVIL, "error", "$(touch evil)"])
def test_no_command_that_is_shown_holds_a_command_of_a_folder(typed: object, cause: str, tmp_path: Path) -> None:
    place, _ = forged(tmp_path, command=typed)
    for part in (Path(place.where) / "rows").glob("part-*.parquet"):
        rewritten(part, lambda t: _with(_with(t, "cause", cause), "status", "failed"))
        key = unseal(part.read_bytes())[0].column("key")[0].as_py()
    snapshot = Tables().read(place)
    shown = {**about.about(place, snapshot)["commands"], **units.unit(place, snapshot, key, "")["commands"]}
    assert any(what.startswith("resume it") for what in shown) == (typed != "run 'a; touch evil")
    assert (" --cause error" in str(shown)) == (cause == "error")
    shell = tmp_path / "shell"
    shell.mkdir()
    for command in shown.values():
        subprocess.run(["bash", "-c", f"landsweep() {{ :; }}\n{command}"], cwd=shell, check=False, capture_output=True)
        assert not list(shell.iterdir()), command


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_numbers_of_any_precision_are_compared_and_sorted(kind: pa.DataType, tmp_path: Path) -> None:
    place, _ = forged(tmp_path)
    for part in (Path(place.where) / "rows").glob("part-*.parquet"):
        rewritten(part, lambda t: t.append_column("odd", pa.array([-i / 4 for i in range(t.num_rows)]).cast(kind)))
    snapshot = Tables().read(place)
    query = views.Query.read(['["odd", "<", "-0.3"]'], ['["odd", "ascending"]'])
    shown = views.page(snapshot, query, ["odd"], 0, 100)
    assert shown["rows"]["odd"] == [-i / 4 for i in range(8, 1, -1)]
    (sweep,) = views.compared({place.id: snapshot})["sweeps"]
    assert sweep["metrics"]["odd"] == {"least": -2.0, "largest": 0.0}


UNDER_WAY: dict[str, dict[str, Any]] = {
    "half a sign as a key": {"\ud800": {"params": {}, "steps": [[1, {"loss": 1.0}]]}},
    "half a sign as a param": {"k": {"params": {"start": "\ud800", "\udfff": 1}, "steps": [[1, {"loss": 1.0}]]}},
    "half a sign as a metric": {"k": {"params": {}, "steps": [[1, {"loss": 1.0, "\ud800": 2.0}]]}},
    "10^400": {"k": {"params": {"start": 10**400, "lr": -(10**400)}, "steps": [[10**400, {"loss": 10**400}]]}},
    "a name of a million signs": {"k": {"params": {"n" * 10**6: 1}, "steps": [[1, {"n" * 10**6: 1.0}]]}},
}


@pytest.mark.parametrize("what", UNDER_WAY)
def test_units_under_way_that_were_forged(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, snapshot = forged(tmp_path)
    (Path(place.path) / "running.json").write_text(json.dumps({"units": UNDER_WAY[what]}))
    monkeypatch.setattr(units, "progress", lambda place: {"running": True})
    for filters in ([], ['["start", ">", "-1"]'], ['["lr", "<", "1"]']):
        running = units.under_way(place, snapshot, views.Query.read(filters, []))
        answer = json.dumps(units.curves(snapshot, [], "", running))
        assert "\\ud800" not in answer and len(answer) < 10_000


def _with(table: pa.Table, name: str, value: str) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, pa.array([value] * table.num_rows))


def test_a_sweep_whose_rows_are_gone_says_so(tmp_path: Path) -> None:
    place, _ = forged(tmp_path)
    shutil.rmtree(place.where)
    with pytest.raises(LandsweepError, match="copy"):
        Tables().read(place)
