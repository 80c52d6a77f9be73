"""Weight decay that does not depend on the learning rate, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.optim import Method, OptimizerSpec
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import Gradients, StackedUpdater
from tests.sweeps.lab.optim.problem import Bag, methods, recipes, slope, trained

STEPS = 30


def walked(settings: list[dict[str, object]], *, flat: bool) -> torch.Tensor:
    """Weights [K, P] after some steps of a linear schedule; without any slope where `flat`."""
    stack = Stack([Bag(0, torch.float64) for _ in settings], "cpu")
    updater = StackedUpdater(methods(settings), stack)
    rates = Rates(recipes(settings, schedule={"shape": "linear"}), STEPS)
    for step in range(STEPS):
        grads = torch.zeros_like(stack.weights) if flat else slope(stack.weights)
        updater.step(stack, Gradients(grads, torch.zeros(len(stack)), lambda: stack.weights), rates, step)
    return stack.weights


@pytest.mark.parametrize("method", ["sgdw", "adamw_independent"])
def test_without_a_slope_weights_shrink_by_the_schedule_whatever_the_rate(method: str) -> None:
    settings: list[dict[str, object]] = [
        {"method": method, "learning_rate": rate, "weight_decay": wd} for rate in (1e-3, 0.5) for wd in (0.01, 0.2)
    ]
    start = Stack([Bag(0, torch.float64)], "cpu").weights[0]
    shrunk = [math.prod(1 - (1 - s / STEPS) * wd for s in range(STEPS)) for wd in (0.01, 0.2)]
    torch.testing.assert_close(
        walked(settings, flat=True), torch.stack([start * c for c in shrunk * 2]), rtol=1e-12, atol=0
    )


def test_of_sgd_it_is_l2_with_the_decay_over_the_rate() -> None:
    """Proposition 1 of arXiv 1711.05101."""
    sgdw = walked([{"method": "sgdw", "learning_rate": 0.05, "weight_decay": 0.01}], flat=False)
    sgd = walked([{"method": "sgd", "learning_rate": 0.05, "weight_decay": 0.01 / 0.05}], flat=False)
    torch.testing.assert_close(sgdw, sgd, rtol=1e-12, atol=1e-14)


def test_of_adam_no_l2_is_the_same() -> None:
    """Proposition 2: here the decay that would do it differs from weight to weight."""
    wanted, _, _ = trained(
        [{"method": "adamw_independent", "learning_rate": 0.01, "weight_decay": 0.01}], torch.float64
    )
    for decay in (0.01, 0.1, 1.0, 10.0):
        l2, _, _ = trained([{"method": "adam", "learning_rate": 0.01, "weight_decay": decay}], torch.float64)
        assert float((l2.weights - wanted.weights).abs().max()) > 1e-2


def test_with_a_fixed_rate_it_is_adamw_with_the_decay_over_the_rate() -> None:
    each = [
        {"method": "adamw_independent", "learning_rate": 0.01, "weight_decay": 0.002},
        {"method": "adamw", "learning_rate": 0.01, "weight_decay": 0.2},
    ]
    a, b = (trained([s], torch.float64)[0].weights for s in each)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("wrong", [{"weight_decay": 1.0}, {"weight_decay": -0.1}, {"nesterov": True}])
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[Method](OptimizerSpec).validate_python({"method": "sgdw", **wrong})


def test_no_parametrization_has_rules_for_it() -> None:
    with pytest.raises((SpecError, ValidationError), match="does not follow the learning rate"):
        recipes([{"method": "adamw_independent"}], parametrization={"scheme": "mup", "base_width": 8})
