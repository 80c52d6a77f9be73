"""Which optimizers parametrizations have rules for: their steps scale as they say; the rules do what they are for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.optim import Method
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import Gradients, StackedUpdater
from tests.sweeps.lab.training.cases import digits, finals, recipe, run


def _methods(base: type[Method]) -> Iterator[tuple[str, type[Method]]]:
    """Each method by its tag; a class that several share has none."""
    for c in base.__subclasses__():
        for tag in get_args(c.model_fields["method"].annotation):
            yield str(tag), c
        yield from _methods(c)


METHODS = dict(_methods(Method))
RULED = sorted(m for m, c in METHODS.items() if c.family)
SERVES_ALL = {"muon": {"ends": True}}  # a lone matrix is none between the first and the last


@pytest.mark.parametrize("method", RULED)
def test_a_method_with_a_family_steps_tensor_by_tensor_and_scales_as_it_says(method: str) -> None:
    """With coefficients of its own for each tensor it makes the step that it makes at once; a gradient times c gives a
    step times c, or the same.

    Gradients keep away from zero: beside one that small, `eps` counts, and a method does not scale exactly.
    """
    torch.manual_seed(0)
    c = METHODS[method]
    settings = {"learning_rate": 0.1, "weight_decay": 0.01 * c.decoupled, **SERVES_ALL.get(method, {})}
    spec = c.model_validate({"method": method, **settings})
    modules = [nn.Linear(3, 4).double(), nn.Linear(3, 4).double()]
    plain = {n: {"learning_rate": 1.0} for n in ("weight", "bias")}
    changed = {"weight": {"learning_rate": 1.0}, "bias": {"learning_rate": 1.0, "weight_decay": 1 + 1e-12}}
    rates = Rates([recipe(), recipe()], 5)
    ends = []
    for each, factor in ((plain, 1.0), (changed, 1.0), (plain, 64.0)):
        stack = Stack(modules, "cpu")
        start = stack.weights.clone()
        updater = StackedUpdater([spec, spec], stack, None, [each, each])
        for step in range(4):
            wave = torch.sin(3 * start + step)
            grads = (wave + wave.sign()) * factor
            updater.step(stack, Gradients(grads, torch.zeros(2), start.clone), rates, step)
        ends.append(stack.weights - start)
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-9, atol=1e-12)
    wanted = ends[0] * 64 if spec.family == "sgd" else ends[0]
    torch.testing.assert_close(ends[2], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", RULED)
def test_factors_of_a_tensor_scale_its_step_and_no_other(method: str) -> None:
    c = METHODS[method]
    spec = c.model_validate({"method": method, "learning_rate": 0.1, "weight_decay": 0.0, **SERVES_ALL.get(method, {})})
    module = nn.Linear(3, 4).double()
    ends = []
    for factor in (1.0, 0.25):
        stack = Stack([module], "cpu")
        start = stack.weights.clone()
        factors = {"weight": {"learning_rate": factor}, "bias": {"learning_rate": 1.0}}
        updater = StackedUpdater([spec], stack, None, [factors])
        updater.step(stack, Gradients(torch.sin(start), torch.zeros(1), start.clone), Rates([recipe()], 5), 0)
        ends.append(stack.layout.split(stack.weights - start))
    torch.testing.assert_close(ends[1]["weight"], ends[0]["weight"] / 4)
    torch.testing.assert_close(ends[1]["bias"], ends[0]["bias"])
    assert float(ends[0]["weight"].abs().min()) > 0


@pytest.mark.parametrize("method", sorted(m for m, c in METHODS.items() if not c.family and m != "class"))
def test_methods_without_a_rule_are_refused_with_the_reason(method: str) -> None:
    fields = {"data": {"source": "digits"}, "net": {"net": "mlp"}, "steps": 1, "optimizer": {"method": method}}
    scheme = {"scheme": "mup", "base_width": 8}
    with pytest.raises(SpecError, match=f"no rules for the optimizer {method}: ") as refused:
        parse(Recipe, {**fields, "parametrization": scheme}, "recipe")
    assert METHODS[method].unruled in str(refused.value) and METHODS[method].unruled != Method.unruled


def stepped(
    width: int, optimizer: Mapping[str, Any], scheme: str = "mup", seed: int = 0
) -> tuple[Any, dict[str, Tensor]]:
    """A perceptron of three layers, and its weights after one step on all digits."""
    net = {"net": "mlp", "hidden": [width, width], "activation": "tanh", "init": {"method": "lecun_normal"}}
    parametrization = {"scheme": scheme, "base_width": 64}
    fields = {"net": net, "optimizer": optimizer, "parametrization": parametrization}
    r = recipe(seed, **fields, steps=1, batch_size=1400, dtype="float64")
    module = r.build((1, 8, 8), 10).double()
    return module, {n: t.double() for n, t in finals(run([r], digits(), "loop"))[0].items()}


@pytest.mark.parametrize("match", [False, True])
def test_singular_values_of_muons_steps_follow_the_spectral_condition(match: bool) -> None:
    """In proportion to the root of outputs / inputs (arXiv 2310.17813), within what five rounds leave of precision."""
    largest = {}
    for width in (64, 256):
        optimizer = {"method": "muon", "learning_rate": 1e-3, "ends": True, "match": match, "rounds": 12}
        module, after = stepped(width, optimizer)
        for name, p in module.named_parameters():
            if p.ndim == 2:
                step = after[name] - p.detach()
                largest[name, width] = float(torch.linalg.matrix_norm(step, 2)) / math.sqrt(p.shape[0] / p.shape[1])
    for name in ("hidden.0.linear.weight", "hidden.1.linear.weight", "out.weight"):
        assert largest[name, 256] == pytest.approx(largest[name, 64], rel=0.3), name  # a factor of 2 or 4 where wrong


@pytest.mark.parametrize(
    "optimizer",
    [
        {"method": "adam", "learning_rate": 1e-4},
        {"method": "sgd", "learning_rate": 1e-2},
        {"method": "muon", "learning_rate": 1e-3, "ends": True},
    ],
    ids=lambda o: str(o["method"]),
)
def test_under_ntk_the_function_moves_by_as_much_in_every_width_and_features_by_less(optimizer: dict[str, Any]) -> None:
    """Slopes of log2 root mean square change over log2 width after the first step: 0 of outputs, -1/2 of features."""
    x = digits().splits["train"].inputs[:200].double()
    widths, slopes = (128, 512), {}
    for scheme in ("ntk", "standard"):
        moved = []
        for width in widths:
            each = []
            for seed in (0, 1):
                module, after = stepped(width, optimizer, scheme, seed)
                before = module(x).detach(), _features(module, x)
                module.load_state_dict(after)
                each.append(
                    [
                        math.log2(_rms(b - a))
                        for a, b in zip(before, (module(x).detach(), _features(module, x)), strict=True)
                    ]
                )
            moved.append(np.mean(each, 0))
        slopes[scheme] = (moved[1] - moved[0]) / math.log2(widths[1] / widths[0])
    assert abs(slopes["ntk"][0]) <= 0.2
    assert slopes["ntk"][1] == pytest.approx(-0.5, abs=0.2)
    assert slopes["standard"][0] > 0.35


def _features(module: Any, x: Tensor) -> Tensor:
    return module.hidden[1].linear(torch.tanh(module.hidden[0].linear(x.flatten(1)))).detach()


def _rms(change: Tensor) -> float:
    return float(change.square().mean().sqrt())
