"""Rules of how many devices train a model: what they give, what they refuse, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.commands.forecast import forecast
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.plan import planned
from landsweep.orchestrator.site import Site
from tests.support.gangs import run_gangs
from tests.support.studies import study_spec
from tests.support.zoos import KIND, zoo_spec

SIZES = {"net.hidden.0": {"values": [4, 64]}}  # 310 and 4,810 parameters
RECIPE: dict[str, Any] = {
    "data": {"source": "digits"},
    "net": {"net": "mlp", "hidden": [4]},
    "optimizer": {"method": "sgd"},
    "steps": 5,
}


def sized(**changes: Any) -> Any:
    return zoo_spec(**{"recipe": RECIPE, "axes": SIZES, "seeds": {"range": 1}, "backend": "loop", **changes})


@pytest.mark.parametrize(
    ("rule", "devices"),
    [
        (3, [3, 3]),
        ({"per_parameters": 1000}, [1, 5]),
        ({"per_parameters": 1000, "most": 4}, [1, 4]),
        ({"by_parameters": {300: 2, 4810: 8}}, [2, 8]),
        ({"by_parameters": {4811: 8}}, [1, 1]),
    ],
)
def test_devices_follow_from_parameters(rule: object, devices: list[int]) -> None:
    spec = sized(devices=rule)
    of = KIND.devices(spec, Path())
    assert of is not None and [of(unit) for unit in planned(KIND, spec)] == devices


@pytest.mark.parametrize("rule", [1, {}, {"most": 4}, {"number": 8, "most": 1}])
def test_where_each_model_takes_one_device_no_unit_is_asked(rule: object) -> None:
    assert KIND.devices(sized(devices=rule), Path()) is None


def test_keys_do_not_depend_on_devices() -> None:
    keys = [[u.key for u in planned(KIND, sized(**more))] for more in ({}, {"devices": 2}, {"backend": "ddp"})]
    assert keys[0] == keys[1] == keys[2]
    assert "devices" not in sized().model_dump(mode="json"), "specs without the field are stored as before"


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"number": 2, "per_parameters": 10}, "give one of"),
        (0, "greater than 0"),
        ({"by_parameters": {100: 0}}, "greater than 0"),
        (True, "devices"),
        ("two", "devices"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule: object, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        sized(devices=rule)


@pytest.mark.parametrize("site", [Site(workers=4), Site(executor="local", workers=4), Site(workers=1)])
def test_a_gang_larger_than_the_cluster_is_refused_when_it_is_planned(site: Site, tmp_path: Path) -> None:
    """In the plan, and in a run before anything is written."""
    spec = sized(devices={"per_parameters": 1000})
    with pytest.raises(SpecError, match=rf"1 of 2 units.*takes 5.*workers=5.*devices.most={site.workers}"):
        forecast(KIND, spec, site, str(tmp_path / "zoo"))
    with pytest.raises(SpecError, match=r"devices\.most"):
        run_gangs(tmp_path / "zoo", site, recipe=RECIPE, axes=SIZES, devices={"per_parameters": 1000})
    assert not (tmp_path / "zoo").exists()


def test_what_fits_is_planned_and_what_nobody_knows_is_not_refused(tmp_path: Path) -> None:
    spec = sized(devices={"per_parameters": 1000})
    assert forecast(KIND, spec, Site(workers=5), str(tmp_path / "zoo")).total == 2
    assert Site(address="auto").capacity is None and Site(gpus=1).capacity is None


def test_the_largest_size_of_a_study_is_refused_too(tmp_path: Path) -> None:
    from landsweep.sweeps.scaling.kind import ScalingKind

    with pytest.raises(SpecError, match=r"devices\.most=2"):
        forecast(ScalingKind(), study_spec(devices=3), Site(workers=2), str(tmp_path / "study"))


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        ({"batch_size": 2}, "batch_size: 2 samples can't be shared out among the 3 devices"),
        ({"net": {"net": "resnet", "width": 4, "depth": 8}}, "normalises over the batch"),
    ],
)
def test_what_devices_can_not_share_is_refused_by_the_check(recipe: dict[str, Any], complaint: str) -> None:
    spec = zoo_spec(recipe={**RECIPE, **recipe}, axes={}, seeds={"range": 1}, backend="loop", devices=3)
    with pytest.raises(SpecError, match=complaint):
        KIND.check(spec, Workbench())
