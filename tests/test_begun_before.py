"""Sweeps that an earlier version began go on with this one. `golden/begun` holds one of each kind, half done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.commands.publish import write_report
from landsweep.orchestrator.errors import SweepMismatch, Untrusted
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing import mortality
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example
from landsweep.orchestrator.trust import reading
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.function import examples
from landsweep.sweeps.function.kind import FunctionSpec
from tests.support.paths import GOLDEN

BEGUN = sorted((GOLDEN / "begun").iterdir())
COUNTED_OTHERWISE = "search"  # its rows hold FLOPs by a count that was wrong, so they are not mixed with new ones


@pytest.mark.parametrize("begun", [p for p in BEGUN if p.name != COUNTED_OTHERWISE], ids=lambda p: p.name)
def test_a_sweep_of_an_earlier_version_goes_on(begun: Path, tmp_path: Path) -> None:
    """It keeps its rows, computes the others, and ends as a sweep that this version ran alone."""
    shutil.copytree(begun, tmp_path / "sweep")
    kind = kind_named(begun.name)
    spec = kind.example()
    before = metrics_of(tmp_path / "sweep")
    end = run_example(kind, spec, tmp_path / "sweep")
    assert before and end.new == end.done - len(before) > 0
    after = metrics_of(tmp_path / "sweep")
    run_example(kind, spec, tmp_path / "alone")
    alone = metrics_of(tmp_path / "alone")
    if not kind.planner(spec).adaptive:  # what an adaptive planner proposes depends on the last bits of its rows
        assert after.keys() == alone.keys()
    assert len(after) == len(alone)
    for key, row in before.items():
        assert canonical({name: after[key][name] for name in row}) == canonical(row), "a row of before is as it was"
    assert Ledger.open(Store.at(tmp_path / "sweep")).verify(list(after)).sound


def test_a_function_that_has_moved_is_found_by_its_first_name(tmp_path: Path) -> None:
    """The first name goes on working, also where nothing of a stranger's may be imported, and identifies the rows."""
    shutil.copytree(GOLDEN / "begun/function", tmp_path / "sweep")
    spec, now = Sweep.at(tmp_path / "sweep").spec, kind_named("function").example()
    assert isinstance(spec, FunctionSpec) and isinstance(now, FunctionSpec)
    assert spec.function == "sweeps.lab.functions:descend" != now.function
    assert spec.fingerprint() == now.fingerprint()
    with reading("results of a stranger"):
        for name in ("descend", "no_op"):
            assert import_callable(f"sweeps.lab.functions:{name}") is getattr(examples, name)
        with pytest.raises(Untrusted, match=r"sweeps\.lab\.functions:np"):
            import_callable("sweeps.lab.functions:np")
    assert import_callable("orchestrator.testing.mortality:unit") is mortality.unit
    run_example(kind_named("function"), spec, tmp_path / "sweep")
    run_example(kind_named("function"), now, tmp_path / "alone")
    assert metrics_of(tmp_path / "sweep") == metrics_of(tmp_path / "alone")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("search", {"function": "NAME", "space": {"lr": {"uniform": [0.1, 1.0]}}, "seed_argument": "start"}),
        ("function", {"function": "mine:f", "setup": "NAME", "axes": {"x": [1]}}),
        ("function", {"function": "mine:f", "fixed": {"inner": ["NAME"]}, "axes": {"x": [1]}}),
    ],
)
def test_wherever_a_function_is_named_its_first_name_identifies_the_rows(kind: str, fields: dict[str, object]) -> None:
    def units(name: str) -> list[str]:
        text = json.dumps({"name": "n", **fields, **more}).replace("NAME", name)
        spec = kind_named(kind).parse(json.loads(text), "spec")
        assert name.partition(":")[0] in json.dumps(spec.model_dump(mode="json"))  # as it was written
        return [spec.fingerprint(), *(unit.key for unit in kind_named(kind).planner(spec).ask(2))]

    more = {"goals": [{"minimise": "loss"}], "budget": {"units": 2}} if kind == "search" else {}
    assert units("sweeps.lab.functions:descend") == units("landsweep.sweeps.function.examples:descend")
    assert units("mine:descend") != units("sweeps.lab.functions:descend")


def test_a_search_whose_flops_were_counted_otherwise_is_refused_and_can_still_be_read(tmp_path: Path) -> None:
    shutil.copytree(BEGUN[0].parent / COUNTED_OTHERWISE, tmp_path / "sweep")
    kind = kind_named(COUNTED_OTHERWISE)
    before = metrics_of(tmp_path / "sweep")
    with pytest.raises(SweepMismatch, match="flops: was not there"):
        run_example(kind, kind.example(), tmp_path / "sweep")
    sweep = Sweep.at(tmp_path / "sweep")
    assert set(sweep.rows()["key"]) == set(before)
    page, _ = write_report(sweep, str(tmp_path / "sweep"))
    assert Path(page).is_file()
