"""The diffusion transformer and the encoder-decoder: against torch's own layers, in packs, and what fits to what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, Denoising, Digits, Markov, Translation
from landsweep.sweeps.lab.models import Net, NetSpec, check_fit
from landsweep.sweeps.lab.models.dit import Dit
from landsweep.sweeps.lab.models.encdec import EncoderDecoder
from landsweep.sweeps.lab.models.resize import resized
from landsweep.sweeps.lab.models.vit import Vit
from tests.support.small_networks import scrambled
from tests.sweeps.lab.training.cases import finals, recipe, run

DIT = {"net": "dit", "width": 8, "heads": 2, "depth": 2}
ENCDEC = {"net": "encdec", "width": 8, "heads": 2, "depth": 2, "encoder_depth": 1, "source": 5}
NOISED: dict[str, Any] = {"source": "denoising", "of": {"source": "digits"}}
PAIRS: dict[str, Any] = {"source": "translation", "words": 7, "length": 5, "train": 96, "test": 16}


def net(spec: dict[str, Any]) -> Net:
    return TypeAdapter(NetSpec).validate_python(spec)  # type: ignore[no-any-return]


def copied(layer: nn.Module, ours: nn.Module, names: dict[str, str]) -> None:
    """Give torch's layer the weights of ours."""
    state = {}
    for theirs, mine in names.items():
        for kind in ("weight", "bias"):
            if mine.endswith("+"):  # query, key and value in one
                parts = [getattr(ours.get_submodule(f"{mine[:-1]}{p}"), kind) for p in ("query", "key", "value")]
                state[f"{theirs}_{kind}"] = torch.cat(parts)
            else:
                state[f"{theirs}.{kind}"] = getattr(ours.get_submodule(mine), kind)
    layer.load_state_dict(state)


ENCODER = {
    "self_attn.in_proj": "+",
    "self_attn.out_proj": "merge",
    "linear1": "up",
    "linear2": "down",
    "norm1": "norm1",
    "norm2": "norm2",
}
DECODER = ENCODER | {
    "multihead_attn.in_proj": "look.+",
    "multihead_attn.out_proj": "look.merge",
    "norm2": "norm_look",
    "norm3": "norm2",
}


@pytest.mark.parametrize("seed", range(5))
def test_the_encoder_decoder_is_torchs(seed: int) -> None:
    """Blocks and attention by torch.nn, masks and all."""
    spec = net({**ENCDEC, "encoder_depth": 2})
    module = scrambled(spec.build((10,), 8, seed), seed).double()
    tokens = torch.randint(8, (3, 10), generator=torch.Generator().manual_seed(seed))
    how: dict[str, Any] = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
    state = dict(module.named_parameters())
    with torch.no_grad():
        x = state["token.weight"][tokens[:, :5]] + state["source_position.weight"]
        for block in module.get_submodule("encoder").children():
            layer = nn.TransformerEncoderLayer(8, 2, 32, **how).double().eval()
            copied(layer, block, ENCODER)
            x = layer(x)
        x = module.get_submodule("encoder_norm")(x)
        y = state["token.weight"][tokens[:, 5:]] + state["position.weight"]
        later = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
        for block in module.get_submodule("decoder").children():
            layer = nn.TransformerDecoderLayer(8, 2, 32, **how).double().eval()
            copied(layer, block, DECODER)
            y = layer(y, x, tgt_mask=later)
        wanted = module.get_submodule("norm")(y) @ state["out.weight"].T
        torch.testing.assert_close(module(tokens), wanted, rtol=1e-10, atol=1e-12)


def test_a_position_of_the_decoder_sees_the_source_and_what_is_before_it() -> None:
    module = scrambled(net(ENCDEC).build((10,), 8, 0), 0)
    tokens = torch.arange(10)[None] % 8
    with torch.no_grad():
        before = module(tokens)
        for place in range(10):
            changed = tokens.clone()
            changed[0, place] = (changed[0, place] + 1) % 8
            moved = (module(changed) - before).abs().amax(2)[0] > 1e-6
            assert moved.tolist() == [place < 5 or i >= place - 5 for i in range(5)]
        torch.testing.assert_close(module(tokens[:, :8]), before[:, :3])


def test_initial_weights_shrink_with_their_own_depth() -> None:
    plain = net({**ENCDEC, "width": 64, "depth": 1, "encoder_depth": 1}).build((10,), 8, 0)
    deep = net({**ENCDEC, "width": 64, "depth": 12, "encoder_depth": 8}).build((10,), 8, 0)

    def size(module: nn.Module, name: str) -> float:
        return float(module.get_parameter(name).detach().std())

    for name, writes, depth in (("encoder.0.merge", 2, 8), ("encoder.0.down", 2, 8), ("decoder.0.look.merge", 3, 12)):
        assert size(deep, f"{name}.weight") / size(plain, f"{name}.weight") == pytest.approx(depth**-0.5, rel=0.05)
        whole = (2 / (256 if name.endswith("down") else 64)) ** 0.5
        assert size(plain, f"{name}.weight") == pytest.approx(whole / writes**0.5, rel=0.05)


def test_a_new_diffusion_transformer_gives_0_and_with_open_gates_its_blocks_are_those_of_vit() -> None:
    spec = Dit(net="dit", width=8, heads=2, depth=2)
    module = spec.build((2, 8, 8), 64, 0)
    inputs = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not bool(module(inputs).any())
        vit = Vit(net="vit", width=8, heads=2, depth=2, patch=2).build((1, 8, 8), 64, 0)
        for i, block in enumerate(module.get_submodule("blocks").children()):
            block.get_parameter("modulation.bias").view(6, 8)[[2, 5]] = 1  # the gates
            twin = vit.get_submodule(f"blocks.{i}")
            twin.load_state_dict({n: t for n, t in block.state_dict().items() if not n.startswith("modulation")})
            x = torch.randn(3, 16, 8)
            torch.testing.assert_close(block(x, torch.randn(3, 8)), twin(x))


def test_it_follows_the_time_and_puts_patches_where_they_were() -> None:
    module = scrambled(Dit(net="dit", width=8, heads=2, depth=1, patch=4).build((3, 8, 8), 128, 0), 0)
    inputs = torch.zeros(2, 3, 8, 8)
    inputs[1, -1] = 0.3
    with torch.no_grad():
        early, late = module(inputs)
        assert float((early - late).abs().max()) > 1e-3
        module.get_submodule("out").weight.zero_()  # the bias alone is left: the same for each patch
        bias = module.get_parameter("out.bias").view(2, 4, 4)
        assert torch.equal(module(inputs)[0].view(2, 8, 8), bias.repeat(1, 2, 2))


@pytest.mark.parametrize(("spec", "data"), [(DIT, NOISED), (ENCDEC, PAIRS)], ids=["dit", "encdec"])
def test_packs_train_as_each_network_alone(spec: dict[str, Any], data: dict[str, Any]) -> None:
    more: dict[str, Any] = {"augment": {"noise": "uniform"}} if spec is DIT else {}
    each = [
        recipe(s, 0.05, data=data, net={**spec, "dropout": 0.1}, steps=6, dtype="float64", **more) for s in range(3)
    ]
    loaded = each[0].data.load(Path())
    check_fit(each[0].net, loaded)
    loop, vmap = (finals(run(each, loaded, backend)) for backend in ("loop", "vmap"))
    for index, state in loop.items():
        moved = 0.0
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, vmap[index][key], rtol=1e-9, atol=1e-11)
            moved += float(tensor.abs().sum())
        assert moved > 0


def fits(spec: dict[str, Any], data: Data) -> None:
    check_fit(net(spec), data)


@pytest.mark.parametrize(
    ("spec", "source", "said"),
    [
        (DIT, Digits(source="digits"), "predicts 0 numbers, one for each pixel and channel but the time's, not 10"),
        ({**DIT, "patch": 3}, Denoising.model_validate(NOISED), "does not divide the sides"),
        ({"net": "gpt"}, Translation.model_validate(PAIRS), "gives .2, 10, 8. for two samples, but the data needs"),
        ({**ENCDEC, "source": 10}, Translation.model_validate(PAIRS), "leaves none of the data's 10 tokens"),
        ({**ENCDEC, "source": 4}, Translation.model_validate(PAIRS), "gives .2, 6, 8. for two samples, but the data"),
        (ENCDEC, Markov(source="markov", states=8, context=10), "gives .2, 5, 8. for two samples, but the data"),
    ],
)
def test_what_does_not_fit_is_refused(spec: dict[str, Any], source: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        fits(spec, source.load(Path()))


def test_no_rule_of_sizes_knows_two_stacks() -> None:
    with pytest.raises(SpecError, match="two stacks"):
        resized(EncoderDecoder(net="encdec"), width=32)
    with pytest.raises(Exception, match="two stacks"):
        recipe(data=PAIRS, net=ENCDEC, parametrization={"scheme": "mup", "base_width": 8})


def test_any_network_for_images_learns_noised_ones() -> None:
    each = recipe(data=NOISED, augment={"noise": "logit_normal"}, net={"net": "mlp", "hidden": [8]}, steps=2)
    assert isinstance(finals(run([each], each.data.load(Path()), "bmm"))[0]["out.bias"], Tensor)
