"""Models of a pack that are drawn into one module begin with the bits of models that are built one by one."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.models import Mlp
from landsweep.sweeps.lab.models.catalogue import families
from landsweep.sweeps.lab.models.initialisation import Init
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.assembly import assemble, dtype_of, module_of
from landsweep.sweeps.lab.training.backends import BACKENDS
from landsweep.sweeps.lab.training.initial import Model, drawn
from tests.sweeps.lab.training.cases import digits, recipe

TOKENS = ("gpt", "encdec", "rnn", "gru", "lstm")
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [6, 5]},
    "cnn": {"channels": [3, 4]},
    "small_cnn": {"width": 3},
    "resnet": {"depth": 8, "width": 2},
    "resnet18": {"width": 2},
    "fixup_resnet": {"depth": 8, "width": 2},
    "vit": {"width": 8, "heads": 2, "patch": 8},
    "dit": {"width": 8, "heads": 2, "patch": 8},
    "gpt": {"width": 8, "heads": 2},
    "encdec": {"width": 8, "heads": 2, "source": 3, "encoder_depth": 1},
    "rnn": {"width": 4, "depth": 2},
}
NORMED = {"mlp": "batch", "cnn": "batch", "resnet": "batch", "resnet18": "layer", "vit": "rms", "gpt": "rms"}
METHODS = get_args(Init.model_fields["method"].annotation)
MUP = {"scheme": "mup", "base_width": 4}
OTHERS: list[dict[str, Any]] = [
    *({"net": {"net": family, **SMALL[family], "norm": norm}} for family, norm in NORMED.items()),
    *({"net": {"net": "mlp", "init": {"method": method, "bias": 0.3}}} for method in METHODS),
    {"net": {"net": "mlp", "init": {"scale": 1.7, "bias": 0.1, "bias_std": 0.2}, "dropout": 0.2}},
    {"net": {"net": "mlp", "hidden": [6], "norm": "batch", "ghost": 8}},
    {"net": {"net": "mlp", "hidden": [6], "harmonic": 2.0}},
    {"net": {"net": "mlp", "hidden": [6], "norm": "layer", "init": {"meta": {"steps": 3}}}},
    {"net": {"net": "cnn", "channels": [3, 4], "norm": "batch", "init": {"meta": {"steps": 2}}}},
    {"net": {"net": "gpt", **SMALL["gpt"], "qk_norm": True, "dropout": 0.1}},
    *({"net": {"net": family, **SMALL[family]}, "dtype": "float64"} for family in ("mlp", "resnet", "fixup_resnet")),
    *({"net": {"net": n, **SMALL[n]}, "parametrization": MUP} for n in ("mlp", "gpt")),
    {"net": {"net": "gpt", **SMALL["gpt"]}, "parametrization": MUP, "dtype": "float64"},
]  # fmt: skip


def data_of(net: str) -> Data:
    if net in TOKENS:
        return Data.of({"train": Split(torch.arange(10).repeat(2, 1), torch.zeros(2, dtype=torch.long))}, 10)
    return Data.of({"train": Split(torch.zeros(2, 3, 32, 32), torch.tensor([0, 9]))})


def bits(tensor: Tensor) -> bytes:
    return tensor.detach().numpy().tobytes()


def built(one: Recipe, data: Data) -> dict[str, Tensor]:
    module = module_of(one, data, Path())
    return dict(module.named_buffers()) | dict(module.named_parameters())


def models(recipes: list[Recipe], data: Data) -> dict[int, Model]:
    place = Path()
    return drawn(dict(enumerate(recipes)), data, place, lambda r: module_of(r, data, place), dtype_of(recipes[0]))


def every_family() -> list[dict[str, Any]]:
    return [{"net": {"net": family, **SMALL.get(family, {})}} for family in families(lambda net: not net.own_code)]


@pytest.mark.parametrize("fields", [*every_family(), *OTHERS], ids=str)
def test_each_tensor_has_the_bits_of_a_model_that_is_built_alone(fields: dict[str, Any]) -> None:
    data = data_of(fields["net"]["net"])
    recipes = [recipe(seed, **fields) for seed in (0, 1, 2, 7, 2**31)]
    found = models(recipes, data)
    assert sorted(found) == [0, 1, 2, 3, 4]
    for i, one in enumerate(recipes):
        alone = built(one, data)
        assert found[i].tensors.keys() == {n for n in alone if not n.endswith("dropout_mask")}
        for name, tensor in found[i].tensors.items():
            assert tensor.dtype == alone[name].dtype
            assert tensor.shape == alone[name].shape
            assert bits(tensor) == bits(alone[name]), name


def test_one_module_serves_models_that_differ_in_their_initialisation() -> None:
    inits: list[dict[str, Any]] = [{"scale": 0.3}, {"method": "orthogonal"}, {"bias": 2.0}, {}, {"bias_std": 0.1}]
    recipes = [recipe(i, net={"net": "mlp", "hidden": [6], "init": init}) for i, init in enumerate(inits)]
    stack = assemble(recipes, digits(), BACKENDS["bmm"], "cpu", Path()).stack
    for i, state in enumerate(stack.states_of(range(len(recipes)))):
        alone = built(recipes[i], digits())
        assert all(bits(t) == bits(alone[name]) for name, t in state.items())


def test_other_shares_of_dropout_need_other_modules() -> None:
    shares = [0.1, 0.1, 0.1, 0.4, 0.4, 0.4, 0.9]
    recipes = [recipe(i, net={"net": "mlp", "hidden": [6], "dropout": p}) for i, p in enumerate(shares)]
    found = models(recipes, digits())
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert [found[i].module.hidden[0].drop.p for i in found] == shares[:6]  # type: ignore[index,union-attr]


class _Mlp(Mlp):
    """Draws something when it is constructed that its initialisation leaves alone."""

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        module = super()._module(shape, classes, folder)
        module.register_buffer("features", torch.randn(3))
        return module


class _Remembers(Mlp):
    """What it draws depends on how often the module has been initialised."""

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        super()._initialise(module, source)
        module.count = getattr(module, "count", 0) + 1  # type: ignore[assignment]
        with torch.no_grad():
            next(module.parameters()).mul_(float(module.count))  # type: ignore[arg-type]


class _Halves(Mlp):
    """Changes what it does not draw."""

    @torch.no_grad()
    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        super()._initialise(module, source)
        module.get_parameter("hidden.0.norm.weight").mul_(0.5)


def test_each_model_is_drawn_into_the_module_as_it_was_constructed() -> None:
    network = _Halves(net="mlp", hidden=(6,), norm="layer")
    found = models([recipe(i).model_copy(update={"net": network}) for i in range(4)], digits())
    assert [found[i].tensors["hidden.0.norm.weight"].tolist() for i in range(4)] == [[0.5] * 6] * 4


@pytest.mark.parametrize("net", [_Mlp, _Remembers])
def test_networks_that_are_not_drawn_by_the_seed_alone_are_built_one_by_one(net: type[Mlp]) -> None:
    data = digits()
    recipes = [recipe(i).model_copy(update={"net": net(net="mlp", hidden=(6,))}) for i in range(5)]
    assert not models(recipes, data)
    stack = assemble(recipes, data, BACKENDS["vmap"], "cpu", Path()).stack
    for i, state in enumerate(stack.states_of(range(5))):
        alone = built(recipes[i], data)
        assert all(bits(t) == bits(alone[name]) for name, t in state.items())


def test_weights_that_depend_on_data_or_on_the_users_code_are_built_one_by_one() -> None:
    own = {"net": "own", "build": "torch.nn:Linear", "args": {"in_features": 64, "out_features": 10}}
    assert not models([recipe(i, net=own) for i in range(5)], digits())
    assert not models([recipe(i, grad_init={"steps": 1}) for i in range(5)], digits())
