"""Coefficients that are computed for many steps at once: the same bits as in each step by itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from landsweep.sweeps.lab.optim import Method
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import Gradients, StackedUpdater
from tests.sweeps.lab.optim.cases import Settings, case
from tests.sweeps.lab.optim.problem import Bag, methods, recipes, slope

STEPS = 150  # more than are prepared at once
METHODS = ("adam", "adamw", "adamw_independent")
WIDE = [(7, 5), (7,), (3, 7)]


def walked(settings: list[Settings], seeds: list[int], dtype: torch.dtype) -> Tensor:
    """Weights [K, P] after STEPS steps of a cosine."""
    stack = Stack([Bag(seed, dtype, WIDE) for seed in seeds], "cpu")
    updater = StackedUpdater(methods(settings), stack)
    rates = Rates(recipes(settings, schedule={"shape": "cosine"}), STEPS)
    for step in range(STEPS):
        gradients = Gradients(slope(stack.weights), torch.zeros(len(stack), dtype=dtype), lambda: stack.weights)
        updater.step(stack, gradients, rates, step)
    return stack.weights


def models(method: str, beta2s: list[float]) -> list[Settings]:
    rates = (0.01, 0.03, 0.002)
    return case(
        method, *({"learning_rate": r, "beta2": b, "weight_decay": 0.02} for r, b in zip(rates, beta2s, strict=False))
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_many_steps_at_once_are_the_steps_by_themselves(
    method: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = models(method, [0.99, 0.9, 0.999])
    found = walked(settings, [1, 2, 3], dtype)
    monkeypatch.setattr(type(methods(settings)[0]), "ready", Method.ready)
    assert torch.equal(found, walked(settings, [1, 2, 3], dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta2", [0.3, 0.999])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_does_not_depend_on_whether_others_share_its_settings(
    method: str, beta2: float, dtype: torch.dtype
) -> None:
    alike, unlike = models(method, [beta2, beta2]), models(method, [beta2, 0.5])
    assert torch.equal(walked(alike, [1, 2], dtype)[0], walked(unlike, [1, 2], dtype)[0])


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_left_steps_out_count_fewer_steps(method: str) -> None:
    """A constant rate: then a model that left some steps out is one that made fewer."""
    settings = models(method, [0.99, 0.9])
    more: dict[str, Any] = {"schedule": {"shape": "constant"}}

    def alone(row: int, steps: int) -> Tensor:
        stack = Stack([Bag(row, torch.float32, WIDE)], "cpu")
        updater, rates = (
            StackedUpdater(methods(settings[row : row + 1]), stack),
            Rates(recipes(settings, **more), STEPS),
        )
        rates.take([row])
        for step in range(steps):
            updater.step(stack, Gradients(slope(stack.weights), torch.zeros(1), lambda: stack.weights), rates, step)
        return stack.weights[0]

    stack = Stack([Bag(row, torch.float32, WIDE) for row in range(2)], "cpu")
    updater, rates = StackedUpdater(methods(settings), stack), Rates(recipes(settings, **more), STEPS)
    for step in range(80):
        gradients = Gradients(slope(stack.weights), torch.zeros(2), lambda: stack.weights)
        updater.step(stack, gradients, rates, step, [1] if step in (3, 4, 70) else [])
    torch.testing.assert_close(stack.weights[0], alone(0, 80), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(stack.weights[1], alone(1, 77), rtol=1e-6, atol=1e-7)
    assert float((stack.weights[1] - alone(1, 80)).abs().max()) > 1e-4
