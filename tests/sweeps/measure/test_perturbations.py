"""Quantisation and pruning: quadratic losses, for which two orders are exact, and rules written out here."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.measure.measures.pruning import Pruning
from landsweep.sweeps.measure.measures.quantisation import Quantisation, quantised
from landsweep.sweeps.measure.subject import Samples
from tests.support.subjects import samples_of, subject_of

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NUMBERS = samples_of(X, X @ torch.ones(5, 3).double(), "mse", 16)
CLASSES = samples_of(X, torch.arange(40) % 3, batch_size=16)


def linear(seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(5, 3).double()


def tanh(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def values(measure: Any, module: nn.Module, samples: Samples) -> dict[str, Any]:
    return dict(measure.of_one(subject_of(module, samples=samples)).values)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_two_orders_are_exact_on_a_quadratic_loss(bits: int) -> None:
    module = linear()
    measured = values(Quantisation(bits=bits), module, NUMBERS)
    with torch.no_grad():
        weight, levels = module.weight.detach(), 2 ** (bits - 1) - 1
        scale = weight.abs().max() / levels
        rounded = (weight / scale).round() * scale
        losses = [F.mse_loss(F.linear(X, w, module.bias), NUMBERS.targets) for w in (weight, rounded)]
    change = float(losses[1] - losses[0])
    assert measured["quantisation_loss_change"] == pytest.approx(change, rel=1e-9)
    assert measured["quantisation_hessian"] == pytest.approx(change, rel=1e-9)
    assert measured["quantisation_path"] == pytest.approx(change, rel=1e-9)
    assert measured["quantisation_gradient"] != pytest.approx(change, rel=1e-3)
    assert measured["quantisation_error"] == pytest.approx(float((rounded - weight).norm() / weight.norm()))
    assert measured["quantisation_accuracy"] is None


def test_the_path_integral_is_the_change_whatever_the_network() -> None:
    measured = Quantisation(bits=3, path_points=16).of_one(subject_of(tanh(), samples=CLASSES))
    change, path = (measured.values[f"quantisation_{n}"] for n in ("loss_change", "path"))
    assert path == pytest.approx(change, rel=1e-8)
    assert sum(measured.curves["quantisation_path_of_tensors"]) == pytest.approx(change)
    assert len(measured.curves["quantisation_loss_change_of_tensors"]) == 2


def test_tensors_alone_are_quantised_alone() -> None:
    both = Quantisation(bits=4).of_one(subject_of(tanh(), samples=CLASSES))
    for i, pattern in enumerate(("0.*", "2.weight")):
        one = Quantisation(bits=4, tensors=(pattern,)).of_one(subject_of(tanh(), samples=CLASSES))
        if pattern == "2.weight":
            alone = {n: one.values[f"quantisation_{n}"] for n in ("loss_change", "gradient", "hessian")}
            assert list(alone.values()) == pytest.approx(
                [both.curves[f"quantisation_{n}_of_tensors"][i] for n in alone], rel=1e-9
            )
        else:
            assert len(one.curves["quantisation_path_of_tensors"]) == 2  # weight and bias
    with pytest.raises(SpecError, match=r"'head' is the name of no trained parameter; there are 0.weight"):
        Quantisation(tensors=("head",)).of_one(subject_of(tanh(), samples=CLASSES))


def test_values_of_few_bits() -> None:
    weight = torch.tensor([-1.0, -0.4, 0.1, 0.6, 0.8])
    assert quantised(weight, 2).tolist() == pytest.approx([-1, 0, 0, 1, 1])
    assert quantised(weight, 3).tolist() == pytest.approx([-1, -1 / 3, 0, 2 / 3, 2 / 3])
    assert quantised(torch.zeros(3), 4).tolist() == [0, 0, 0]


def test_more_bits_err_less_and_accuracy_is_that_of_the_quantised_network() -> None:
    errors = [values(Quantisation(bits=b), tanh(), CLASSES)["quantisation_error"] for b in (3, 6, 12)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0] / 100
    module = tanh()
    accuracy = values(Quantisation(bits=2), module, CLASSES)["quantisation_accuracy"]
    with torch.no_grad():
        for layer in (module[0], module[2]):
            layer.weight.copy_(quantised(layer.weight, 2))
        assert accuracy == pytest.approx(float((module(X).argmax(1) == CLASSES.targets).double().mean()))


class Diagonal(nn.Module):
    """Outputs sqrt(h) (w - c), whose mean square has a diagonal Hessian; c is where the loss is least."""

    def __init__(self, h: Tensor, c: Tensor, w: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(w[None])
        self.register_buffer("root", h.sqrt())
        self.register_buffer("centre", c)

    def forward(self, x: Tensor) -> Tensor:
        return (self.root * (self.weight - self.centre)).expand(len(x), -1)


def diagonal(seed: int, size: int = 7) -> tuple[nn.Module, Samples, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    h, w = torch.rand(size, generator=g).double() * 5, torch.randn(size, generator=g).double()
    samples = samples_of(torch.zeros(4, 1).double(), torch.zeros(4, size).double(), "mse")
    return Diagonal(h, w.clone(), w), samples, h, w  # at its minimum


@pytest.mark.parametrize("seed", range(20))
def test_pruning_by_a_diagonal_hessian_is_the_best_of_all_choices(seed: int) -> None:
    module, samples, h, w = diagonal(seed)
    result = values(Pruning(density=4 / 7, by="hessian", probes=1), module, samples)
    rise = (h * w**2 / 7).tolist()
    best = min(sum(rise[i] for i in gone) for gone in itertools.combinations(range(7), 3))
    assert result["pruning_loss_change"] == pytest.approx(best, rel=1e-9)
    assert result["pruning_hessian"] == pytest.approx(best, rel=1e-9)
    assert result["pruning_diagonal"] == pytest.approx(best, rel=1e-9)
    assert result["pruning_density"] == pytest.approx(4 / 7)


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("density", [0.25, 0.6, 1.0])
def test_pruning_by_magnitude(scope: str, density: float) -> None:
    module = tanh(1)
    measured = Pruning(density=density, scope=scope).of_one(subject_of(module, samples=CLASSES))  # type: ignore[arg-type]
    with torch.no_grad():
        weights = [module[0].weight, module[2].weight]
        every = torch.cat([w.abs().flatten() for w in weights])
        for w in weights:
            pool = every if scope == "global" else w.abs().flatten()
            gone = len(pool) - round(density * len(pool))
            least = pool.sort().values[gone - 1] if gone else -1
            w.mul_(w.abs() > least)
        loss = F.cross_entropy(module(X), CLASSES.targets)
        accuracy = (module(X).argmax(1) == CLASSES.targets).double().mean()
    assert measured.values["pruning_loss"] == pytest.approx(float(loss), rel=1e-9)
    assert measured.values["pruning_accuracy"] == pytest.approx(float(accuracy))
    kept = [float((w != 0).double().mean()) for w in weights]
    assert measured.curves["pruning_density_of_tensors"] == pytest.approx(kept)
    assert measured.values["pruning_diagonal"] is None
    if density == 1:
        assert measured.values["pruning_loss_change"] == 0 == measured.values["pruning_hessian"]


def test_the_estimated_diagonal_comes_near_the_exact_one() -> None:
    module = linear(2)
    result = values(Pruning(density=0.5, by="hessian", probes=200), module, NUMBERS)
    exact = (2 * X.square().mean(0) / 3).expand(3, 5)
    saliency = (exact * module.weight.detach().square() / 2).flatten().numpy()
    assert result["pruning_diagonal"] == pytest.approx(float(np.sort(saliency)[:7].sum()), rel=0.2)


def test_the_company_changes_nothing() -> None:
    subjects = [subject_of(tanh(i), samples=CLASSES, seed=i) for i in range(3)]
    for measure in (Quantisation(bits=4), Pruning(by="hessian", probes=4)):
        together = list(measure.compute(subjects))
        assert together == [m for s in subjects for m in measure.compute([s])]
        assert all(set(m.values) == {c.name for c in measure.columns()} for m in together)
