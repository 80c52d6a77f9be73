"""The run loop: refusals, preparations, and what a user's function may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from landsweep.orchestrator.axes import AxisLike
from landsweep.orchestrator.errors import NotDeterministic, PreparationFailed
from landsweep.orchestrator.kind import Arrays, Preparation, SweepKind, Workbench, kind_named
from landsweep.orchestrator.planner import GridPlanner
from landsweep.orchestrator.row import Column, Outcome
from landsweep.orchestrator.run.executors.local import LocalExecutor
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import IsAxis, Spec, parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch, metrics_of
from landsweep.orchestrator.unit import Keys, Unit

CALLS = {"random": 0}


def unstable(i: int) -> dict[str, float]:
    CALLS["random"] += 1
    return {"y": float(CALLS["random"])}


def function_spec(**changes: Any) -> Spec:
    data = {
        "kind": "function",
        "name": "n",
        "function": "tests.orchestrator.run.test_run:unstable",
        "axes": {"i": [1, 2, 3]},
    }
    return parse(kind_named("function").spec, data | changes, "test")


def run(kind: SweepKind[Any], spec: Spec, folder: Path) -> QuietWatch:
    watch = QuietWatch()
    site = Site(executor="local")
    run_sweep(kind, spec, site, folder, folder=Path.cwd(), watch=watch, executor=LocalExecutor())
    return watch


def test_results_that_differ_between_two_evaluations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotDeterministic, match=r"'i': 1.*\n *y: .*\nPossible cause: "):
        run(kind_named("function"), function_spec(), tmp_path)
    assert metrics_of(tmp_path) == {}, "no row of it is kept"


def test_a_function_that_says_so_may_be_random(tmp_path: Path) -> None:
    run(kind_named("function"), function_spec(deterministic=False), tmp_path)
    assert len(metrics_of(tmp_path)) == 3


class StepsSpec(Spec):
    fail: str = ""
    axes: Annotated[dict[str, AxisLike], IsAxis()]


class StepsKind(SweepKind[StepsSpec]):
    """Two preparations, the second of which needs the first; a unit multiplies what they made."""

    name, summary, spec = "steps", "for this test", StepsSpec
    made: list[str]

    def __init__(self) -> None:
        self.made = []

    def example(self) -> StepsSpec:
        return StepsSpec(kind="steps", name="steps", axes={"x": [1, 2]})

    def planner(self, spec: StepsSpec) -> GridPlanner:
        return GridPlanner(Keys(self.name, 1, spec.context()), {n: a.points() for n, a in spec.axes.items()})

    def params(self, spec: StepsSpec) -> tuple[Column, ...]:
        return self.planner(spec).params

    def columns(self, spec: StepsSpec) -> tuple[Column, ...]:
        return (Column("y", "product"),)

    def preparations(self, spec: StepsSpec) -> tuple[Preparation, ...]:
        return (Preparation("base", 1), Preparation("double", 1, needs=("base",)))

    def prepare(self, spec: StepsSpec, name: str, have: Mapping[str, Arrays], bench: Workbench) -> Arrays:
        self.made.append(name)
        if name == spec.fail:
            raise RuntimeError("on purpose")
        return {"a": np.arange(3.0)} if name == "base" else {"a": 2 * have["base"]["a"]}

    def open(self, spec: StepsSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> StepsKind:
        self.arrays = prepared
        return self

    def evaluate(self, units: Sequence[Unit]) -> Any:
        for u in units:
            yield Outcome(u.key, {"y": float(u.params["x"] or 0) * float(self.arrays["double"]["a"].sum())})


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> StepsKind:
    kind = StepsKind()
    monkeypatch.setattr("landsweep.orchestrator.run.worker.kind_named", lambda name: kind)  # as an entry point would
    return kind


def test_preparations_run_in_order_once_and_are_kept(steps: StepsKind, tmp_path: Path) -> None:
    run(steps, steps.example(), tmp_path)
    assert steps.made == ["base", "double"]
    assert sorted(r["y"] for r in metrics_of(tmp_path).values()) == [6.0, 12.0]
    run(steps, steps.example().model_copy(update={"axes": {"x": parse_axis([1, 2, 3])}}), tmp_path)
    assert steps.made == ["base", "double"], "read from prepared/, not computed again"
    assert len(metrics_of(tmp_path)) == 3


def parse_axis(values: list[int]) -> Any:
    return StepsSpec(kind="steps", name="n", axes={"x": values}).axes["x"]


def test_a_damaged_preparation_is_made_again(steps: StepsKind, tmp_path: Path) -> None:
    run(steps, steps.example(), tmp_path)
    file = next((tmp_path / "prepared").glob("base-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    assert [d.path for d in Ledger.open(Store.at(tmp_path)).verify().damaged] == [f"prepared/{file.name}"]
    grown = steps.example().model_copy(update={"axes": {"x": parse_axis([1, 2, 3])}})
    run(steps, grown, tmp_path)
    assert steps.made == ["base", "double", "base"]
    assert Ledger.open(Store.at(tmp_path)).verify().sound


def test_a_preparation_that_raises_ends_the_run_with_its_traceback(steps: StepsKind, tmp_path: Path) -> None:
    spec = StepsSpec(kind="steps", name="steps", fail="double", axes={"x": [1, 2]})
    with pytest.raises(PreparationFailed, match=r"double failed:[\s\S]*on purpose"):
        run(steps, spec, tmp_path)
    assert metrics_of(tmp_path) == {}
