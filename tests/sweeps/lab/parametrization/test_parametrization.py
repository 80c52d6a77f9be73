"""Parametrizations: the published tables, the two forms of muP, and every back-end."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.models import initialisation
from landsweep.sweeps.lab.parametrization import anatomy
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Ended, Evaluated, train_pack
from landsweep.sweeps.lab.training.segments import segments
from landsweep.sweeps.lab.training_units.tensor_tables import tensor_tables
from tests.sweeps.lab.parametrization.cases import ADAM, recipe_of, tensors_of
from tests.sweeps.lab.training.cases import blobs, digits, finals, recipe, run

SGD = {"method": "sgd", "learning_rate": 0.1}
GPT = {"net": "gpt", "width": 32, "depth": 4, "heads": 2}
NETS: dict[str, dict[str, Any]] = {
    "mlp": {"net": "mlp", "hidden": [32, 32]},
    "cnn": {"net": "cnn", "channels": [16, 32]},
    "resnet": {"net": "resnet", "depth": 8, "width": 16},
    "vit": {"net": "vit", "width": 32, "heads": 2, "depth": 2},
    "gpt": GPT,
}


def data_of(recipe: Recipe) -> Data:
    return recipe.data.load(Path())


@pytest.mark.parametrize(
    ("net", "roles"),
    [
        ({"net": "mlp", "hidden": [32, 32]}, "input bias hidden bias output bias"),
        (
            {"net": "cnn", "channels": [8, 16], "norm": "batch"},
            "input bias norm norm hidden bias norm norm output bias",
        ),
        (
            {"net": "resnet", "depth": 8, "width": 4, "norm": "none"},
            "input bias" + " hidden bias" * 6 + " output bias",
        ),
        (
            {**GPT, "depth": 1},
            "embedding embedding norm norm"
            + " hidden bias" * 4
            + " norm norm"
            + " hidden bias" * 2
            + " norm norm output",
        ),
        (
            {"net": "vit", "width": 32, "heads": 2, "depth": 1, "norm": "rms"},
            "input bias embedding norm" + " hidden bias" * 4 + " norm" + " hidden bias" * 2 + " norm output bias",
        ),
    ],
    ids=lambda v: v["net"] if isinstance(v, dict) else "",
)
def test_roles_are_read_off_the_shapes(net: dict[str, Any], roles: str) -> None:
    shape, classes = ((6,), 8) if net["net"] == "gpt" else ((1, 8, 8), 10)
    assert [p.role for p in anatomy(recipe_of(net, None).net, shape, classes)] == roles.split()


def test_the_table_of_mup() -> None:
    """arXiv 2203.03466, tables 3 and 8, at four times the base width; variances are 1/n."""
    net = {"net": "mlp", "hidden": [32, 32], "init": {"method": "lecun_normal"}}
    mup = {"scheme": "mup", "base_width": 8}
    base = 1 / math.sqrt(8)
    expected = {
        ("multiplier", "adam"): {"out.weight": (base, 1 / 4, 1, 1), "hidden.1.linear.weight": (base / 2, 1, 1 / 4, 4)},
        ("multiplier", "sgd"): {"out.weight": (base, 1 / 4, 4, 1 / 4), "hidden.1.linear.weight": (base / 2, 1, 1, 1)},
        ("rate", "adam"): {"out.weight": (base / 4, 1, 1 / 4, 4), "hidden.1.linear.weight": (base / 2, 1, 1 / 4, 4)},
        ("rate", "sgd"): {"out.weight": (base / 4, 1, 1 / 4, 4), "hidden.1.linear.weight": (base / 2, 1, 1, 1)},
    }
    for (form, family), rows in expected.items():
        m = 4.0 if family == "sgd" else 1.0
        rows |= {
            "hidden.0.linear.weight": (1 / 8, 1, m, 1 / m),
            "hidden.0.linear.bias": (0, 1, m, 1 / m),
            "out.bias": (0, 1, 1, 1),
        }
        optimizer = {**(ADAM if family == "adam" else SGD), "weight_decay": 1e-2}
        found = tensors_of(recipe_of(net, {**mup, "form": form}, optimizer))
        for name, (std, multiplier, rate, decay) in rows.items():
            line = found[name]
            got = (line.init_std, line.multiplier, line.learning_rate, line.weight_decay)
            wanted = (std, multiplier, rate * optimizer["learning_rate"], decay * 1e-2)
            assert got == pytest.approx(wanted, rel=1e-12), (form, family, name)


def test_the_table_of_completep() -> None:
    """arXiv 2505.01618, table 1 with alpha = 1 and 1/2: twice the width, four times the depth, AdamW."""
    optimizer = {"method": "adamw", "learning_rate": 1e-2, "weight_decay": 0.1, "eps": 1e-8}
    for alpha, rate in ((1.0, 1.0), (0.5, 0.5)):
        scheme = {"scheme": "completep", "base_width": 16, "base_depth": 1, "alpha": alpha}
        found = tensors_of(recipe_of(GPT, scheme, optimizer), (6,), 8)
        merge, up, token = (found[n] for n in ("blocks.0.merge.weight", "blocks.3.up.weight", "token.weight"))
        assert merge.multiplier == 4**-alpha and up.multiplier == 1
        assert merge.learning_rate == up.learning_rate == pytest.approx(1e-2 / 2 * rate)
        assert up.weight_decay == pytest.approx(0.1 * 2)
        assert up.eps == pytest.approx(1e-8 / 2 * 4**-alpha)
        assert token.eps == pytest.approx(1e-8 / 2) and token.learning_rate == 1e-2
        assert found["blocks.0.up.bias"].learning_rate == pytest.approx(1e-2 * rate)
        assert found["out.weight"].multiplier == 1 / 2
        shallow = tensors_of(recipe_of({**GPT, "depth": 1}, {**scheme, "base_width": 32}, optimizer), (6,), 8)
        assert merge.init_std == pytest.approx(shallow["blocks.0.merge.weight"].init_std)
    depth = {"scheme": "depth_mup", "base_width": 16, "base_depth": 1}
    half = tensors_of(recipe_of(GPT, {**scheme, "alpha": 0.5}, optimizer), (6,), 8)
    for name, line in tensors_of(recipe_of(GPT, depth, optimizer), (6,), 8).items():
        assert (line.multiplier, line.learning_rate) == (half[name].multiplier, half[name].learning_rate)


def test_initial_weights_have_the_deviations_of_the_table() -> None:
    wide = {"net": "mlp", "hidden": [512, 512]}
    for method in ("kaiming_normal", "xavier_uniform", "normal", "trunc_normal", "uniform", "orthogonal"):
        for scheme in ("mup", "ntk"):
            r = recipe_of({**wide, "init": {"method": method}}, {"scheme": scheme, "base_width": 64})
            for name, p in r.build((1, 8, 8), 10).named_parameters():
                line = tensors_of(r)[name]
                if p.ndim > 1:
                    assert float(p.detach().std()) == pytest.approx(line.init_std * line.multiplier, rel=0.05), (
                        method,
                        name,
                    )


def test_the_deviation_of_every_method_is_what_it_draws() -> None:
    for method in parse_methods():
        weight = torch.empty(300, 200)
        initialisation._draw(weight, method, torch.Generator().manual_seed(0))
        centred = weight - (0.5 if method == "unit_uniform" else 0)
        assert float(centred.std()) == pytest.approx(initialisation.deviation(method, 200, 300), rel=0.02), method


def parse_methods() -> list[str]:
    return list(initialisation.Init.model_fields["method"].annotation.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("scheme", ["mup", "ntk", "embedding_rate", "completep", "depth_mup"])
def test_at_the_base_size_every_scheme_is_the_standard_one(net: str, scheme: str) -> None:
    residual = scheme in ("completep", "depth_mup")
    if residual and net in ("mlp", "cnn"):
        with pytest.raises(SpecError, match="has none; use resnet, vit, dit, gpt or encdec"):
            parse(
                Recipe,
                recipe_of(NETS[net], None).model_dump() | {"parametrization": _at_base(net, scheme)},
                "recipe",
            )
        return
    plain, changed = recipe_of(NETS[net], None), recipe_of(NETS[net], _at_base(net, scheme))
    data = data_of(plain)
    first, second = (r.build(data.shape, data.outputs).state_dict() for r in (plain, changed))
    assert all(torch.equal(v, second[k]) for k, v in first.items())
    layout = Layout.of(plain.build(data.shape, data.outputs))
    assert len(segments(layout, [changed.factors(data.shape, data.outputs)], torch.device("cpu"))) == 1


def _at_base(net: str, scheme: str) -> dict[str, Any]:
    width = NETS[net].get("width") or (NETS[net].get("hidden") or NETS[net]["channels"])[0]
    depth = {"base_depth": NETS[net].get("depth", 2)} if scheme in ("completep", "depth_mup") else {}
    return {"scheme": scheme, "base_width": width, **depth}


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    "optimizer", [{**ADAM, "method": "adamw", "eps": 1e-30}, {**SGD, "momentum": 0.9}], ids=["adamw", "sgd"]
)
def test_both_forms_of_mup_are_the_same_function_with_the_same_updates(net: str, optimizer: dict[str, Any]) -> None:
    decay = {**optimizer, "weight_decay": 1e-2}
    forms = [{"scheme": "mup", "base_width": 8, "form": form} for form in ("multiplier", "rate")]
    recipes = [recipe_of(NETS[net], form, decay).model_copy(update={"dtype": "float64"}) for form in forms]
    data = data_of(recipes[0])
    first, second = (r.build(data.shape, data.outputs).state_dict() for r in recipes)
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=1e-5, atol=0)
    ends = finals(run(recipes, data, "loop"))
    moved = [float((ends[0][k].double() - first[k].double()).abs().max()) for k in ends[0]]
    assert max(moved) > 1e-3
    for name, tensor in ends[0].items():
        if tensor.is_floating_point():
            torch.testing.assert_close(ends[1][name], tensor, rtol=1e-4, atol=1e-6)


class Multiplied(nn.Module):
    """A perceptron with explicit multipliers, trained in the tensors as a scheme stores them: an independent oracle."""

    def __init__(self, recipe: Recipe, data: Data) -> None:
        super().__init__()
        self.lines = tensors_of(recipe, data.shape, data.outputs)
        acting = recipe.build(data.shape, data.outputs).double()
        self.stored = nn.ParameterDict(
            {n.replace(".", "/"): p.detach() / self.lines[n].multiplier for n, p in acting.named_parameters()}
        )

    def acting(self) -> dict[str, Tensor]:
        return {n: self.stored[n.replace(".", "/")] * line.multiplier for n, line in self.lines.items()}

    def forward(self, x: Tensor) -> Tensor:
        w = self.acting()
        x = x.flatten(1)
        for layer in ("hidden.0.linear", "hidden.1.linear"):
            x = torch.relu(x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])
        return x @ w["out.weight"].T + w["out.bias"]

    def groups(self) -> list[dict[str, Any]]:
        return [
            {"params": [self.stored[n.replace(".", "/")]], "lr": t.learning_rate, "weight_decay": t.weight_decay}
            | ({"eps": t.eps} if t.eps is not None else {})
            for n, t in self.lines.items()
        ]


PEERS: dict[str, Any] = {
    "sgd": lambda g: torch.optim.SGD(g, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadamw": lambda g: torch.optim.NAdam(g, decoupled_weight_decay=True),
    "rmsprop": lambda g: torch.optim.RMSprop(g, alpha=0.99),
}


@pytest.mark.parametrize("method", PEERS)
@pytest.mark.parametrize("scheme", ["mup", "ntk"])
def test_training_the_acting_weights_is_training_the_stored_ones(method: str, scheme: str) -> None:
    """Per-tensor factors against torch with explicit multipliers and one parameter group per tensor."""
    extra = {"momentum": 0.9} if method == "sgd" else {"eps": 1e-4}
    optimizer = {"method": method, "learning_rate": 1e-2, "weight_decay": 1e-2, **extra}
    r = recipe(
        net={"net": "mlp", "hidden": [32, 32]},
        optimizer=optimizer,
        parametrization={"scheme": scheme, "base_width": 8},
        steps=6,
        batch_size=1400,
        dtype="float64",
    )
    data = digits()
    module = Multiplied(r, data)
    peer = PEERS[method](module.groups())
    for _ in range(6):
        peer.zero_grad()
        F.cross_entropy(module(data.splits["train"].inputs.double()), data.splits["train"].targets).backward()
        peer.step()
    ended = finals(run([r], data, "loop"))[0]
    for name, tensor in module.acting().items():
        torch.testing.assert_close(ended[name], tensor.detach(), rtol=1e-7, atol=1e-9)


def test_every_backend_and_models_without_one_in_the_same_pack() -> None:
    mup = {"scheme": "mup", "base_width": 4}
    pack = [
        recipe(seed, parametrization=p, optimizer=ADAM)
        for seed, p in ((0, mup), (1, None), (2, {**mup, "base_width": 8}))
    ]
    assert len({r.pack_key() for r in pack}) == 1
    alone = [finals(run([r], digits(), "loop"))[0] for r in pack]
    for backend in ("loop", "vmap", "bmm"):
        together = finals(run(pack, digits(), backend))
        for i, one in enumerate(alone):
            for name, tensor in one.items():
                torch.testing.assert_close(together[i][name], tensor, rtol=1e-4, atol=1e-5)
    wide = {"net": "cnn", "channels": [4, 8]}
    both = [recipe(s, net=wide, parametrization={"scheme": "mup", "base_width": 2}, optimizer=ADAM) for s in (0, 1)]
    packed, single = finals(run(both, blobs(), "vmap")), finals(run(both[1:], blobs(), "loop"))[0]
    for name, tensor in single.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(packed[1][name], tensor, rtol=1e-3, atol=1e-4)


def test_a_training_with_segments_can_be_kept_and_gone_on_with() -> None:
    options = {"optimizer": {"method": "nadamw", "learning_rate": 1e-2}, "evaluate": {"every_steps": 10}}
    pack = [recipe(s, parametrization={"scheme": "mup", "base_width": 4}, **options) for s in (0, 1)]
    whole = finals(run(pack, digits(), "bmm"))
    training = train_pack(pack, digits(), backend="bmm")
    for event in training:
        if isinstance(event, Evaluated) and event.step == 20:
            break
    state = training.state()
    again = list(train_pack(pack, digits(), backend="bmm", resume=state))
    assert [e.index for e in again if isinstance(e, Ended)] == [0, 1]
    assert all(torch.equal(finals(again)[i][n], t) for i in whole for n, t in whole[i].items())


def test_zero_starts_at_zero_and_stays_trainable() -> None:
    r = recipe_of(GPT, {"scheme": "mup", "base_width": 8, "zero": ["output", "query"]})
    data = data_of(r)
    state = r.build(data.shape, data.outputs).state_dict()
    assert not state["out.weight"].any() and not state["blocks.0.query.weight"].any()
    ended = finals(run([r], data, "loop"))[0]
    assert ended["out.weight"].any() and ended["blocks.0.query.weight"].any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parametrization": {"scheme": "mup"}}, "base_width: missing"),
        ({"parametrization": {"scheme": "mu"}}, "standard.*mup.*completep"),
        ({"parametrization": {"scheme": "mup", "base_width": 8, "base_depth": 2}}, "no residual blocks to count"),
        ({"parametrization": {"scheme": "mup", "base_width": 8}, "net": {"net": "mlp", "hidden": []}}, "has none"),
        ({"parametrization": {"scheme": "mup", "base_width": 8}, "net": {"net": "cnn_s"}}, "has none"),
        (
            {
                "parametrization": {"scheme": "mup", "base_width": 8},
                "optimizer": {"method": "class", "name": "torch.optim:Adagrad", "learning_rate": 0.1},
            },
            "no rules for the optimizer class: a class says nothing",
        ),
        (
            {"parametrization": {"scheme": "mup", "base_width": 9}, "net": {"net": "vit", "heads": 2}},
            r"base_width 9, which the network's 2 heads do not divide; base_heads may be 1, 3, 9",
        ),
        (
            {
                "parametrization": {"scheme": "mup", "base_width": 8},
                "net": {"net": "vit", "width": 24, "heads": 6},
            },
            "the network's 6 heads do not divide; base_heads: 2 gives it heads as wide as the network's, 4",
        ),
        (
            {
                "parametrization": {"scheme": "completep", "base_width": 10, "base_heads": 4, "base_depth": 2},
                "net": {"net": "vit"},
            },
            "base_width 10, which base_heads: 4 does not divide; base_heads may be 1, 2, 5, 10",
        ),
        (
            {"parametrization": {"scheme": "mup", "base_width": 8, "base_depth": 3}, "net": {"net": "resnet"}},
            "base_depth 3, at which resnet has no residual block",
        ),
        (
            {
                "parametrization": {"scheme": "completep", "base_width": 8, "base_depth": 8},
                "net": {"net": "resnet", "skip": False},
            },
            r"a resnet without shortcuts has none; set net\.skip: true",
        ),
        (
            {"parametrization": {"scheme": "mup", "base_width": 8}, "net": {"net": "mlp", "hidden": []}},
            r"an mlp without hidden layers has none; give net\.hidden at least one",
        ),
        (
            {
                "parametrization": {"scheme": "standard", "zero": ["output"]},
                "net": {"net": "own", "build": "m:f", "args": {"a": [1]}},
            },
            "needs a width to tell the output layer by, and own has none",
        ),
        ({"parametrization": {"scheme": "completep", "base_width": 8}, "net": {"net": "vit"}}, "base_depth: missing"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(fields: dict[str, Any], message: str) -> None:
    data: dict[str, Any] = {"data": {"source": "digits"}, "net": {"net": "mlp"}, "steps": 1, **fields}
    with pytest.raises(SpecError, match=message):
        parse(Recipe, data, "recipe")


@pytest.mark.parametrize(
    "net",
    [
        {"net": "own", "build": f"{__name__}:stack", "args": {"widths": [4, 3], "more": {"bias": [True]}}},
        {"net": "mlp", "hidden": []},
        {"net": "cnn_s"},
    ],
)
def test_networks_without_a_width_have_the_standard_scheme_and_a_table_of_tensors(net: dict[str, Any]) -> None:
    """So that an axis over schemes may hold it, and `plan --tensors` shows what is trained."""
    plain, standard = recipe_of(net, None), recipe_of(net, {"scheme": "standard"})
    data = data_of(plain)
    first, second = (r.build(data.shape, data.outputs) for r in (plain, standard))
    assert all(torch.equal(v, second.state_dict()[k]) for k, v in first.state_dict().items())
    assert standard.factors(data.shape, data.outputs) is None
    (table,) = tensor_tables([plain, standard], Workbench())
    assert [line[:2] for line in table.lines] == [
        [name, "x".join(map(str, p.shape))] for name, p in first.named_parameters()
    ]
    for line, p in zip(table.lines, first.parameters(), strict=True):
        assert line[3] == pytest.approx(float(p.detach().double().std(correction=0)))
        assert line[4:6] == [1.0, plain.optimizer.learning_rate]


def stack(widths: list[int], more: dict[str, list[bool]]) -> nn.Module:
    sizes = [64, *widths, 10]
    return nn.Sequential(nn.Flatten(), *(nn.Linear(a, b, more["bias"][0]) for a, b in itertools.pairwise(sizes)))


def test_recipes_without_a_parametrization_keep_their_identity() -> None:
    assert "parametrization" not in recipe().model_dump(mode="json")
    assert copy.deepcopy(recipe()).pack_key() == recipe(parametrization={"scheme": "standard"}).pack_key()
