"""How a network is computed: in parts of a batch, recomputed, with fused attention, compiled, with a fused step."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.training import check_backend, choose
from landsweep.sweeps.lab.training.assembly import module_of
from tests.sweeps.lab.training.plain_loop import BF16, GPT, LOW, apart, data_of, final, recipe, text


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
