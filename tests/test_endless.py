"""No search and no sweep goes on for ever: what can't come to an end is refused, or ends and says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from landsweep.orchestrator.axes import AxisLike
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import Arrays, SweepKind, Workbench, kind_named
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.row import Column, Outcome
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import IsAxis, Spec, parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.orchestrator.unit import Keys, Unit

SEARCH = kind_named("search")
WAITS: dict[str, Any] = {"sampler": {"method": "tpe"}}  # a generation begins when the last has ended
BUDGETS: dict[str, dict[str, Any]] = {
    "none": {},
    "nan": {"flops": float("nan")},
    "text": {"flops": "many"},
    "less": {"flops": -1.0},
}


def poor(x: float, given: str) -> dict[str, Any]:
    return {"loss": x, **BUDGETS[given]}


def counted(x: float, flops: float) -> dict[str, Any]:
    return {"loss": x, "flops": flops}


def raises(x: float, above: float) -> dict[str, float]:
    if x > above:
        raise ValueError(f"{x} is too much")
    return {"loss": x}


def search(function: str, **changes: Any) -> Any:
    data = {
        "name": "s",
        "function": f"tests.test_endless:{function}",
        "space": {"x": {"uniform": [0, 1]}},
        "goals": [{"minimise": "loss"}],
        "sampler": {"method": "random"},
        "generation": 4,
    }
    return parse(SEARCH.spec, data | changes, "test")


def run(kind: SweepKind[Any], spec: Any, folder: Path) -> tuple[Any, list[str]]:
    watch = QuietWatch()
    said: list[str] = []
    watch.say = said.append  # type: ignore[method-assign]
    return run_sweep(kind, spec, Site(executor="local"), folder, folder=Path.cwd(), watch=watch), said


@pytest.mark.parametrize("given", BUDGETS)
@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_budget_that_no_row_counts_ends_at_the_first_row(tmp_path: Path, given: str, method: str) -> None:
    spec = search("poor", fixed={"given": given}, budget={"flops": 1e12}, sampler={"method": method})
    for _ in range(2):  # a resume too
        with pytest.raises(UsageError, match=r"budget\.flops .*never be used up: return"):
            run(SEARCH, spec, tmp_path)
    assert 1 <= Ledger.open(Store.at(tmp_path)).rows().num_rows <= 8, "its rows stay"


@pytest.mark.parametrize("columns", [{"loss": {}}, {"loss": {}, "flops": {"type": "text"}}])
def test_a_budget_that_no_column_counts_is_refused_before_any_work(columns: dict[str, Any]) -> None:
    spec = search("counted", columns=columns, budget={"flops": 1.0})
    with pytest.raises(SpecError, match=r"no number `flops` is declared"):
        SEARCH.validate(spec)


def test_a_budget_that_is_counted_is_spent(tmp_path: Path) -> None:
    end, said = run(SEARCH, search("counted", fixed={"flops": 1.0}, budget={"flops": 10}, **WAITS), tmp_path)
    assert (end.done, said) == (12, []), "the generation in which it is used up is finished"


def test_a_budget_to_which_nothing_is_added_ends_and_says_so(tmp_path: Path) -> None:
    spec = search("counted", fixed={"flops": 0}, budget={"flops": 10, "in_vain": 10}, **WAITS)
    end, said = run(SEARCH, spec, tmp_path)
    assert end.done == 12
    assert "the last 12 trials in a row added nothing to budget.flops" in said[0]


@pytest.mark.parametrize("budget", [{"seconds": 1e6}, {"units": 5000}, {"flops": 1e9}])
@pytest.mark.parametrize("method", ["random", "tpe", "nsga2"])
def test_trials_that_all_fail_end_and_say_so(tmp_path: Path, budget: dict[str, float], method: str) -> None:
    spec = search("raises", fixed={"above": -1.0}, budget=budget, sampler={"method": method})
    end, said = run(SEARCH, spec, tmp_path)
    ahead = 300 if method == "random" else 0  # trials that wait for no other are asked for ahead
    assert 100 <= end.counts["failed"] <= 100 + ahead and end.phase == "done"
    assert "trials in a row failed" in said[0] and "landsweep rerun" in said[0]
    again, said = run(SEARCH, spec, tmp_path)
    assert again.new == 0 and "in a row failed" in said[0], "a resume comes to the same end"
    more = search(
        "raises",
        fixed={"above": -1.0},
        budget={**budget, "in_vain": 150 if method != "random" else 450},
        sampler={"method": method},
    )
    assert run(SEARCH, more, tmp_path)[0].new > 0, "another limit goes on"


def test_failures_that_are_not_in_a_row_end_nothing(tmp_path: Path) -> None:
    spec = search("raises", fixed={"above": 0.5}, budget={"units": 60, "in_vain": 30})
    end, said = run(SEARCH, spec, tmp_path)
    assert end.done == 60 and end.counts["failed"] > 15 and said == []


class StuckSpec(Spec):
    does: str
    axes: Annotated[dict[str, AxisLike], IsAxis()] = Field(default={})


class Stuck(Planner):
    """A planner that breaks its contract."""

    adaptive = True

    def __init__(self, spec: StuckSpec) -> None:
        self._does = spec.does
        self._keys = Keys("stuck", 1, {})

    def ask(self, limit: int) -> list[Unit]:
        first = [self._keys.unit({"x": i}) for i in range(3)]
        if self._does == "repeats":
            return first[:limit]
        if self._does == "waits" or (limit == 0 and self._does != "gives too many"):
            return []
        self._does = "waits"
        return first

    @property
    def exhausted(self) -> bool:
        return False


class StuckKind(SweepKind[StuckSpec]):
    name, summary, spec = "stuck", "for this test", StuckSpec

    def example(self) -> StuckSpec:
        return StuckSpec(kind="stuck", name="stuck", does="waits")

    def planner(self, spec: StuckSpec) -> Stuck:
        return Stuck(spec)

    def params(self, spec: StuckSpec) -> tuple[Column, ...]:
        return (Column("x", "number", type="int"),)

    def columns(self, spec: StuckSpec) -> tuple[Column, ...]:
        return ()

    def open(self, spec: StuckSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> StuckKind:
        return self

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        return (Outcome(u.key) for u in units)


@pytest.mark.parametrize(
    ("does", "complaint", "rows"),
    [
        ("waits", "proposes nothing, says that it is not exhausted", 0),
        ("waits later", "proposes nothing, says that it is not exhausted", 3),
        ("repeats", "no key may be proposed twice", 0),  # the first has a row by then, or is still under way
        ("gives too many", "gave 3 units when it was asked for none", 0),
    ],
)
def test_a_planner_that_neither_proposes_nor_ends_is_an_error(
    tmp_path: Path, does: str, complaint: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "landsweep.orchestrator.run.worker.kind_named", lambda name: StuckKind()
    )  # as an entry point would
    with pytest.raises(UsageError, match=complaint):
        run(StuckKind(), parse(StuckSpec, {"kind": "stuck", "name": "n", "does": does}, "t"), tmp_path)
    assert rows <= Ledger.open(Store.at(tmp_path)).rows().num_rows <= 3
