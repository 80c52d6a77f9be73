"""An axis that is added to a zoo with a `default`: its models stay, and are shown with what they were trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example, same
from tests.support.zoos import KIND, SMALL_RECIPE, zoo_spec

SGD = {"method": "sgd", "learning_rate": 0.1}
MOMENTUM = {"values": [0, 0.9], "default": 0.9}


def spec_of(axes: dict[str, Any], **changes: Any) -> Any:
    return zoo_spec(recipe={**SMALL_RECIPE, "steps": 20}, axes=axes, **{"seeds": [0, 1], **changes})


@pytest.mark.rotating
def test_models_of_before_have_the_default(tmp_path: Path) -> None:
    rates = {"optimizer.learning_rate": [0.01, 0.1]}
    run_example(KIND, spec_of(rates), tmp_path / "zoo")
    before = metrics_of(tmp_path / "zoo")
    run_example(KIND, spec_of(rates | {"optimizer.momentum": MOMENTUM}), tmp_path / "zoo")
    after = metrics_of(tmp_path / "zoo")
    assert len(before) == 4 and len(after) == 8
    for key, row in before.items():
        assert same(row, {k: v for k, v in after[key].items() if k != "optimizer.momentum"})

    run_example(KIND, spec_of(rates | {"optimizer.momentum": [0, 0.9]}), tmp_path / "whole")  # the oracle
    params = ["optimizer.learning_rate", "optimizer.momentum", "seed", "split"]
    shown, whole = (Sweep.at(tmp_path / n).rows().set_index(params)["train_loss"] for n in ("zoo", "whole"))
    assert (shown.sort_index() - whole.sort_index()).abs().max() < 1e-5  # packs of other sizes differ in rounding
    zoo = Zoo(tmp_path / "zoo")
    old = zoo.rows[zoo.rows["key"].isin(before)]
    assert set(old["optimizer.momentum"]) == {0.9} and zoo.rows["optimizer.momentum"].notna().all()
    member = zoo[old["key"].iloc[0]]
    assert member.recipe().model_dump()["optimizer"]["momentum"] == 0.9
    assert Sweep.at(tmp_path / "zoo").verify().sound


@pytest.mark.parametrize(
    ("axes", "changes", "says"),
    [
        ({"optimizer.momentum": {"values": [0, 0.9], "default": 0}}, {}, "optimizer.momentum: default: 0 is not what"),
        (  # adam's own learning rate is not that of the base: with it, models of before had another one
            {"optimizer.learning_rate": {"values": [0.1, 0.2], "default": 0.1}},
            {
                "recipes": {"sgd": {}, "adam": {"optimizer.method": "adam"}},
                "recipe": {**SMALL_RECIPE, "optimizer": SGD},
            },
            "of the model with .*'adam'",
        ),
        ({"net.hidden.0": {"values": [4, 16], "default": 16}}, {}, "default: 16 is not what"),
        ({"optimizer.momentum": MOMENTUM}, {"branches": {"early": {"at": 15, "steps": 5}}}, "a zoo with branches"),
    ],
)
def test_a_default_that_the_base_recipe_does_not_have_is_refused(
    axes: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        zoo_spec(**{"recipe": SMALL_RECIPE, "axes": axes, **changes})
