"""A branch off a main run is, bit for bit, the run of its own length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, BranchPoint, Checkpoint, Evaluated, train_pack
from landsweep.sweeps.lab.training_units.cooldown import Cooldown, branch
from tests.sweeps.lab.training.cases import (
    OPTIMIZERS,
    as_kept,
    blobs,
    digits,
    ends,
    finals,
    label,
    recipe,
    run,
    same,
    seen,
)

CNN = {"net": "cnn", "channels": [4], "norm": "batch"}
MAIN: dict[str, Any] = {
    "steps": 40,
    "schedule": {"shape": "constant", "warmup": 0.1},
    "evaluate": {"every_steps": 4, "splits": ["test"]},
    "checkpoints": {"at_steps": [0, 10, 30]},
}


def points(recipes: list[Recipe], data: Data, backend: str, *at: int) -> dict[tuple[int, int], Mapping[str, Tensor]]:
    events = run(recipes, data, backend, branch_steps=at)
    return {(e.index, e.step): e.state for e in events if isinstance(e, BranchPoint)}


def check(mains: list[Recipe], data: Data, backend: str, cooldown: Cooldown) -> None:
    """Branches from points of the main runs against the same recipes trained from the beginning."""
    branches = [branch(r, cooldown) for r in mains]
    found = points(mains, data, backend, 20, cooldown.at)
    assert len(found) == len(mains) * len({20, cooldown.at})
    begin = [found[i, cooldown.at] for i in range(len(mains))]
    short = run(branches, data, backend, start_from=begin)
    whole = run(branches, data, backend)
    for i, r in enumerate(branches):
        assert ends(short)[i].step == ends(whole)[i].step == r.steps
        assert same(finals(short)[i], finals(whole)[i])
        assert seen(short, i) == seen(whole, i)
        assert seen(short, i)[0][0] > cooldown.at


@pytest.mark.parametrize("optimizer", [{"method": "sgd", "momentum": 0.9}, *OPTIMIZERS], ids=label)
def test_a_branch_is_the_run_of_its_own_length(optimizer: dict[str, Any]) -> None:
    own = optimizer["method"].startswith(("schedule_free", "u_dog"))  # which average by themselves
    averaging = {} if own else {"averaging": {"average": "latest", "last": 3}}
    mains = [recipe(i, **MAIN, optimizer=optimizer, **averaging) for i in range(3)]
    check(mains, digits(), "bmm", Cooldown(at=24, steps=10))


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_with_batch_normalisation_and_dropout(backend: str) -> None:
    check([recipe(i, **MAIN, net=CNN) for i in range(3)], blobs(), backend, Cooldown(at=16, steps=6, decay="linear"))
    net = {"net": "mlp", "hidden": [12], "dropout": 0.3}
    check([recipe(i, **MAIN, net=net) for i in range(3)], digits(), backend, Cooldown(at=16, steps=6, final=0.1))


def test_rates_hold_and_fall() -> None:
    main = recipe(**MAIN)
    found = branch(main, Cooldown(at=24, steps=10, decay="linear"))
    rates = [found.schedule.multiplier(s, 34) for s in range(34)]
    assert rates[:24] == [main.schedule.multiplier(s, 40) for s in range(24)]
    assert rates[24:] == pytest.approx([1 - i / 10 for i in range(10)])
    assert found.branched_at == 24


def test_evaluations_and_checkpoints_lie_within_the_branch() -> None:
    found = run([branch(recipe(**MAIN), Cooldown(at=24, steps=10))], digits(), "bmm")
    assert [e.step for e in found if isinstance(e, Checkpoint)] == [30, 34]
    assert [e.step for e in found if isinstance(e, Evaluated)] == [28, 32, 34]


def test_a_main_run_that_is_cut_off_tells_its_points_again(tmp_path: Path) -> None:
    mains, data = [recipe(i, **MAIN) for i in range(2)], digits()
    training = train_pack(mains, data, backend="bmm", branch_steps=(8, 24))
    for event in training:
        if isinstance(event, Beat) and training.step >= 12:
            break
    state = as_kept(training.state(), tmp_path / "state")
    again = [
        e
        for e in train_pack(mains, data, backend="bmm", branch_steps=(8, 24), resume=state)
        if isinstance(e, BranchPoint)
    ]
    assert [(e.index, e.step) for e in again] == [(0, 8), (1, 8), (0, 24), (1, 24)]
    whole = points(mains, data, "bmm", 8, 24)
    assert all(same(e.state, whole[e.index, e.step]) for e in again)


@pytest.mark.parametrize(
    ("fields", "at", "said"),
    [
        ({"schedule": {"shape": "cosine"}}, 20, "cosine, which holds no rate"),
        ({}, 41, "still holds its rate"),
        ({}, 3, "after the warm-up, of 4 steps"),
        ({"schedule": {"shape": "wsd", "cooldown": 0.5}}, 30, "still holds its rate"),
        ({"steps": None, "epochs": 2}, 20, "as `steps`"),
    ],
)
def test_where_nothing_can_branch(fields: dict[str, Any], at: int, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        branch(recipe(**{**MAIN, "checkpoints": {}, **fields}), Cooldown(at=at, steps=5))


@pytest.mark.parametrize("length", [{"steps": 24}, {"steps": 20}, {"steps": None, "epochs": 2}])
def test_a_branch_that_ends_before_it_begins_is_refused(length: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leaves after 24 steps needs more `steps`"):
        recipe(**{**MAIN, "checkpoints": {}, **length, "branched_at": 24})


def test_points_of_another_network_are_refused() -> None:
    data = digits()
    found = points([recipe(**MAIN)], data, "bmm", 24)
    other = branch(recipe(**MAIN, net={"net": "mlp", "hidden": [8]}), Cooldown(at=24, steps=5))
    with pytest.raises(SpecError, match="another network, optimizer or average"):
        train_pack([other], data, backend="bmm", start_from=[found[0, 24]])
    named = recipe(**MAIN, optimizer={"method": "class", "name": "torch.optim:Adagrad", "learning_rate": 0.01})
    with pytest.raises(SpecError, match="can't branch"):
        train_pack([named], data, branch_steps=(8,))
