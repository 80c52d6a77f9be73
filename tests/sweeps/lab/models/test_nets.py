"""Networks: published sizes, keys, initialisation, stacking, causality, and what fits to what."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, Digits, Markov, Modular, Split, TeacherStudent, Text
from landsweep.sweeps.lab.models import Gpt, Net, NetSpec, check_fit, parameter_count
from landsweep.sweeps.lab.recipe import Recipe

IMAGE = (3, 32, 32)
SMALL: list[dict[str, Any]] = [
    {"net": "mlp", "hidden": [12, 7]},
    {"net": "cnn", "channels": [4, 6]},
    {"net": "cnn_s"},
    {"net": "cnn_l"},
    {"net": "small_cnn"},
    {"net": "resnet", "depth": 8, "width": 2},
    {"net": "resnet18", "width": 2},
    {"net": "vit", "width": 16, "heads": 2, "patch": 8},
    {"net": "gpt", "width": 16, "heads": 2},
]
NORMS = {"vit": ("layer", "rms", "none"), "gpt": ("layer", "rms", "none")}
PLAIN = ("cnn_s", "cnn_l", "small_cnn")  # published without normalisation


def net(spec: dict[str, Any]) -> Net:
    return TypeAdapter(NetSpec).validate_python(spec)  # type: ignore[no-any-return]


def build(spec: dict[str, Any], seed: int = 0) -> nn.Module:
    return net(spec).build((24,) if spec["net"] == "gpt" else IMAGE, 10, seed)


def inputs(spec: dict[str, Any], n: int = 3) -> Tensor:
    source = torch.Generator().manual_seed(0)
    if spec["net"] == "gpt":
        return torch.randint(10, (n, 24), generator=source)
    return torch.randn(n, *IMAGE, generator=source)


def with_norms(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        s if norm is None else {**s, "norm": norm}
        for s in specs
        for norm in ((None,) if s["net"] in PLAIN else NORMS.get(s["net"], ("none", "batch", "layer")))
    ]


@pytest.mark.parametrize(
    ("spec", "shape", "count"),
    [
        ({"net": "cnn_s"}, (1, 28, 28), 2464),
        ({"net": "cnn_s"}, (3, 28, 28), 2864),
        ({"net": "cnn_l"}, (3, 32, 32), 10853),
        ({"net": "small_cnn"}, (1, 28, 28), 4970),
        ({"net": "small_cnn"}, (1, 32, 32), 4970),
        ({"net": "resnet18", "width": 2}, IMAGE, 11420),
        ({"net": "resnet18", "width": 64}, IMAGE, 11173962),
        ({"net": "resnet", "depth": 20, "width": 16}, IMAGE, 269722),
        ({"net": "mlp", "hidden": [16]}, (64,), 64 * 16 + 16 + 170),
        ({"net": "mlp", "hidden": []}, (64,), 650),
    ],
    ids=str,
)
def test_published_parameter_counts(spec: dict[str, Any], shape: tuple[int, ...], count: int) -> None:
    assert parameter_count(net(spec).build(shape, 10, 0)) == count


def test_published_layouts() -> None:
    def layout(spec: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [tuple(t.shape) for t in net(spec).build(shape, 10, 0).state_dict().values()]

    ends = [(10, 20), (10,)]
    assert layout({"net": "cnn_s"}, (1, 28, 28)) == [
        *((8, 1, 5, 5), (8,), (6, 8, 5, 5), (6,), (4, 6, 2, 2), (4,), (20, 36), (20,)),
        *ends,
    ]
    assert layout({"net": "cnn_l"}, IMAGE) == [
        *((16, 3, 3, 3), (16,), (32, 16, 3, 3), (32,), (15, 32, 3, 3), (15,), (20, 60), (20,)),
        *ends,
    ]
    assert layout({"net": "small_cnn"}, (1, 28, 28)) == [
        *((16, 1, 3, 3), (16,), (16, 16, 3, 3), (16,), (16, 16, 3, 3), (16,), (10, 16), (10,)),
    ]


@pytest.mark.parametrize("spec", SMALL, ids=str)
def test_keys_and_shapes_depend_on_sizes_alone(spec: dict[str, Any]) -> None:
    swept: dict[str, list[Any]] = {
        "activation": ["relu", "tanh"],
        "dropout": [0, 0.5],
        "init": [{}, {"method": "orthogonal", "scale": 0.3, "bias": 0.01}],
    }
    if spec["net"] not in PLAIN:
        swept["norm"] = list(NORMS.get(spec["net"], ("none", "batch", "layer")))
    if spec["net"] == "resnet":
        swept["skip"] = [True, False]
    seen = set()
    for values in itertools.product(*swept.values()):
        state = build({**spec, **dict(zip(swept, values, strict=True))}).state_dict()
        seen.add(tuple((k, tuple(v.shape), v.dtype) for k, v in state.items()))
    assert len(seen) == 1


@pytest.mark.parametrize("spec", SMALL, ids=str)
def test_weights_belong_to_the_seed(spec: dict[str, Any]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build(spec).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = build(spec).state_dict(), build(spec, seed=1).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in first.items())
    drawn = [k for k, v in first.items() if v.ndim > 1]
    assert not any(torch.equal(first[k], other[k]) for k in drawn)
    tanh = build({**spec, "activation": "tanh", "dropout": 0.5}).state_dict()
    assert all(torch.equal(v, tanh[k]) for k, v in first.items())  # a paired comparison
    half = build({**spec, "init": {"scale": 0.5}}).state_dict()
    assert all(torch.equal(half[k], 0.5 * first[k]) for k in drawn if not k.startswith(("token", "position")))


@pytest.mark.parametrize(
    ("method", "deviation"),
    [
        ("kaiming_normal", math.sqrt(2 / 300)),
        ("kaiming_uniform", math.sqrt(2 / 300)),
        ("xavier_normal", math.sqrt(2 / 800)),
        ("xavier_uniform", math.sqrt(2 / 800)),
        ("lecun_normal", math.sqrt(1 / 300)),
        ("lecun_uniform", math.sqrt(1 / 300)),
        ("normal", 1),
        ("uniform", 1 / math.sqrt(3)),
        ("unit_uniform", 1 / math.sqrt(12)),
        ("trunc_normal", 0.8796),  # of a normal cut at two deviations
        ("orthogonal", math.sqrt(1 / 500)),
    ],
)
def test_initialisation_has_its_deviation(method: str, deviation: float) -> None:
    spec = {"net": "mlp", "hidden": [500], "init": {"method": method, "scale": 2, "bias": 0.3, "bias_std": 0.1}}
    state = net(spec).build((300,), 10, 0).state_dict()
    weight, bias = state["hidden.0.linear.weight"] / 2, state["hidden.0.linear.bias"]
    assert float(weight.std()) == pytest.approx(deviation, rel=0.01)
    assert float(weight.mean()) == pytest.approx(0.5 if method == "unit_uniform" else 0, abs=0.01)
    assert float(bias.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(bias.std()) == pytest.approx(0.1, rel=0.1)
    if method == "orthogonal":
        torch.testing.assert_close(weight.T @ weight, torch.eye(300), atol=1e-5, rtol=0)
    if method in ("kaiming_uniform", "xavier_uniform", "lecun_uniform"):
        assert float(weight.abs().max()) <= math.sqrt(3) * deviation
    if method == "unit_uniform":
        assert float(weight.min()) >= 0


@pytest.mark.parametrize("spec", with_norms(SMALL), ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_stacked_equals_one_by_one(spec: dict[str, Any], training: bool) -> None:
    """Outputs, gradients and, after a step in training mode, buffers of three models under vmap."""
    x = inputs(spec)
    modules = [build(spec, seed).double().train(training) for seed in range(3)]
    x = x if not x.is_floating_point() else x.double()
    wanted, gradients = [], []
    parameters, buffers = stack_module_state(modules)
    base = modules[0]

    def loss(p: dict[str, Tensor], b: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        outputs: Tensor = functional_call(base, (p, b), (x,))
        return outputs.square().mean(), outputs

    trained = [k for k, _ in base.named_parameters()]
    losses, outputs = vmap(loss)(parameters, buffers)
    stacked = torch.autograd.grad(losses.sum(), [parameters[k] for k in trained], allow_unused=True)
    for module in modules:
        single = module(x)
        wanted.append(single)
        own = dict(module.named_parameters())
        gradients.append(torch.autograd.grad(single.square().mean(), [own[k] for k in trained], allow_unused=True))
    torch.testing.assert_close(outputs, torch.stack(wanted), rtol=0, atol=1e-6)
    for i, k in enumerate(trained):
        assert stacked[i] is not None, f"{k} has no gradient: it is a parameter that nothing uses"
        torch.testing.assert_close(stacked[i], torch.stack([g[i] for g in gradients]), rtol=1e-9, atol=1e-9)
    for k, b in buffers.items():
        torch.testing.assert_close(b, torch.stack([dict(m.named_buffers())[k] for m in modules]))


@pytest.mark.parametrize("spec", SMALL, ids=str)
def test_dropout_acts_in_training_alone(spec: dict[str, Any]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = inputs(spec)
        dropped, plain = build({**spec, "dropout": 0.5}).train(), build(spec).eval()
        sites = [m for m in dropped.modules() if isinstance(m, nn.Dropout)]
        assert sites and all(m.p == 0.5 for m in sites)
        assert torch.equal(dropped.eval()(x), plain(x))
        dropped.train()
        assert not torch.equal(dropped(x), dropped(x))


@pytest.mark.parametrize("spec", [{}, {"norm": "rms"}, {"heads": 1, "depth": 1}], ids=str)
def test_gpt_is_causal_to_the_bit(spec: dict[str, Any]) -> None:
    tokens = inputs({"net": "gpt"})
    module = build({**SMALL[-1], **spec}).eval()
    before = module(tokens)
    assert before.shape == (3, 24, 10)
    for place in (1, 11, 23):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % 10
        after = module(changed)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place:], before[:, place:], atol=1e-6)
    torch.testing.assert_close(module(tokens[:, :7]), before[:, :7])
    last = Gpt.model_validate({**SMALL[-1], **spec, "logits": "last"}).build((24,), 10, 0).eval()
    torch.testing.assert_close(last(tokens), before[:, -1])
    with pytest.raises(ValueError, match="25 tokens are more than the context of 24"):
        module(torch.zeros(1, 25, dtype=torch.long))


def test_attention_is_torchs_own() -> None:
    """A block against scaled_dot_product_attention, and so its masks, scale and heads."""
    block: Any = build(SMALL[-1]).blocks[0]  # type: ignore[index,union-attr]
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    y = block.norm1(x)
    q, k, v = (f(y).view(2, 5, 2, 8).transpose(1, 2) for f in (block.query, block.key, block.value))
    merged = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(2, 5, 16)
    z = x + block.merge(merged)
    wanted = z + block.down(nn.functional.gelu(block.up(block.norm2(z))))
    torch.testing.assert_close(block(x), wanted, rtol=1e-5, atol=1e-6)


def test_vit_cuts_an_image_into_its_patches() -> None:
    module: Any = net({"net": "vit", "width": 16, "heads": 2, "patch": 2}).build((1, 4, 6), 10, 0)
    seen = []
    module.patch.register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    image = torch.arange(24.0).view(1, 1, 4, 6)
    module(image)
    assert seen[0][0].tolist()[:2] == [[0, 1, 6, 7], [2, 3, 8, 9]]
    assert seen[0][0].tolist()[3] == [12, 13, 18, 19]


def test_own_networks_are_seeded_and_survive_a_round_trip() -> None:
    spec = net({"net": "own", "build": f"{__name__}:narrow"})
    first, again, other = (spec.build((64,), 4, seed)[1].weight for seed in (0, 0, 1))  # type: ignore[index]
    assert torch.equal(first, again) and not torch.equal(first, other)  # type: ignore[arg-type]
    assert net(spec.model_dump(mode="json")) == spec
    assert all(net(s) == net(net(s).model_dump(mode="json")) for s in SMALL)


def test_networks_of_a_pack_differ_in_initialisation_and_share_of_dropout_alone() -> None:
    one, same, other, none = (
        Recipe.model_validate({"data": {"source": "digits"}, "net": {"net": "mlp", **more}, "epochs": 1}).pack_key()
        for more in (
            {"dropout": 0.1},
            {"dropout": 0.4, "init": {"scale": 0.1}},
            {"dropout": 0.1, "activation": "tanh"},
            {},
        )
    )
    assert one == same
    assert one not in (other, none)


def images(n: int) -> Data:
    return Data.of({"train": Split(torch.zeros(4, 1, n, n), torch.tensor([0, 1, 2, 1]))})


TEXT = Text(source="text", max_bytes=2000, context=8)
MISFITS: list[tuple[dict[str, Any], Any, str]] = [
    (
        {"net": "resnet18"},
        TEXT,
        r"resnet18 takes images, but the data gives tokens \[8\]; .* tokens: gpt, encdec, rnn, gru, lstm, own",
    ),
    ({"net": "mlp"}, Markov(source="markov"), "mlp takes vectors or images, but the data gives tokens"),
    ({"net": "gpt"}, Digits(source="digits"), r"gpt takes tokens, but the data gives images \[1, 8, 8\]; .*small_cnn"),
    ({"net": "cnn"}, TeacherStudent(source="teacher_student"), r"cnn takes images, but the data gives vectors \[20\]"),
    ({"net": "gpt"}, Modular(source="modular", form="tokens"), "needs `logits: last`"),
    ({"net": "gpt", "logits": "last"}, TEXT, "needs `logits: all`"),
    ({"net": "cnn_s"}, Digits(source="digits"), "at least 20 pixels a side"),
    ({"net": "vit", "patch": 3}, Digits(source="digits"), "`patch: 3`, which does not divide"),
    ({"net": "own", "build": f"{__name__}:narrow"}, Digits(source="digits"), r"own gives \[2, 4\] .* needs \[2, 10\]"),
    ({"net": "own", "build": f"{__name__}:narrow"}, TEXT, "own can't take the data's tokens"),
]


def narrow() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))


@pytest.mark.parametrize(("spec", "data", "message"), MISFITS, ids=str)
def test_what_does_not_fit_says_why(spec: dict[str, Any], data: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_fit(net(spec), data.load(Path()))


@pytest.mark.parametrize(("name", "least"), [("cnn_s", 20), ("cnn_l", 22), ("small_cnn", 15)])
def test_smallest_images_are_as_told(name: str, least: int) -> None:
    check_fit(net({"net": name}), images(least))
    with pytest.raises(SpecError, match=f"at least {least} pixels"):
        check_fit(net({"net": name}), images(least - 1))


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        ({"net": "gpt"}, TEXT),
        ({"net": "gpt"}, Markov(source="markov")),
        ({"net": "gpt", "logits": "last"}, Modular(source="modular", modulus=11, form="tokens")),
        ({"net": "mlp"}, Modular(source="modular", modulus=11)),
        ({"net": "mlp"}, TeacherStudent(source="teacher_student", outputs=2)),
        ({"net": "mlp"}, Digits(source="digits")),
        ({"net": "vit"}, Digits(source="digits")),
        ({"net": "resnet18", "width": 2}, Digits(source="digits")),
    ],
    ids=str,
)
def test_what_fits_is_let_through(spec: dict[str, Any], data: Any) -> None:
    check_fit(net(spec), data.load(Path()))


def test_targets_that_would_be_broadcast_are_refused() -> None:
    data = Data.of({"train": Split(torch.zeros(4, 3), torch.zeros(4))})
    with pytest.raises(SpecError, match=r"must have the shape \[n, outputs\], not \[4\]"):
        check_fit(net({"net": "mlp"}), data)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"net": "gpt", "width": 10, "heads": 4}, "width must be a multiple of heads, but 10 is none of 4"),
        ({"net": "mlp", "dropout": 1.0}, "less than 1"),
        ({"net": "mlp", "init": {"method": "he"}}, "'kaiming_normal'"),
        ({"net": "mlp", "norm": "rms"}, "'none', 'batch' or 'layer'"),
        ({"net": "mlp", "train": {"epochs": 1}}, "Extra inputs"),
        (
            {"net": "kan"},
            "'mlp', 'cnn', 'cnn_s', 'cnn_l', 'small_cnn', 'resnet', 'resnet18', 'fixup_resnet', 'vit', 'dit', 'gpt'",
        ),
    ],
    ids=str,
)
def test_bad_specs_say_why(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        net(spec)
