"""Models that two processes train together: equal losses, and members that die. Real processes, real Gloo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.site import Site
from tests.support.gangs import has_state, kill, losses, members, recipe, rows, run_gangs, story, when
from tests.support.zoos import KIND, zoo_spec

LOCAL = Site(executor="local", workers=2, state_seconds=60)


@pytest.mark.parametrize("net", ["mlp", pytest.param("gpt", marks=pytest.mark.slow)])
def test_two_members_give_the_losses_of_one(net: str, tmp_path: Path) -> None:
    """50 steps in float32, a batch that does not divide by two."""
    run_gangs(tmp_path / "one", LOCAL, devices=1, backend="loop", recipe=recipe(net))
    run_gangs(tmp_path / "two", LOCAL, recipe=recipe(net))
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert list(one["key"]) == list(two["key"]), "how many devices train a model is no part of its identity"
    assert list(two["devices"]) == [2] and list(two["backend"]) == ["ddp"] and list(one["devices"]) == [1]
    alone, together = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(alone.index) == list(together.index) and len(alone) >= 15
    assert float((alone - together).abs().max()) < 1e-6
    assert not members(), "no process is left"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_member_ends_the_gang_and_the_unit_goes_on_from_its_state(rank: int, tmp_path: Path) -> None:
    site = LOCAL.model_copy(update={"state_seconds": 0.2})
    long = recipe(steps=1500, evaluate={"every_steps": 500})
    folder = tmp_path / "killed"
    killer = when(lambda: has_state(folder), lambda: kill(members()[rank]))
    run_gangs(folder, site, recipe=long)
    killer.join(1)
    assert not killer.is_alive(), "nobody was killed"
    run_gangs(tmp_path / "whole", LOCAL, recipe=long)
    row, whole = rows(folder).iloc[0], rows(tmp_path / "whole").iloc[0]
    assert (row["status"], row["attempt"], row["devices"]) == ("ok", 2, 2)
    assert 0 < row["resumed_at"] < 1500, "it began where its last state was"
    assert row["test_loss"] == whole["test_loss"], "to the same bits"
    assert not has_state(folder) and not members()


def failing(last: int) -> nn.Module:
    """A network of the user's own for digits that raises after so many calls."""
    return Failing(last)


class Failing(nn.Module):
    def __init__(self, last: int) -> None:
        super().__init__()
        self.line, self.calls, self.last = nn.Linear(64, 10), 0, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        if self.calls > self.last:
            raise ValueError("raised on purpose")
        return self.line(x.flatten(1))


@pytest.mark.slow
def test_an_error_of_a_unit_is_its_own_and_the_next_gang_computes_the_others(tmp_path: Path) -> None:
    own = {"net": "own", "function": f"{__name__}:failing", "args": {"last": 10**6}}
    axes = {"net.args.last": {"values": [10**6, 20]}}
    run_gangs(tmp_path, LOCAL, recipe=recipe(net=own), axes=axes, seeds=2)
    table = rows(tmp_path)
    ends = sorted(zip(table["net.args.last"], table["status"], table["cause"].fillna(""), strict=True))
    assert ends == [(20, "failed", "error"), (20, "failed", "error"), (10**6, "ok", ""), (10**6, "ok", "")]
    assert table["error"].dropna().str.contains("raised on purpose").all()
    assert not members()


@pytest.mark.slow
@pytest.mark.parametrize("net", ["mlp", "gpt"])
def test_two_members_that_hold_half_of_the_weights_give_the_losses_of_one(net: str, tmp_path: Path) -> None:
    """FSDP2, with clipping, which needs the norm of the whole gradient; the stored weights are whole."""
    # Of Adam, weights whose gradient is 0 but for rounding would be steps of random signs: those of keys' biases.
    settings = {
        "clip": 0.5,
        "optimizer": {"method": "sgd", "momentum": 0.9, "learning_rate": 0.05},
        "averaging": {"average": "exponential", "decay": 0.9},
    }
    run_gangs(tmp_path / "one", LOCAL, devices=1, recipe=recipe(net, **settings))
    run_gangs(tmp_path / "two", LOCAL, backend="fsdp", recipe=recipe(net, **settings))
    assert list(rows(tmp_path / "two")["backend"]) == ["fsdp"]
    assert float((losses(tmp_path / "one") - losses(tmp_path / "two")).abs().max()) < 1e-6
    one, two = (Zoo(tmp_path / name).vectors() for name in ("one", "two"))
    assert one.shape == two.shape and torch.allclose(one, two, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_state_is_read_by_a_gang_of_another_size(first: int, then: int, tmp_path: Path) -> None:
    """A run that is stopped on one number of devices goes on on another, from half of the weights to all, and back."""
    long = recipe(steps=1500, evaluate={"every_steps": 500}, optimizer={"method": "adamw", "learning_rate": 1e-4})
    seconds = 0.2 if first > 1 else 0.0  # a single device needs less than half a second for the whole training
    folder, site = tmp_path / "moved", LOCAL.model_copy(update={"state_seconds": seconds})
    run_gangs(folder, site, until=lambda: has_state(folder), backend="fsdp", recipe=long, devices=first)
    assert has_state(folder), story(folder)
    parts = list((folder / "states").glob("*.part-*"))
    assert len(parts) >= 2 if first > 1 else not parts, f"each member has written its own\n{story(folder)}"
    site = LOCAL.model_copy(update={"workers": max(first, then)})
    run_gangs(folder, site, backend="fsdp", recipe=long, devices=then)
    assert not any((folder / "states").iterdir()), story(folder)
    run_gangs(tmp_path / "whole", LOCAL, devices=1, recipe=long)
    row, whole = rows(folder).iloc[0], rows(tmp_path / "whole").iloc[0]
    assert (row["status"], row["devices"]) == ("ok", then), story(folder)
    assert 0 < row["resumed_at"] < 1500, story(folder)
    assert abs(row["test_loss"] - whole["test_loss"]) < 1e-4, story(folder)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"optimizer": {"method": "muon"}}, "a step of muon needs whole tensors"),
        ({"evaluate": {"probes": [{"probe": "sharpness"}]}}, "probes look at whole models"),
        ({"precision": "fp16"}, "in fp16 a step is left out when a gradient overflows"),
        ({"compile": True}, "it does not know compile: True"),
        ({"averaging": {"average": "latest", "last": 3}}, "the last few weights are averaged"),
    ],
)
def test_what_needs_whole_models_is_refused_for_those_in_parts(changes: dict[str, object], complaint: str) -> None:
    spec = zoo_spec(recipe=recipe(**changes), axes={}, seeds={"range": 1}, backend="fsdp", devices=2)
    with pytest.raises(SpecError, match=complaint):
        KIND.check(spec, Workbench())
