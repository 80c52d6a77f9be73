"""Sessions that give outcomes and progress of any content: rows or failed units, never the end of the driver.

`make fuzz` tries more of the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landsweep.orchestrator.kind import Arrays, SweepKind, Workbench
from landsweep.orchestrator.planner import GridPlanner
from landsweep.orchestrator.row import Cause, Column, Outcome, Progress, Status
from landsweep.orchestrator.run.executors.local import LocalExecutor
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.orchestrator.unit import Keys, Unit
from tests.attack.fuzzing import JSON, ODD, fuzz
from tests.support.paths import ROOT

UNITS = 6
ODD_UNITS = (1, 4)
DECLARED = (Column("y", "a number"), Column("n", "a whole number", type="int"), Column("t", "a text", type="text"))


class OddSpec(Spec):
    declared: bool = False


class OddKind(SweepKind[OddSpec]):
    """Two of its units give what `items` makes of them."""

    name, summary, spec = "odd", "units that give odd things", OddSpec
    items: Callable[[Unit], Sequence[Any]] = staticmethod(lambda unit: [])

    def example(self) -> OddSpec:
        return OddSpec(kind="odd", name="odd")

    def planner(self, spec: OddSpec) -> GridPlanner:
        return GridPlanner(Keys(self.name, self.version, spec.context()), {"i": list(range(UNITS))})

    def params(self, spec: OddSpec) -> tuple[Column, ...]:
        return self.planner(spec).params

    def columns(self, spec: OddSpec) -> tuple[Column, ...] | None:
        return DECLARED if spec.declared else None

    def open(self, spec: OddSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> OddKind:
        return self

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Any]:
        for unit in units:
            if unit.params["i"] in ODD_UNITS:
                yield from self.items(unit)
            else:
                yield Progress(unit.key, 0, {"y": 1.0})
                yield Outcome(unit.key, {"y": 1.0})


ANY = ODD | JSON | st.sampled_from(
    [b"x", object(), {1: 2}, {None: 1.0}, {"y": 1.0}, {"y": "x"}, {"y": "\ud800"}, {"y": 10**30}, {"n": 2**63},
     {"n": 1.5}, {"t": 3}, {"t": "\ud800"}, {"t": "x" * 200_000}, {"y": float("nan")}, {"status": 1.0}, {"key": "a"},
     {"i": 1.0}, {"y": [1]}, {"y": object()}, {"y": True}, {"": 1.0}, {"\ud800": 1.0}, {"a\x00b": 1.0},
     {str(i): 1.0 for i in range(20_000)}, float("inf"), 2**70, -(2**70), Status.ok, Cause.oom, "ok", "failed"]
)  # fmt: skip


def usual_or(usual: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual, usual, usual]) | ANY


@st.composite
def item(draw: st.DrawFn) -> Callable[[Unit], Any]:
    """An outcome, progress or something else; `None` as a key stands for that of the unit."""
    sort = draw(st.sampled_from(["outcome"] * 3 + ["progress"] * 3 + ["anything"]))
    key = draw(st.sampled_from(["own"] * 6 + ["", "other", 3, None, "\ud800", ["x"]]))
    if sort == "outcome":
        fields = [draw(usual_or({"y": 1.0})), draw(usual_or(Status.ok)), draw(usual_or(None)), draw(usual_or(None))]
        seconds = draw(usual_or(None))
        return lambda unit: Outcome(unit.key if key == "own" else key, *fields, seconds)  # type: ignore[arg-type]
    if sort == "progress":
        step, metrics = draw(usual_or(1)), draw(usual_or({"y": 1.0}))
        return lambda unit: Progress(unit.key if key == "own" else key, step, metrics)  # type: ignore[arg-type]
    thing = draw(ANY)
    return lambda unit: thing


KIND = OddKind()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for place in ("landsweep.orchestrator.run.worker", "landsweep.orchestrator.run.sweep"):
            patch.setattr(f"{place}.kind_named", lambda name: KIND)  # as the entry point would
        yield tmp_path_factory.mktemp("messages")


def assert_each_unit_has_a_row(folder: Path, items: Callable[[Unit], Sequence[Any]], declared: bool) -> list[Any]:
    """The rows of the odd units."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    KIND.items = items  # type: ignore[method-assign]
    spec = OddSpec(kind="odd", name="odd", declared=declared)
    site = Site(executor="local", shard_seconds=100, probe_seconds=0)
    watch = QuietWatch()
    end = run_sweep(KIND, spec, site, out, folder=ROOT, watch=watch, executor=LocalExecutor())
    assert end.phase == "done"
    rows = {row["i"]: row for row in Ledger.open(Store.at(out)).rows().to_pylist()}
    assert sorted(rows) == list(range(UNITS))
    others = [row for i, row in rows.items() if i not in ODD_UNITS]
    assert {(row["status"], float(row["y"])) for row in others} == {("ok", 1.0)}, "neighbours are as usual"
    assert {row["status"] for row in rows.values()} <= set(Status)
    assert {row["cause"] for row in rows.values()} <= {None, *Cause}
    sweep = Sweep.at(out)
    findings = sweep.verify()
    assert findings.sound and not findings.missing
    assert len(sweep.series().query("step == 0")) >= UNITS - len(ODD_UNITS), "their series, too"
    return [rows[i] for i in ODD_UNITS]


@given(st.lists(item(), max_size=4), st.booleans())
@fuzz
def test_any_outcomes_and_progress(folder: Path, makers: list[Callable[[Unit], Any]], declared: bool) -> None:
    assert_each_unit_has_a_row(folder, lambda unit: [make(unit) for make in makers], declared)


ONE: dict[str, Callable[[Unit], Any]] = {
    "nothing": lambda unit: None,
    "a dict": lambda unit: {"y": 1.0},
    "no metrics": lambda unit: Outcome(unit.key, None),  # type: ignore[arg-type]
    "names that are no text": lambda unit: Outcome(unit.key, {1: 1.0, "y": 1.0}),  # type: ignore[dict-item]
    "a status of another name": lambda unit: Outcome(unit.key, {}, "well"),  # type: ignore[arg-type]
    "a cause of another name": lambda unit: Outcome(unit.key, {}, Status.failed, "x", "bad luck"),  # type: ignore[arg-type]
    "an error that is no text": lambda unit: Outcome(unit.key, {}, Status.failed, 3),  # type: ignore[arg-type]
    "half a character": lambda unit: Outcome(unit.key, {"t": "\ud800"}),
    "half a character in an error": lambda unit: Outcome(unit.key, {}, Status.failed, "\ud800", Cause.error),
    "a text for a number": lambda unit: Outcome(unit.key, {"y": "x"}),
    "seconds that are no number": lambda unit: Outcome(unit.key, {}, seconds="x"),  # type: ignore[arg-type]
    "the key of another": lambda unit: Outcome("other", {"y": 1.0}),
    "a key that is no text": lambda unit: Outcome([unit.key], {"y": 1.0}),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("what", ONE)
def test_odd_outcomes_fail_alone_and_say_why(folder: Path, what: str, declared: bool) -> None:
    rows = assert_each_unit_has_a_row(folder, lambda unit: [ONE[what](unit)], declared)
    if what == "a text for a number" and not declared:
        return  # then it is a column of texts
    assert {(row["status"], bool(row["error"])) for row in rows} == {("failed", True)}, rows


PROGRESS: dict[str, Callable[[Unit], Any]] = {
    "a step of 70 bits": lambda unit: Progress(unit.key, 2**70, {"y": 1.0}),
    "no step and no metrics": lambda unit: Progress(unit.key, None, {}),  # type: ignore[arg-type]
    "a list as a step": lambda unit: Progress(unit.key, [1], {}),  # type: ignore[arg-type]
    "a flag as a step": lambda unit: Progress(unit.key, True, {"y": 1.0}),
    "a step that is no number": lambda unit: Progress(unit.key, "x", {"y": 1.0}),  # type: ignore[arg-type]
    "no metrics": lambda unit: Progress(unit.key, 1, None),  # type: ignore[arg-type]
    "a metric that is a text": lambda unit: Progress(unit.key, 1, {"y": "x"}),  # type: ignore[dict-item]
    "a name of half a character": lambda unit: Progress(unit.key, 1, {"\ud800": 1.0}),
    "a key that is no text": lambda unit: Progress({}, 1, {"y": 1.0}),  # type: ignore[arg-type]
    "the key of another": lambda unit: Progress("other", 1, {"y": 1.0}),
}


@pytest.mark.parametrize("what", PROGRESS)
def test_odd_progress_fails_alone_and_says_why(folder: Path, what: str) -> None:
    items = lambda unit: [PROGRESS[what](unit), Outcome(unit.key, {"y": 1.0})]  # noqa: E731
    rows = assert_each_unit_has_a_row(folder, items, declared=False)
    assert {(row["status"], bool(row["error"])) for row in rows} == {("failed", True)}, rows
