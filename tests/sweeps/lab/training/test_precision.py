"""Precision: bf16, fp16 and tf32 against plain loops of torch, and settings that do not fit each other refused."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, Checkpoint, train_pack
from tests.sweeps.lab.training.plain_loop import BF16, GPT, LOW, Plain, apart, data_of, final, recipe, text


@pytest.mark.parametrize("seed", range(2))
def test_bf16_is_autocast_with_weights_in_float32(seed: int) -> None:
    one = recipe(precision="bf16", seed=seed)
    weights, end = final(one)
    assert end.status == "ok" and torch.bfloat16 not in {t.dtype for t in weights.values()}
    assert apart(weights, Plain(one, data_of(one)).train()) < 1e-6
    exact, _ = final(recipe(seed=seed))
    assert 1e-5 < apart(weights, exact) < 0.02


def test_packs_in_bf16_are_near_single_models() -> None:
    recipes = [recipe(precision="bf16", seed=seed) for seed in range(4)]
    events = list(train_pack(recipes, data_of(recipes[0]), backend="vmap"))
    states = {e.index: dict(e.state) for e in events if isinstance(e, Checkpoint)}
    assert all(apart(states[i], final(one)[0]) < 0.02 for i, one in enumerate(recipes))


def by_hand(one: Recipe, data: Data) -> dict[str, Tensor]:
    """A network in bf16, as torch has it, whose steps torch's own optimizer makes on a copy in float32."""
    plain = Plain(one, data)
    narrow = dict(plain.module.to(torch.bfloat16).named_parameters())
    copies = {n: p.detach().float() for n, p in narrow.items()}
    rate, decay = one.optimizer.learning_rate, getattr(one.optimizer, "weight_decay", 0.0)
    make = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[str(one.optimizer.method)]
    optimizer = make(list(copies.values()), lr=rate, weight_decay=decay, fused=one.fused_step)
    for step in range(one.steps or 0):
        plain.loss(step).backward()
        for name, p in narrow.items():
            assert p.grad is not None and p.grad.dtype is torch.bfloat16
            copies[name].copy_(p.detach())
            copies[name].grad, p.grad = p.grad.float(), None
        if one.clip is not None:
            torch.nn.utils.clip_grad_norm_(list(copies.values()), one.clip)
        optimizer.step()
        for name, p in narrow.items():
            p.data.copy_(copies[name])
    return {n: p.detach().float() for n, p in narrow.items()}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": {"method": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}, "fused_step": True},
        {"optimizer": {"method": "adamw", "learning_rate": 0.01}, "fused_step": True, "net": GPT | {"dropout": 0.0}},
        {"optimizer": {"method": "sgd", "learning_rate": 0.1}},
    ],
)
def test_weights_in_bf16_are_those_of_a_loop_by_hand(fields: dict[str, Any], seed: int) -> None:
    one = (text if "net" in fields else recipe)(**fields, precision="bf16", bf16_weights=True, seed=seed, steps=4)
    weights, end = final(one)
    expected = by_hand(one, data_of(one))
    assert end.status == "ok" and all(torch.equal(weights[n], w) for n, w in expected.items())
    assert all(torch.equal(w, w.bfloat16().float()) for w in weights.values())
    assert apart(weights, final(one.model_copy(update={"bf16_weights": False}))[0]) > 1e-5


def test_weights_in_bf16_are_kept_and_taken_up_as_they_are() -> None:
    """From a state, in parts of a batch, with steps left out, and beside other models of a pack."""
    fields: dict[str, Any] = {"precision": "bf16", "bf16_weights": True, "on_spike": "skip", "spike": LOW, "steps": 24}
    recipes = [recipe(**fields, optimizer={"method": "adamw"}, clip=1.0, micro_batch=8, seed=s) for s in range(3)]
    data, states = data_of(recipes[0]), []
    training = train_pack(recipes, data, backend="loop")
    whole = {}
    for event in training:
        if isinstance(event, Beat):
            states.append(training.state())
        elif isinstance(event, Checkpoint):
            whole[event.index] = dict(event.state)
    again = train_pack(recipes, data, backend="loop", resume=states[len(states) // 2])
    resumed = {e.index: dict(e.state) for e in again if isinstance(e, Checkpoint)}
    assert all(apart(whole[i], resumed[i]) == 0.0 for i in range(3)) and states
    assert all(apart(whole[i], final(one)[0]) == 0.0 for i, one in enumerate(recipes))
    packed = {e.index: dict(e.state) for e in train_pack(recipes, data, backend="vmap") if isinstance(e, Checkpoint)}
    assert all(apart(whole[i], packed[i]) < 0.02 for i in range(3))


@pytest.mark.parametrize("scale", [1.0, 3000.0])
def test_fp16_scales_its_losses_and_leaves_out_steps_that_overflow(scale: float) -> None:
    """Against torch's GradScaler; inputs so large that gradients overflow at first."""
    digits = data_of(recipe())
    data = Data.of({"train": Split(digits.splits["train"].inputs * scale, digits.splits["train"].targets)}, 10)
    one = recipe(precision="fp16", optimizer={"method": "sgd", "learning_rate": 1e-3 / scale**2}, steps=20)
    plain = Plain(one, data)
    expected = plain.train()
    weights, end = final(one, data=data)
    assert end.metrics["skipped_steps"] == plain.skipped
    assert (plain.skipped > 0) == (scale > 1)
    assert apart(weights, expected) < 1e-6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precision": "bf16", "dtype": "float64"}, "bf16 is for weights in float32"),
        ({"precision": "fp16", "optimizer": {"method": "sam"}}, "sam takes more than one gradient"),
        (
            {"precision": "fp16", "optimizer": {"method": "soap"}},
            "fp16 may leave out a step, and soap",
        ),
        ({"on_spike": "skip", "optimizer": {"method": "soap"}}, "on_spike: skip may leave out a step, and soap"),
        ({"on_spike": "skip", "optimizer": {"method": "frugal"}}, "on_spike: skip may leave out a step, and frugal"),
        ({"precision": "fp16", "optimizer": {"method": "gam"}}, "gam takes more than one gradient"),
        ({"precision": "fp16", "optimizer": {"method": "entropy_sgd"}}, "entropy_sgd takes more than one gradient"),
        ({"bf16_weights": True}, "an option of precision: bf16, but precision is float32"),
        ({**BF16, "optimizer": {"method": "sam"}}, "sam looks at the network near the weights"),
        (
            {**BF16, "optimizer": {"method": "class", "name": "torch.optim:SGD", "learning_rate": 1}},
            "class would not see",
        ),
        ({**BF16, "optimizer": {"method": "schedule_free_adamw"}}, "averages of weights would be rounded"),
        ({**BF16, "averaging": {"average": "exponential"}}, "averages of weights would be rounded"),
        ({**BF16, "evaluate": {"probes": [{"probe": "sharpness"}]}}, "probes look at weights in float32"),
        ({"micro_batch": 33}, "33 is more than the batch_size of 32"),
        ({"spike": {"times": 2}}, "on_spike is go_on; give skip or stop"),
        ({"on_spike": "skip", "spike": {"times": 1}}, "greater than 1"),
        ({"precision": "bf8"}, "'float32', 'tf32', 'bf16' or 'fp16'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(**fields)


def test_tf32_is_float32_where_there_is_none() -> None:
    assert apart(final(recipe(precision="tf32"), "vmap")[0], final(recipe(), "vmap")[0]) == 0.0
