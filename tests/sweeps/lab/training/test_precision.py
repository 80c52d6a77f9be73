"""Settings of arithmetic and memory: against plain loops of torch, and refused where they can't be followed."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from landsweep import Zoo
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.arithmetic import arithmetic
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, Checkpoint, Ended, check_backend, choose, train_pack
from landsweep.sweeps.lab.training.assembly import module_of
from landsweep.sweeps.lab.training.calendar import samples_seen
from landsweep.sweeps.lab.training.draws import order
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.paths import ROOT
from tests.sweeps.lab.training.cases import OPTIMIZERS, label

GPT = {"net": "gpt", "width": 16, "heads": 2, "depth": 2, "dropout": 0.1}
LOW, FAST = {"times": 1.02, "window": 4}, {"method": "sgd", "learning_rate": 0.6}
BF16 = {"precision": "bf16", "bf16_weights": True}
NEED_EVERY_STEP = ("sam", "soap", "frugal", "gam", "entropy_sgd", "u_dog", "egn")
"""Methods that are refused where a step may be left out, and those of several gradients."""
TEXT: dict[str, Any] = {"data": {"source": "markov", "states": 5, "context": 6, "train": 64, "test": 32}, "net": GPT}


def recipe(**fields: Any) -> Recipe:
    plain = {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [8]}, "steps": 8, "batch_size": 32}
    quiet = {"optimizer": {"method": "sgd", "learning_rate": 0.1}, "evaluate": {"first": 8}}
    return Recipe.model_validate({**plain, **quiet, **fields})


def text(**fields: Any) -> Recipe:
    return recipe(**{**TEXT, "batch_size": 16, **fields})


def data_of(one: Recipe) -> Data:
    return one.data.load(Path())


def final(one: Recipe, backend: str = "loop", data: Data | None = None) -> tuple[dict[str, Tensor], Ended]:
    events = list(train_pack([one], data or data_of(one), backend=backend))
    weights = [dict(e.state) for e in events if isinstance(e, Checkpoint) and e.label == "last"]
    return (weights or [{}])[-1], next(e for e in events if isinstance(e, Ended))


def apart(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Largest difference of two state dicts."""
    return max(float((a[n].double() - b[n].double()).abs().max()) for n in a)


class Plain:
    """What anyone would write: one network, one loop, torch's own optimizer."""

    def __init__(self, one: Recipe, data: Data) -> None:
        self.recipe, self.split = one, data.splits["train"].cast(torch.float32)
        self.module = module_of(one, data, Path())
        self.sgd = torch.optim.SGD(self.module.parameters(), one.optimizer.learning_rate)
        self.skipped = 0

    def loss(self, step: int) -> Tensor:
        n, b = len(self.split.targets), self.recipe.batch_size
        assert (step + 1) * b <= n, "of the first epoch"
        chosen = order(self.recipe.seed, 0, n)[step * b : (step + 1) * b]
        with arithmetic(self.recipe.precision, torch.device("cpu")):
            outputs = self.module(self.split.inputs[chosen])
        return TrainingLoss("cross_entropy")(outputs.float()[None], self.split.targets[chosen][None]).mean()

    def train(self) -> dict[str, Tensor]:
        scaler = torch.amp.GradScaler("cpu", enabled=self.recipe.precision == "fp16")
        for step in range(self.recipe.steps or 0):
            self.sgd.zero_grad()
            scaler.scale(self.loss(step)).backward()
            before = scaler.get_scale()
            scaler.step(self.sgd)
            scaler.update()
            self.skipped += scaler.get_scale() < before
        return dict(self.module.state_dict())


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
    ("backend", "part"), [("loop", 1), ("loop", 5), ("loop", 16), ("loop", 32), ("vmap", 5), ("bmm", 5)]
)
def test_a_batch_in_parts_is_the_whole_batch(backend: str, part: int) -> None:
    fields: dict[str, Any] = {"net": {"net": "mlp", "hidden": [8], "dropout": 0.2}, "dtype": "float64", "clip": 0.5}
    whole, _ = final(recipe(**fields), backend)
    parts, _ = final(recipe(**fields, micro_batch=part), backend)
    assert apart(whole, parts) < 1e-12
    single, _ = final(recipe(net={"net": "mlp", "hidden": [8]}, micro_batch=part), backend)
    assert apart(final(recipe(), backend)[0], single) < 1e-5


def test_a_small_last_batch_may_be_smaller_than_a_part() -> None:
    fields: dict[str, Any] = {"epochs": 1, "steps": None, "batch_size": 400, "dtype": "float64"}
    assert apart(final(recipe(**fields))[0], final(recipe(**fields, micro_batch=300))[0]) < 1e-12


@pytest.mark.parametrize("method", ["adamw", "sam"])
def test_recomputed_blocks_give_the_same_bits(method: str) -> None:
    fields: dict[str, Any] = {"optimizer": {"method": method, "learning_rate": 0.01}}
    kept, again = (final(text(**fields, recompute=on))[0] for on in (False, True))
    assert apart(kept, again) == 0.0


@pytest.mark.parametrize("more", [{}, {"qk_norm": True}, {"logits": "all", "norm": "rms"}])
def test_fused_attention_is_attention(more: dict[str, Any]) -> None:
    net = {**GPT, **more}
    written, fused = (final(text(net=net, attention=how))[0] for how in ("written_out", "fused"))
    assert 0 < apart(written, fused) < 1e-5


def test_fused_attention_can_be_looked_at_and_differentiated_twice() -> None:
    probes = [{"probe": "attention"}, {"probe": "sharpness", "first": 8}]
    ends = [final(text(attention=how, evaluate={"first": 8, "probes": probes}))[1] for how in ("written_out", "fused")]
    for name in ("attention_max", "sharpness"):
        written, fused = (end.metrics[name] for end in ends)
        assert fused == pytest.approx(written, rel=1e-3)


def spiky(one: Recipe) -> tuple[dict[str, Tensor], int, int | None]:
    """A plain loop with the rule written down once more: weights, steps left out, the first spike."""
    plain, losses, skipped, first = Plain(one, data_of(one)), [], 0, None
    for step in range(one.steps or 0):
        loss = plain.loss(step)
        recent = losses[-one.spike.window :]
        if len(recent) >= one.spike.window / 4 and float(loss.detach()) > one.spike.times * statistics.median(recent):
            skipped, first = skipped + 1, step if first is None else first
            continue
        losses.append(float(loss.detach()))
        plain.sgd.zero_grad()
        loss.backward()
        plain.sgd.step()
    return dict(plain.module.state_dict()), skipped, first


@pytest.mark.parametrize("backend", ["loop", "bmm"])
@pytest.mark.parametrize("seed", range(2))
def test_a_spike_is_skipped(seed: int, backend: str) -> None:
    one = recipe(on_spike="skip", spike=LOW, seed=seed, steps=40, optimizer=FAST)
    weights, end = final(one, backend)
    expected, skipped, _ = spiky(one)
    assert end.metrics["skipped_steps"] == skipped > 0
    assert end.step == 40 and apart(weights, expected) < 1e-5


@pytest.mark.parametrize("method", ["adamw", "muon", "prodigy"])
def test_a_skipped_step_leaves_the_optimizer_as_it_was(method: str) -> None:
    """Beside a model that makes it, and alone: a rule that moved its slots would tell them apart."""
    fields: dict[str, Any] = {"optimizer": {"method": method}, "steps": 30, "on_spike": "skip"}
    recipes = [recipe(**fields, spike={"times": 1.05, "window": 4}, seed=s) for s in range(4)]
    events = list(train_pack(recipes, data_of(recipes[0]), backend="bmm"))
    ends = {e.index: e for e in events if isinstance(e, Ended)}
    states = {e.index: dict(e.state) for e in events if isinstance(e, Checkpoint)}
    for index, one in enumerate(recipes):
        weights, end = final(one, "bmm")
        assert end.metrics["skipped_steps"] == ends[index].metrics["skipped_steps"]
        assert apart(states[index], weights) == 0.0


def test_a_spike_ends_a_model() -> None:
    one = recipe(on_spike="stop", spike=LOW, steps=40, optimizer=FAST)
    _, end = final(one)
    first = spiky(one)[2]
    assert end.status == "diverged" and end.step == first
    assert end.error is not None and f"at step {end.step + 1}" in end.error and "more than 1.02 times" in end.error
    others = [one, one.model_copy(update={"seed": 5})]
    ends = [e for e in train_pack(others, data_of(one), backend="bmm") if isinstance(e, Ended)]
    assert [e.step for e in ends if e.index == 0] == [first]


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if o["method"] not in NEED_EVERY_STEP], ids=label)
def test_steps_left_out_at_the_start_leave_every_rule_sound(optimizer: dict[str, Any]) -> None:
    """Inputs so large that the first losses overflow: whatever a rule makes of its first step, it makes of the first
    that is not left out."""
    digits = data_of(recipe())
    data = Data.of({"train": Split(digits.splits["train"].inputs * 300, digits.splits["train"].targets)}, 10)
    weights, end = final(recipe(precision="fp16", optimizer=optimizer, steps=24), data=data)
    assert 0 < end.metrics["skipped_steps"] < 24
    assert all(w.isfinite().all() for w in weights.values())
    begin = module_of(recipe(), data, Path()).state_dict()
    assert apart(weights, begin) > 0


@pytest.mark.parametrize("more", [{"precision": "fp16"}, {"on_spike": "skip", "spike": LOW, "optimizer": FAST}])
def test_a_training_goes_on_where_it_was(more: dict[str, Any]) -> None:
    recipes = [recipe(**more, steps=24, seed=s, evaluate={"every_steps": 6, "first": 8}) for s in range(3)]
    data, states = data_of(recipes[0]), []
    training = train_pack(recipes, data, backend="vmap")
    whole = []
    for event in training:
        if isinstance(event, Beat):
            states.append(training.state())
        else:
            whole.append(repr(event) if isinstance(event, Checkpoint) else (event.index, dict(event.metrics)))
    resumed = train_pack(recipes, data, backend="vmap", resume=states[2])
    again = [
        repr(e) if isinstance(e, Checkpoint) else (e.index, dict(e.metrics)) for e in resumed if not isinstance(e, Beat)
    ]
    assert len(states) > 3 and again == whole


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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"micro_batch": 8, "net": {"net": "mlp", "hidden": [8], "norm": "batch"}}, "normalises over the whole batch"),
        ({**BF16, "net": {"net": "mlp", "hidden": [8], "norm": "batch"}}, "bf16_weights: .*keeps statistics beside"),
        ({"recompute": True}, "recompute: mlp: it has no residual blocks"),
        ({"recompute": True, "net": {"net": "resnet", "depth": 8, "width": 2}}, "recompute: resnet"),
        ({"attention": "fused"}, "attention: mlp has none"),
    ],
)
def test_networks_that_can_not_follow_a_setting_are_refused_before_work(fields: dict[str, Any], message: str) -> None:
    one = recipe(**fields)
    for backend in ("auto", "loop"):
        with pytest.raises(SpecError, match=message):
            check_backend(backend, one, data_of(one))
    with pytest.raises(SpecError, match=message):
        final(one)


@pytest.mark.parametrize(("backend", "setting"), [("bmm", "precision"), ("vmap", "compile"), ("compiled", "precision")])
def test_back_ends_say_which_setting_they_do_not_know(backend: str, setting: str) -> None:
    one = recipe(**{setting: {"precision": "bf16", "compile": True}[setting]})
    with pytest.raises(SpecError, match=rf"{backend} can't train this network: it does not know {setting}.*loop"):
        check_backend(backend, one, data_of(one))
    assert choose(one, data_of(one)).backend in ("loop", "vmap")[: 1 + (setting == "precision")]


def test_new_settings_are_in_no_old_key() -> None:
    dumped = recipe().model_dump(mode="json")
    assert not {"precision", "micro_batch", "recompute", "attention", "compile", "on_spike", "spike"} & dumped.keys()
    assert recipe(precision="bf16").pack_key() != recipe().pack_key() != recipe(micro_batch=8).pack_key()


def test_tf32_is_float32_where_there_is_none() -> None:
    assert apart(final(recipe(precision="tf32"), "vmap")[0], final(recipe(), "vmap")[0]) == 0.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_a_compiled_network_is_the_network() -> None:
    compiled, plain = (final(text(net={**GPT, "dropout": 0.0}, compile=on))[0] for on in (True, False))
    assert apart(compiled, plain) < 1e-5


def test_modules_of_packs_are_left_alone() -> None:
    """Settings of one training do not leak into the next."""
    module = module_of(text(), data_of(text()), Path())
    blocks = module.get_submodule("blocks")
    assert isinstance(blocks, nn.Sequential) and not any(getattr(b, "fused", True) for b in blocks)


@pytest.mark.parametrize("method", ["adam", "adamw"])
@pytest.mark.parametrize(
    "more",
    [
        {"schedule": {"shape": "one_cycle"}},
        {"parametrization": {"scheme": "mup", "base_width": 4}, "clip": 0.5},
        {"on_spike": "skip", "spike": LOW},
    ],
)
def test_a_fused_step_is_the_step(method: str, more: dict[str, Any]) -> None:
    optimizer = {"method": method, "learning_rate": 0.01, "weight_decay": 0.1}
    fields: dict[str, Any] = {"optimizer": optimizer, "dtype": "float64", "steps": 20, **more}
    weights, end = final(recipe(**fields), "bmm")
    fused, ended = final(recipe(**fields, fused_step=True), "bmm")
    assert apart(weights, fused) < 1e-9
    assert end.metrics.get("skipped_steps") == ended.metrics.get("skipped_steps")


def test_methods_without_a_kernel_are_refused() -> None:
    with pytest.raises(ValidationError, match="torch has no kernel for sgd; it has: adam, adamw"):
        recipe(fused_step=True)


def test_rows_say_how_fast_a_model_was_trained(tmp_path: Path) -> None:
    """Samples over seconds; operations by the closed form of the network over the stated peak."""
    settings = {"precision": "bf16", "on_spike": "skip", "batch_size": 100, "steps": 30}
    spec = {"kind": "zoo", "name": "fast", "recipe": recipe(**settings).model_dump(mode="json"), "backend": "loop"}
    site = Site(executor="local", tracking=False, peak_flops=1e9)
    run_sweep(ZooKind(), ZooKind().parse(spec, "spec"), site, tmp_path / "zoo", folder=ROOT, watch=QuietWatch())
    (row,) = Zoo(tmp_path / "zoo").rows.to_dict("records")
    n = len(data_of(recipe()).splits["train"])
    samples = samples_seen(recipe(**settings), n, 30)
    assert (row["device"], row["precision"], row["skipped_steps"]) == ("cpu", "bf16", 0)
    assert row["samples_per_second"] * row["seconds"] == pytest.approx(samples)
    # 64-8-10: three products of 64 x 8 and 8 x 10 but for the gradient of the first layer's inputs
    assert row["mfu"] * 1e9 == pytest.approx(row["samples_per_second"] * 2 * (2 * 64 * 8 + 3 * 8 * 10))
    assert row["tokens_per_second"] is None or math.isnan(row["tokens_per_second"])
