"""Packs: what a model becomes depends on its recipe, not on what trains beside it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.training import Checkpoint, Choice, Ended, proof, train_pack
from landsweep.sweeps.lab.training import train as entry
from landsweep.sweeps.lab.training.assembly import assemble
from landsweep.sweeps.lab.training.backends import BACKENDS
from landsweep.sweeps.lab.training.stepper import Stepper
from tests.sweeps.lab.training.cases import (
    CNN,
    OPTIMIZERS,
    blobs,
    digits,
    distance,
    ends,
    finals,
    label,
    recipe,
    run,
    same,
    seen,
)

DROPOUT = {"net": "mlp", "hidden": [12, 12], "dropout": 0.3, "activation": "gelu"}
BOMB = {"factor": 1e30}
CAREFUL = ("momo", "momo_adam")  # whose steps are never longer than the loss can fall


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


@pytest.mark.parametrize(
    ("backend", "net"),
    [
        *((b, {"net": "mlp", "hidden": [w, w]}) for b in ("bmm", "vmap", "loop") for w in (7, 32)),
        ("bmm", DROPOUT),
        ("vmap", DROPOUT),
    ],
)
def test_bits_do_not_depend_on_the_pack(backend: str, net: dict[str, Any], data: Data) -> None:
    more = {"net": net, "batch_size": 45, "steps": 35}  # an epoch is 31 batches of 45 and one of 5
    recipes = [recipe(seed, 0.02 * (1 + seed % 4), clip=[None, 0.5][seed % 2], **more) for seed in range(17)]
    exact = proof.exact_rows(BACKENDS[backend], recipes[0], data, "cpu", Path())
    assert exact or net["hidden"] == [7, 7], "on some processors products of odd widths depend on where rows begin"
    whole = finals(run(recipes, data, backend))
    for part in (slice(0, 1), slice(1, 4), slice(4, 12)):
        found = finals(run(recipes[part], data, backend))
        assert all(distance(found[i], whole[part.start + i]) < 1e-4 for i in found)
        assert not exact or all(same(found[i], whole[part.start + i]) for i in found)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=label)
def test_bits_do_not_depend_on_the_pack_with_any_optimizer(optimizer: dict[str, Any], data: Data) -> None:
    """Nor on a neighbour that blows up and leaves the pack in the middle of a step."""
    rate = optimizer.get("learning_rate", 1.0)
    clip = None if optimizer["method"] == "egn" else 1.0  # which refuses it
    recipes = [recipe(s, clip=clip, optimizer={**optimizer, "learning_rate": rate * 0.6**s}) for s in range(5)]
    bomb = recipe(9, optimizer={**optimizer, "learning_rate": rate}, schedule={"shape": "step", "at": [0.3], **BOMB})
    events = run([bomb, *recipes], data, "bmm")
    assert ends(events)[0].status == ("ok" if optimizer["method"] in CAREFUL else "diverged")
    whole, alone = finals(events), finals(run(recipes[3:4], data, "bmm"))
    exact = proof.exact_rows(BACKENDS["bmm"], recipes[3], data, "cpu", Path())
    assert exact or optimizer["method"] == "soap", "on some processors its own products depend on where rows begin"
    assert same(whole[4], alone[0]) if exact else distance(whole[4], alone[0]) < 1e-4
    assert not same(whole[4], whole[3])


@pytest.mark.parametrize("backend", ["loop", "vmap", "bmm"])
def test_a_model_that_blows_up_leaves_its_neighbours_alone(backend: str, data: Data) -> None:
    """Divergence, at different steps, against a pack without the diverging ones."""
    late = {"shape": "step", "at": [0.5], "factor": 1e25}
    changes: list[dict[str, Any]] = [{}, {"lr": 1e20}, {"lr": 0.02}, {"schedule": late}, {"lr": 0.1}]
    recipes = [recipe(seed, evaluate={"every_steps": 10}, **more) for seed, more in enumerate(changes)]
    events = run(recipes, data, backend)
    found, over = finals(events), ends(events)
    assert {i: e.status for i, e in over.items()} == {0: "ok", 1: "diverged", 2: "ok", 3: "diverged", 4: "ok"}
    assert over[1].step < over[3].step < 30
    assert over[1].error is not None and f"step {over[1].step + 1}" in over[1].error
    good = [0, 2, 4]
    alone = run([recipes[i] for i in good], data, backend)
    assert all(same(found[i], finals(alone)[j]) for j, i in enumerate(good))
    assert all(seen(events, i) == seen(alone, j) for j, i in enumerate(good))


def test_huge_losses_whose_sum_overflows_have_not_diverged(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = Stepper.gradients
    monkeypatch.setattr(Stepper, "gradients", lambda stepper: torch.full_like(gradients(stepper), 3e38))
    recipes = [recipe(s, steps=3) for s in range(2)]
    assert {e.status for e in ends(run(recipes, data, "bmm")).values()} == {"ok"}


def test_outputs_and_losses_outlive_the_memory_of_a_step(data: Data) -> None:
    """Written-out gradients use the memory of the step before again, but for what they hand out."""
    recipes = [recipe(s, steps=10) for s in range(3)]
    assembly = assemble(recipes, data, BACKENDS["bmm"], "cpu", Path())
    stepper = Stepper(assembly, recipes, data, 10)
    handed = [assembly.program.outputs(data.splits["test"].inputs[:32]), stepper.gradients()]
    kept = [t.clone() for t in handed]
    stepper.update()
    later = stepper.make_step()
    assert all(torch.equal(a, b) for a, b in zip(handed, kept, strict=True)) and not torch.equal(later, kept[1])


def test_a_convolution_that_blows_up_leaves_its_neighbours_alone() -> None:
    """Rows that can't be taken out without touching the bits of others stay, frozen."""
    images = blobs()
    recipes = [recipe(s, lr, net=CNN, steps=20) for s, lr in enumerate([0.01, 1e25, 0.02, 0.005])]
    calm = [r if i != 1 else recipe(1, 0.01, net=CNN, steps=20) for i, r in enumerate(recipes)]
    wild, tame = run(recipes, images, "vmap"), run(calm, images, "vmap")
    assert ends(wild)[1].status == "diverged"
    assert all(same(finals(wild)[i], finals(tame)[i]) for i in (0, 2, 3))
    alone = finals(run(recipes[2:3], images, "vmap"))
    assert same(alone[0], finals(wild)[2]), "a pack is padded to the number of rows from which bits are stable"


def test_dropout_masks_belong_to_the_model(data: Data) -> None:
    """Different shares in one pack; the same recipe in all back-ends; another seed, other masks."""
    recipes = [recipe(s, net={**DROPOUT, "dropout": p}) for s, p in ((0, 0.1), (0, 0.5), (1, 0.5))]
    loop, vmap, bmm = (finals(run(recipes, data, b)) for b in ("loop", "vmap", "bmm"))
    assert all(distance(loop[i], vmap[i]) < 1e-5 and distance(loop[i], bmm[i]) < 1e-5 for i in loop)
    assert distance(loop[0], loop[1]) > 1e-3
    plain = finals(run([recipe(0, net={**DROPOUT, "dropout": 0.0})], data, "bmm"))
    assert plain.keys() == {0} and distance(plain[0], bmm[0]) > 1e-3


def test_runs_that_share_a_seed_share_initial_weights_and_order(data: Data) -> None:
    policy = {"checkpoints": {"at_steps": [0]}}
    events = run([recipe(3, lr, **policy) for lr in (0.01, 0.1)] + [recipe(4, **policy)], data, "bmm")
    start = {e.index: e.state for e in events if isinstance(e, Checkpoint) and e.step == 0}
    assert same(start[0], start[1]) and not same(start[0], start[2])


def test_models_with_data_of_their_own(data: Data) -> None:
    """Shares of the data and label noise differ within a pack; each model equals itself alone."""
    more: dict[str, Any] = {"drop_last": True, "evaluate": {"every_steps": 15}, "steps": 60}
    recipes = [
        recipe(i, train_fraction=f, label_noise=n, **more) for i, (f, n) in enumerate([(1, 0), (0.1, 0.5), (0.5, 0)])
    ]
    assert len({r.pack_key() for r in recipes}) == 1
    whole = run(recipes, data, "bmm")
    for i, r in enumerate(recipes):
        alone = run([r], data, "bmm")
        assert same(finals(whole)[i], finals(alone)[0])
        assert seen(whole, i) == seen(alone, 0)
    loop = run(recipes, data, "loop")
    assert all(distance(finals(loop)[i], finals(whole)[i]) < 1e-5 for i in range(3))


def test_checkpoint_policy(data: Data) -> None:
    policy = {"every_steps": 10, "at_steps": [0, 3], "log_spaced": 3, "best": "test_loss"}
    events = run([recipe(0, checkpoints=policy, evaluate={"every_steps": 7})], data, "bmm")
    snapshots = [e for e in events if isinstance(e, Checkpoint)]
    assert [s.label for s in snapshots] == [f"step-{n:06d}" for n in (0, 1, 3, 5, 10, 20)] + ["best", "last"]
    curve = {step: metrics["test_loss"] for step, metrics in seen(events, 0)}
    assert list(curve) == [7, 14, 21, 28, 30]
    assert snapshots[-2].step == min(curve, key=lambda s: curve[s]) == ends(events)[0].metrics["best_step"]
    assert isinstance(events[-2], Ended) or isinstance(events[-1], Ended)


def test_a_stopped_model_ends_and_the_others_do_not_notice(data: Data) -> None:
    recipes = [recipe(s, evaluate={"every_steps": 5}) for s in range(3)]
    training = train_pack(recipes, data, backend="bmm")
    events = []
    for event in training:
        events.append(event)
        if event.__class__.__name__ == "Beat" and training.step == 10:
            training.stop(1)
    over = ends(events)
    assert (over[1].status, over[1].step) == ("stopped", 10) and "test_loss" in over[1].metrics
    assert all(same(finals(events)[i], finals(run(recipes, data, "bmm"))[i]) for i in (0, 2))


class Clock:
    """Stands still, but for what is said to take time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


class SlowToEvaluate(nn.Sequential):
    """A network of which each evaluation takes a second."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        CLOCK.now += 0.0 if torch.is_grad_enabled() else 1.0
        y: torch.Tensor = super().forward(x)
        return y


def test_all_time_is_charged_to_models_and_diverged_ones_bear_their_share(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {"shape": "step", "at": [0.5], "factor": 1e30}
    fields = {"net": {"net": "own", "build": f"{__name__}:SlowToEvaluate"}, "evaluate": {"every_steps": 5}}
    training = train_pack([recipe(0, **fields), recipe(1, schedule=late, **fields)], data, backend="loop")
    monkeypatch.setattr(time, "perf_counter", CLOCK)
    began = CLOCK.now
    over = ends(list(training))
    assert over[1].status == "diverged" and over[0].seconds > over[1].seconds > 0
    assert over[0].seconds + over[1].seconds == pytest.approx(CLOCK.now - began) and CLOCK.now > began


@pytest.mark.parametrize(("models", "backend"), [(1, "loop"), (3, "loop"), (4, "vmap")])
def test_few_models_are_not_padded(models: int, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "choose", lambda *_, **__: Choice("vmap", 8))
    net = {"net": "cnn", "channels": [2]}
    assert train_pack([recipe(i, net=net) for i in range(models)], blobs()).backend == backend
    assert train_pack([recipe()], digits()).backend == "vmap", "perceptrons are never padded"


@pytest.mark.parametrize(
    ("fields", "backend", "said"),
    [
        ({"batch_size": 2000}, "bmm", "batch_size: 2000 is larger .* 1400 samples"),
        ({"net": {"net": "gpt"}}, "loop", "gpt takes tokens"),
        ({"net": CNN}, "bmm", "bmm can't train this network"),
        ({"split": "all"}, "loop", "no split 'all'"),
        ({"evaluate": {"splits": ["val"]}}, "loop", "no split 'val'; the data has train, test"),
        ({"checkpoints": {"best": "val_loss"}}, "loop", "checkpoints.best: there is no metric 'val_loss'"),
        ({"checkpoints": {"at_steps": [31]}}, "loop", "step 31 lies after the end; the training has 30"),
        ({}, "fast", "no back-end 'fast'; there are auto, loop"),
        (
            {"optimizer": {"method": "class", "name": "torch.optim:SGD", "learning_rate": 1}},
            "bmm",
            "back-end loop only",
        ),
    ],
)
def test_what_does_not_fit_is_refused(fields: dict[str, Any], backend: str, said: str, data: Data) -> None:
    with pytest.raises(SpecError, match=said):
        run([recipe(0, **fields)], data, backend)


def test_recipes_of_different_keys_are_refused(data: Data) -> None:
    with pytest.raises(SpecError, match="can't train as one pack"):
        run([recipe(0), recipe(0, batch_size=16)], data, "bmm")


class Wayward(nn.Module):
    """A network whose course depends on its data, which can't be stacked."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(x.flatten(1))
        return y if float(y.detach().sum()) > 0 else 2 * y


def test_a_network_that_can_not_be_stacked_trains_in_the_loop(data: Data) -> None:
    own = {"net": "own", "build": f"{__name__}:Wayward"}
    training = train_pack([recipe(s, net=own) for s in range(2)], data, backend="auto")
    assert training.backend == "loop"
    assert {e.status for e in ends(list(training)).values()} == {"ok"}
