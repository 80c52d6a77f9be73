"""The contract of kinds: where a spec whose fields do not fit is refused, and what only some kinds can do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Auditable, Costed, Ranked, ShowsTensors, Workbench, kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep, load_spec
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch, run_example
from landsweep.sweeps.function.kind import FunctionKind, FunctionSpec


class FewPoints(FunctionKind):
    """Functions over at most four points."""

    most = 4

    def validate(self, spec: FunctionSpec) -> None:
        if (n := self.planner(spec).total) > self.most:
            raise SpecError(f"axes: {n} points are planned; at most {self.most} are allowed:\n  - take fewer values")


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> FewPoints:
    few = FewPoints()
    for place in ("landsweep.orchestrator.run.worker", "landsweep.orchestrator.run.sweep"):
        monkeypatch.setattr(f"{place}.kind_named", lambda name: few)  # as an entry point would
    return few


def fields(points: int) -> dict[str, Any]:
    call = {"function": "tests.orchestrator.commands.test_plan:spread", "axes": {"a": {"range": points}}}
    return {"kind": "function", "name": "few", **call}


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(SpecError) as refused:
        read()
    return str(refused.value)


COMPLAINT = "  - axes: 5 points are planned; at most 4 are allowed:\n    - take fewer values"


def test_a_spec_file_is_validated_after_its_changes(kind: FewPoints, tmp_path: Path) -> None:
    path = tmp_path / "few.yaml"
    path.write_text(
        "kind: function\nfunction: tests.orchestrator.commands.test_plan:spread\naxes: {a: {range: 3}}\n",
        encoding="utf-8",
    )
    assert load_spec(path)[0] is kind
    assert refusal(lambda: load_spec(path, ["axes.a.range=5"])) == f"{path}:\n{COMPLAINT}"
    unknown = refusal(lambda: load_spec(path, ["axes.a.range=5", "wrong=1"]))
    assert "wrong: unknown field" in unknown and "points" not in unknown, "fields come first"


def test_the_spec_of_a_results_folder_is_validated(kind: FewPoints, tmp_path: Path) -> None:
    run_example(kind, kind.parse(fields(4), "test"), tmp_path)
    assert len(Sweep.at(tmp_path).rows()) == 4
    kind.most = 3  # as a later version might
    assert "sweep.json:\n  - axes: 4 points are planned" in refusal(lambda: Sweep.at(tmp_path))


def test_a_run_validates_what_was_never_in_a_file_and_writes_nothing(kind: FewPoints, tmp_path: Path) -> None:
    spec, out = FunctionSpec.model_validate(fields(5)), tmp_path / "out"
    site = Site(executor="local")
    assert "axes: 5 points are planned" in refusal(
        lambda: run_sweep(kind, spec, site, out, folder=tmp_path, watch=QuietWatch())
    )
    assert not out.exists()


def test_a_spec_that_fits_comes_back_as_parsed(kind: FewPoints) -> None:
    assert kind.parse(fields(4), "test") == FunctionSpec.model_validate(fields(4))


def test_what_a_kind_can_do_beyond_the_contract_is_said_by_its_classes() -> None:
    names = ("function", "landscape", "zoo", "search", "transfer", "scaling")
    able = {
        ability: {name for name in names if isinstance(kind_named(name), ability)}
        for ability in (Auditable, Costed, Ranked, ShowsTensors)
    }
    trained = {"zoo", "search", "transfer", "scaling"}
    assert able == {
        Auditable: {"zoo"},
        Costed: {"scaling"},
        Ranked: {"function", *trained},
        ShowsTensors: {"landscape", *trained},
    }


def test_results_that_can_not_be_computed_again_are_not_audited(kind: FewPoints, tmp_path: Path) -> None:
    run_example(kind, kind.parse(fields(2), "test"), tmp_path)
    message = refusal(lambda: Sweep.at(tmp_path).audit(3))
    assert "--reevaluate: units of the kind function store nothing to recompute results from" in message


def test_a_search_of_a_function_and_a_study_of_features_have_no_tensors() -> None:
    call = {"name": "f", "function": "math:sin", "space": {"x": {"uniform": [0, 1]}}}
    search = {**call, "goals": [{"minimise": "y"}], "budget": {"units": 2}}
    study = {"name": "f", "features": {}, "widths": [8, 16, 32], "ratios": [1, 2, 4]}
    for name, data in (("search", search), ("scaling", study)):
        trained = kind_named(name)
        spec = trained.parse(data, "test")
        assert isinstance(trained, ShowsTensors)
        assert "--tensors: f has no recipe" in refusal(lambda k=trained, s=spec: k.tensors(s, Workbench()))
