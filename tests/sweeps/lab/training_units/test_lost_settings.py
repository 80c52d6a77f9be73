"""Fields that two parts of a spec set: refused in zoos, searches and transfer sweeps, wherever one would win."""

from __future__ import annotations

from typing import Any

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.testing.kind_suite import planned
from landsweep.sweeps.lab.training_units.conflicts import refuse_lost_settings
from landsweep.sweeps.search.kind import SearchKind
from landsweep.sweeps.transfer.kind import TransferKind
from landsweep.sweeps.zoo.kind import ZooKind, ZooSpec
from landsweep.sweeps.zoo.recipes import ZooRecipes

RECIPE: dict[str, Any] = {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [8, 8]}, "steps": 4}
SCALES = {"net.init.scale": [1.0, 1.6]}


def zoo(**fields: Any) -> ZooSpec:
    return ZooKind().parse({"kind": "zoo", "name": "z", "recipe": RECIPE, **fields}, "test")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"recipes": {"base": {}, "small_init": {"net.init.scale": 0.7}}, "axes": SCALES},
            r"recipes\.small_init sets net\.init\.scale, which axes\.net\.init\.scale would overwrite",
        ),
        (
            {"recipes": {"a": {"net": {"net": "mlp", "init": {"scale": 0.7}}}}, "axes": {"recipe.net.init.scale": [1]}},
            r"recipes\.a sets net\.init\.scale, which axes\.net\.init\.scale would overwrite",
        ),
        (
            {"recipes": {"a": {"net.init.scale": 0.7}}, "axes": {"net.init": [{"method": "normal"}]}},
            r"recipes\.a sets net\.init\.scale, which axes\.net\.init would overwrite",
        ),
        (
            {"recipes": {"a": {"net.hidden": [4, 4]}}, "axes": {"net.hidden.0": [8, 16]}},
            r"recipes\.a sets net\.hidden\.0, which axes\.net\.hidden\.0 would overwrite",
        ),
        (
            {"recipes": {"a": {"net.hidden.1": 4}}, "axes": {"net.hidden": [[8, 8]]}},
            r"recipes\.a sets net\.hidden\.1, which axes\.net\.hidden would overwrite",
        ),
        (
            {
                "recipes": {"a": {"batch_size": 8}},
                "axes": {"batch_size": [16, 32], "steps": [2, 4]},
                "zip": [["batch_size", "steps"]],
            },
            r"recipes\.a sets batch_size, which axes\.batch_size would overwrite",
        ),
        (
            {
                "recipes": {"a": {"optimizer": {"method": "adam", "learning_rate": 0.01}}},
                "samples": {"count": 2, "draw": {"optimizer.learning_rate": {"log_uniform": [0.001, 0.1]}}},
            },
            r"recipes\.a sets optimizer\.learning_rate, which samples\.draw\.optimizer\.learning_rate would overwrite",
        ),
        (
            {
                "axes": {
                    "optimizer": [{"method": "sgd"}, {"method": "adam", "learning_rate": 0.01}],
                    "optimizer.learning_rate": [0.1, 0.2],
                }
            },
            r"axes\.optimizer sets optimizer\.learning_rate, which axes\.optimizer\.learning_rate would overwrite",
        ),
        (
            {"recipes": {"a": {"net.init.scale": 0.7, "net.init": {"method": "normal"}}}},
            r"recipes\.a sets net\.init\.scale, which its own net\.init would overwrite",
        ),
        ({"recipes": {"a": {"seed": 3}}}, r"recipes\.a sets the seed, which `seeds` would overwrite"),
    ],
)
def test_a_field_that_two_parts_of_a_zoo_set_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        zoo(**fields)


def test_a_text_that_only_begins_like_a_list_is_compared_as_text() -> None:
    conflict = [("recipes.a", "net.name", "[x"), ("axes.net.name.0", "net.name.0", 1)]
    with pytest.raises(SpecError, match=r"recipes\.a sets net\.name\.0, which axes\.net\.name\.0 would overwrite"):
        refuse_lost_settings(conflict)


def test_a_field_inside_what_a_recipe_gives_may_be_swept_where_the_recipe_leaves_it_open() -> None:
    spec = zoo(
        recipes={"sgd": {}, "adam": {"optimizer": {"method": "adam", "beta1": 0.8}}, "wide": {"net.hidden.1": 16}},
        axes={"optimizer.learning_rate": [0.01, 0.1], "net.hidden.0": [4, 8]},
    )
    units = list(planned(ZooKind(), spec))
    recipes = [ZooRecipes(spec).of(u.params) for u in units]
    assert len({r.model_dump_json() for r in recipes}) == len(units) == 12


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {
                "optimizer": {"choice": {"sgd": {"learning_rate": {"log_uniform": [0.01, 1]}}, "adam": {}}},
                "optimizer.learning_rate": {"log_uniform": [0.001, 1]},
            },
            r"space\.optimizer sets optimizer\.learning_rate, which space\.optimizer\.learning_rate would overwrite",
        ),
        (
            {"net.hidden": {"choice": [[4, 4], [8, 8]]}, "net.hidden.0": {"integer": [2, 6]}},
            r"space\.net\.hidden sets net\.hidden\.0, which space\.net\.hidden\.0 would overwrite",
        ),
    ],
)
def test_a_setting_that_another_one_of_a_search_overwrites_is_refused(space: dict[str, Any], message: str) -> None:
    fields = {"kind": "search", "name": "s", "goals": [{"minimise": "test_loss"}], "budget": {"units": 2}}
    with pytest.raises(SpecError, match=message):
        SearchKind().parse({**fields, "recipe": RECIPE, "space": space}, "test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed": {"x": 1}}, "space and fixed or seed_argument give the argument 'x' twice"),
        ({"seed_argument": "x"}, "space and fixed or seed_argument give the argument 'x' twice"),
        (
            {"space": {"x": {"uniform": [0, 1]}, "m": {"choice": {"a": {"x": 3}, "b": {}}}}},
            r"space\.m gives the argument x, which another setting gives too",
        ),
    ],
)
def test_an_argument_that_is_given_twice_is_refused(changes: dict[str, Any], message: str) -> None:
    fields = {"kind": "search", "name": "s", "goals": [{"minimise": "loss"}], "budget": {"units": 2}}
    function = {"function": "tests.support.searches:plain", "space": {"x": {"uniform": [0, 1]}}}
    with pytest.raises(SpecError, match=message):
        SearchKind().parse({**fields, **function, **changes}, "test")


@pytest.mark.parametrize(
    ("over", "arm", "message"),
    [
        ("width", {"optimizer.learning_rate": 0.1}, r"recipes\.a sets optimizer\.learning_rate, which rates\."),
        (
            "width",
            {"optimizer": {"method": "adam", "learning_rate": 0.1}},
            r"recipes\.a sets optimizer\.learning_rate, which rates\.",
        ),
        ("batch_size", {"recipe.batch_size": 8}, r"recipes\.a sets batch_size, which values\."),
        ("steps", {"steps": 8}, r"recipes\.a sets steps, which values\."),
        ("width", {"seed": 1}, r"recipes\.a sets seed, which seeds\."),
    ],
)
def test_an_arm_of_a_transfer_sweep_can_not_set_what_the_sweep_does(
    over: str, arm: dict[str, Any], message: str
) -> None:
    fields = {"kind": "transfer", "name": "t", "recipe": RECIPE, "rates": [0.1, 0.2, 0.4], "values": [8, 16]}
    with pytest.raises(SpecError, match=message.removesuffix(r"\.") + ".*would overwrite"):
        TransferKind().parse({**fields, "over": over, "recipes": {"a": arm}}, "test")
