"""Errors that code of the user raises in some members of a gang only: each is its unit's own. Real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.distributed as dist
from torch import nn

from landsweep.orchestrator.site import Site
from tests.support.gangs import members, recipe, rows, run_gangs, story

LOCAL = Site(executor="local", workers=2, state_seconds=60)
FAILED, OK = ("failed", "error", 1), ("ok", "", 1)
STEP = "can't take a step on a batch of 33 samples: on purpose in"
ENDS = {
    "first 1": ("member 1 of 2: Traceback", f"{STEP} 1"),
    "first 0": (f"member 0 of 2: net: {__name__}:raising {STEP} 0",),
    "first 01": (f"member 0 of 2: net: {__name__}:raising {STEP} 0",),
    "later 1": ("member 1 of 2: Traceback", "KeyError: 'on purpose in 1'"),
    "later 0": ("IndexError: on purpose in 0",),
    "later 01": ("on purpose in ",),
    "loss 1": ("member 1 of 2: Traceback", "losses.py", "RuntimeError"),
}


def rank() -> str:
    return str(dist.get_rank()) if dist.is_initialized() else "alone"


def raising(way: str) -> nn.Module:
    return Raising(way)


class Raising(nn.Module):
    """A network for digits that raises in members of a gang.

    Args:
        way: `first` or `later`: when; `loss`: outputs that the loss can't take, later; and the ranks.
    """

    def __init__(self, way: str) -> None:
        super().__init__()
        self.line, self.calls = nn.Linear(64, 10), 0
        self.way, _, self.ranks = way.partition(" ")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        outputs: torch.Tensor = self.line(x.flatten(1))
        if rank() in self.ranks and self.training and self.calls > (0 if self.way == "first" else 20):
            if self.way == "loss":
                return outputs[:-1]
            error = IndexError if rank() == "0" else ValueError if self.way == "first" else KeyError
            raise error(f"on purpose in {rank()}")
        return outputs


class OwnSgd(torch.optim.SGD):
    """An optimizer that the second member of a gang can't make, or can't make a step with."""

    def __init__(self, params: Any, lr: float, at: str, weight_decay: float = 0.0) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.at = at
        if at == "make" and rank() == "1":
            raise ValueError("not made on purpose")

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if self.at == "step" and rank() == "1":
            raise ValueError("no step on purpose")
        super().step(closure)


def ends(table: pd.DataFrame) -> dict[str, tuple[str, str, int]]:
    """Status, cause and attempt of each unit, by index."""
    columns = (table.index, table["status"], table["cause"].fillna(""), table["attempt"])
    return {way: (status, cause, attempt) for way, status, cause, attempt in zip(*columns, strict=True)}


def check_ends(folder: Path, site: Site, *ways: str) -> None:
    """Run a unit for each way, and a sound one."""
    own = {"net": "own", "function": f"{__name__}:raising", "args": {"way": "never"}}
    axes = {"net.args.way": {"values": [*ways, "never"]}}
    run_gangs(folder, site, recipe=recipe(steps=30, net=own), axes=axes)
    table = rows(folder).set_index("net.args.way")
    assert ends(table) == {**dict.fromkeys(ways, FAILED), "never": OK}, story(folder)
    for way in ways:
        error = table["error"][way]
        assert all(text in error for text in ENDS[way]) and ("test_gang_errors.py" in error or way == "loss 1"), error
    assert not members(), "no process is left"


def test_an_error_before_the_first_step_in_one_member_is_the_units_own(tmp_path: Path) -> None:
    check_ends(tmp_path, LOCAL, "first 1")


@pytest.mark.slow
def test_an_error_in_any_member_at_any_time_is_the_units_own(tmp_path: Path) -> None:
    check_ends(tmp_path, LOCAL, *list(ENDS)[1:])


@pytest.mark.slow
def test_an_error_of_an_optimizer_in_one_member_is_the_units_own(tmp_path: Path) -> None:
    own = {"method": "class", "name": f"{__name__}:OwnSgd", "learning_rate": 0.1, "args": {"at": "never"}}
    axes = {"optimizer.args.at": {"values": ["make", "step", "never"]}}
    run_gangs(tmp_path, LOCAL, recipe=recipe(steps=30, optimizer=own), axes=axes)
    table = rows(tmp_path).set_index("optimizer.args.at")
    assert ends(table) == {"make": FAILED, "step": FAILED, "never": OK}, story(tmp_path)
    assert "not made on purpose" in table["error"]["make"] and "no step on purpose" in table["error"]["step"]
    assert table["error"].dropna().str.startswith("member 1 of 2: ").sum() == 1


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_error_in_an_actor_of_a_gang_is_the_units_own(own_ray: None, tmp_path: Path) -> None:
    check_ends(tmp_path, Site(workers=2), "first 1", "later 1", "later 0")
