"""Children of stored models: where they begin, what stays pruned or frozen, and what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from landsweep import Zoo
from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.lab.models import OwnNet
from landsweep.sweeps.lab.trained_models.child import _stored, child, prune
from landsweep.sweeps.lab.trained_models.pinned import weights_digest
from tests.support.small_networks import network
from tests.support.zoos import KIND, SMALL_RECIPE, train_zoo, zoo_spec

RULE = "seed == {parent}"


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("children")
    train_zoo(zoo_spec(recipe=SMALL_RECIPE, axes={}, seeds={"range": 2}, backend="bmm"), folder / "parents")
    return folder


def children(folder: Path, name: str, args: dict[str, Any] | None = None, **recipe: Any) -> Zoo:
    """A zoo with one child of seed 1, trained beside its parents."""
    named = {"sweep": str(folder / "parents"), "where": RULE, "parent": 1, **(args or {})}
    net = {"net": "own", "function": "landsweep.sweeps.lab.trained_models.child:child", "args": named}
    spec = KIND.parse(
        {
            "kind": "zoo",
            "name": name,
            "recipe": {**SMALL_RECIPE, "net": net, **recipe},
            "seeds": {"range": 1},
            "backend": "loop",
        },
        "spec",
    )
    train_zoo(spec, folder / name)
    return Zoo(folder / name, trust=True)


def test_without_a_step_a_child_is_its_parent(parents: Path) -> None:
    (parent,) = (m for m in Zoo(parents / "parents") if m.row["seed"] == 1)
    zoo = children(parents, "untrained", steps=0, checkpoints={})
    assert zoo.rows["test_loss"][0] == pytest.approx(parent.row["test_loss"], rel=1e-6)
    assert weights_digest(zoo[0].state()) == weights_digest(parent.state())
    earlier = child(str(parents / "parents"), RULE, folder=parents, parent=1, label="step-000020")
    assert weights_digest(earlier.state_dict()) == weights_digest(parent.state("step-000020"))


def test_what_is_pruned_or_frozen_stays_so_while_the_rest_trains(parents: Path) -> None:
    args = {"density": 0.25, "frozen": ["hidden.0.linear.bias"]}
    before = child(str(parents / "parents"), RULE, folder=parents, parent=1, **args)  # type: ignore[arg-type]
    trained = children(parents, "pruned", args)[0].module()
    masks = {n: b for n, b in before.named_buffers() if n.endswith("mask")}
    assert len(masks) == 2 and sum(int(m.sum()) for m in masks.values()) == round(0.25 * (64 * 8 + 8 * 10))
    for name, mask in masks.items():
        weight = trained.get_submodule(name.split(".parametrizations")[0]).weight
        assert torch.equal(weight != 0, mask.bool())  # type: ignore[arg-type]
        assert not torch.equal(weight, before.get_submodule(name.split(".parametrizations")[0]).weight)  # type: ignore[arg-type]
    assert torch.equal(trained.get_parameter("hidden.0.linear.bias"), before.get_parameter("hidden.0.linear.bias"))
    assert not torch.equal(trained.get_parameter("out.bias"), before.get_parameter("out.bias"))


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_largest_weights_are_kept(name: str, scope: Any) -> None:
    module, _ = network(name)
    weights = {n: p.detach().clone() for n, p in module.named_parameters() if p.ndim >= 2}
    prune(module, 0.3, scope)
    kept = {n: module.get_submodule(n.rpartition(".")[0]).weight.detach() for n in weights}  # type: ignore[union-attr]
    groups = [list(weights)] if scope == "global" else [[n] for n in weights]
    for group in groups:
        before, after = (torch.cat([t[n].flatten() for n in group]) for t in (weights, kept))
        assert int((after != 0).sum()) == round(0.3 * len(before))
        assert before[after == 0].abs().max() <= before[after != 0].abs().min()
        assert torch.equal(after[after != 0], before[after != 0])


def test_of_equal_weights_the_first_are_kept() -> None:
    layer = torch.nn.Linear(4, 2)
    torch.nn.init.constant_(layer.weight, 0.5)
    prune(layer, 0.375)
    assert layer.weight.flatten().tolist() == [0.5, 0.5, 0.5, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"where": "seed == {other}"}, "{other}, which has no value; give other beside it"),
        ({"where": "seed == 1"}, "parent is neither an argument nor in where"),
        ({"where": "seed <= {parent}"}, "2 models are chosen"),
        ({"parent": 7}, "none of them with weights"),
        ({"label": "best"}, "have no checkpoint 'best'"),
        ({"weights": "0" * 32}, "has the checksum"),
        ({"density": 0}, "not above 0 and at most 1"),
        ({"frozen": ["conv.*"]}, "fits no parameter of the model; it has hidden.0.linear.weight"),
        ({"sweep": "nowhere"}, "there is no folder"),
    ],
    ids=str,
)
def test_what_fits_nothing_is_refused(parents: Path, args: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        child(**{"sweep": "parents", "where": RULE, "folder": parents, "parent": 1, **args})


def test_only_a_function_that_must_be_given_a_folder_gets_the_spec_s(tmp_path: Path) -> None:
    (tmp_path / "folders.py").write_text(
        "import torch\n"
        "def needs(*, folder):\n    m = torch.nn.Linear(2, 2)\n    m.told = folder\n    return m\n"
        "def may(folder='mine'):\n    return needs(folder=folder)\n"
    )
    for function, args, told in (
        ("needs", {}, tmp_path),
        ("may", {}, "mine"),
        ("needs", {"folder": "given"}, "given"),
    ):
        net = OwnNet.model_validate({"net": "own", "function": f"folders:{function}", "args": args})
        assert net.build((2,), 2, 0, tmp_path).told == told


def test_a_sweep_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    """Within one worker, which keeps the network of a sweep that has not."""
    for steps in (1, 2):
        recipe = {**SMALL_RECIPE, "steps": steps, "checkpoints": {}}
        spec = zoo_spec(recipe=recipe, axes={}, seeds={"range": 1}, backend="bmm")
        shutil.rmtree(tmp_path / "parents", ignore_errors=True)
        train_zoo(spec, tmp_path / "parents")
        known = _stored.cache_info().misses
        for _ in range(2):
            module = child(str(tmp_path / "parents"), "seed == 0", folder=tmp_path)
            assert weights_digest(module.state_dict()) == weights_digest(Zoo(tmp_path / "parents")[0].state())
        assert _stored.cache_info().misses == known + 1
