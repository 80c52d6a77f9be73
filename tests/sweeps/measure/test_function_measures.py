"""Calibration, losses by class, derivatives in the inputs, effective dimension: planted tables and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.gpt import Gpt
from landsweep.sweeps.measure.measures.calibration import Calibration
from landsweep.sweeps.measure.measures.class_losses import ClassLosses
from landsweep.sweeps.measure.measures.effective_dimension import EffectiveDimension
from landsweep.sweeps.measure.measures.input_derivatives import InputDerivatives
from landsweep.sweeps.measure.subject import Samples
from tests.support.subjects import samples_of, subject_of


class Scores(nn.Module):
    """Gives rows of a table."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, x: Tensor) -> Tensor:
        return self.table[x[:, 0].long()]


def table_of(probabilities: list[list[float]], targets: list[int], batch: int = 4) -> tuple[nn.Module, Samples]:
    table = torch.tensor(probabilities, dtype=torch.float64).log()
    return Scores(table), samples_of(torch.arange(len(targets))[:, None], torch.tensor(targets), batch_size=batch)


PLANTED = table_of([[0.62, 0.38], [0.66, 0.34], [0.1, 0.9], [0.08, 0.92], [0.5, 0.5]], [0, 1, 1, 1, 1])


def test_calibration_of_a_planted_table() -> None:
    module, samples = PLANTED
    measured = Calibration(measure="calibration", bins=10).of_one(subject_of(module, samples=samples))
    # Bins (0.4, 0.5], (0.6, 0.7], (0.8, 0.9], (0.9, 1.0]: one wrong; one of two right; right; right.
    apart = [0.5, 0.14, 0.1, 0.08]
    count = [1, 2, 1, 1]
    values = measured.values
    assert values["calibration_error"] == pytest.approx(np.dot(apart, count) / 5)
    assert values["calibration_worst"] == pytest.approx(0.5)
    assert values["calibration_confidence"] == pytest.approx((0.62 + 0.66 + 0.9 + 0.92 + 0.5) / 5)
    assert values["calibration_accuracy"] == pytest.approx(3 / 5)
    assert values["calibration_nll"] == pytest.approx(-np.log([0.62, 0.34, 0.9, 0.92, 0.5]).mean())
    assert values["calibration_brier"] == pytest.approx(2 * np.square([0.38, 0.66, 0.1, 0.08, 0.5]).mean())
    assert measured.curves["calibration_bin_count"] == [0, 0, 0, 0, 1, 0, 2, 0, 1, 1]


def test_bins_of_equal_count() -> None:
    module, samples = PLANTED
    measure = Calibration(measure="calibration", bins=2, edges="equal_count")
    measured = measure.of_one(subject_of(module, samples=samples))
    assert measured.curves["calibration_bin_count"] == [3, 2]
    assert measured.curves["calibration_bin_accuracy"] == pytest.approx([1 / 3, 1])


def test_losses_by_class() -> None:
    module, samples = table_of([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], [0, 1, 1], 2)
    measured = ClassLosses(measure="class_losses").of_one(subject_of(module, samples=samples))
    by_class = [-math.log(0.7), -(math.log(0.3) + math.log(0.7)) / 2]
    assert measured.curves["class_loss"][:2] == pytest.approx(by_class)
    assert math.isnan(measured.curves["class_loss"][2])  # no sample is of this class
    assert measured.values["class_highest"] == 1
    assert measured.values["class_loss_spread"] == pytest.approx((by_class[1] - by_class[0]) / 2)
    assert measured.values["class_accuracy_lowest"] == 0.5


def test_classes_are_needed_and_sequences_have_one_at_each_position() -> None:
    numbers = samples_of(torch.zeros(4, 2), torch.zeros(4, 3), "mse")
    tokens = samples_of(torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 4, dtype=torch.int64))
    for measure in (ClassLosses(measure="class_losses"), Calibration(measure="calibration")):
        with pytest.raises(SpecError, match=f"{measure.measure} compares .* not classes"):
            measure.of_one(subject_of(nn.Linear(2, 3), samples=numbers))
    with pytest.raises(SpecError, match="sequences"):
        ClassLosses(measure="class_losses").of_one(subject_of(nn.Linear(2, 3), samples=tokens))
    with pytest.raises(SpecError, match="tokens"):
        InputDerivatives(measure="input_derivatives").of_one(subject_of(nn.Linear(2, 3), samples=tokens))


class Polynomial(nn.Module):
    """a^3 b and 5 a^2 of inputs (a, b)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x[:, 0], x[:, 1]
        return torch.stack([self.scale * a**3 * b, 5 * a**2], 1)


def test_derivatives_of_a_polynomial() -> None:
    x = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [2.0, -1.0]], dtype=torch.float64)
    a, b = x.unbind(1)
    samples = samples_of(x, torch.zeros(3, 2).double(), "mse", 2)
    measured = InputDerivatives(measure="input_derivatives").of_one(subject_of(Polynomial(), samples=samples))
    exact = {
        1: [[3 * a**2 * b, 10 * a], [a**3, 0 * a]],  # along a, along b; of both outputs
        2: [[6 * a * b, 10 + 0 * a], [0 * a, 0 * a]],
        3: [[6 * b, 0 * a], [0 * a, 0 * a]],
    }
    for order, parts in exact.items():
        each = torch.stack([torch.stack(p) for p in parts])  # [coordinates, outputs, samples]
        assert measured.values[f"input_derivative_{order}"] == pytest.approx(float(each.abs().mean()), rel=1e-12)
        along = measured.curves[f"input_derivative_{order}_along_inputs"]
        assert along == pytest.approx(each.mean((1, 2)).tolist(), rel=1e-12)


def test_derivatives_of_the_loss_are_differences_of_it() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    samples = samples_of(x, torch.arange(6) % 4)
    measure = InputDerivatives(measure="input_derivatives", function="loss", orders=2, coordinates=(2,))
    measured = measure.of_one(subject_of(module, samples=samples))

    @torch.no_grad()
    def losses(shift: float) -> Tensor:
        return F.cross_entropy(module(x + shift * torch.tensor([0.0, 0.0, 1.0])), samples.targets, reduction="none")

    h = 1e-4
    first, second = (losses(h) - losses(-h)) / (2 * h), (losses(h) - 2 * losses(0) + losses(-h)) / h**2
    assert measured.values["input_derivative_1"] == pytest.approx(float(first.abs().mean()), rel=1e-5)
    assert measured.values["input_derivative_2"] == pytest.approx(float(second.abs().mean()), rel=1e-4)
    assert measured.values["input_derivative_3"] is None
    with pytest.raises(SpecError, match="3 is not among 0 to 2"):
        InputDerivatives(measure="input_derivatives", coordinates=(3,)).of_one(subject_of(module, samples=samples))


def dimension(module: nn.Module, samples: Samples, **fields: object) -> dict[str, object]:
    measure = EffectiveDimension.model_validate({"measure": "effective_dimension", **fields})
    return dict(measure.of_one(subject_of(module, samples=samples)).values)


def test_effective_dimension_of_a_linear_model() -> None:
    n, d = 64, 4
    x = torch.linalg.qr(torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    x = x * torch.tensor([1.0, 2.0, 3.0, 0.0], dtype=torch.float64)
    samples = samples_of(x, torch.zeros(n, 1).double(), "mse")
    values = dimension(nn.Linear(d, 1, bias=False).double(), samples)
    kappa = n / (2 * math.pi * math.log(n))
    scaled = np.array([1.0, 4.0, 9.0, 0.0]) * 4 / 14
    assert values["effective_dimension"] == pytest.approx(np.log1p(kappa * scaled).sum() / math.log(kappa))
    assert values["fisher_trace"] == pytest.approx(14 / n)
    assert values["fisher_rank"] == 3


@pytest.mark.parametrize("n", [6, 40])  # fewer and more rows than parameters
def test_the_fisher_matrix_is_the_mean_over_labels_of_the_model(n: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(n)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    samples = samples_of(x, torch.zeros(n, dtype=torch.int64), batch_size=4)
    parameters = list(module.parameters())
    fisher = 0.0
    for one in x:
        logs = torch.log_softmax(module(one[None])[0], 0)
        for log in logs:
            grads = torch.autograd.grad(log, parameters, retain_graph=True)
            g = torch.cat([t.flatten() for t in grads])
            fisher = fisher + log.detach().exp() * torch.outer(g, g) / n
    eigenvalues = torch.linalg.eigvalsh(torch.as_tensor(fisher))
    size, kappa = len(eigenvalues), 1000 / (2 * math.pi * math.log(1000))
    expected = float(torch.log1p(kappa * size / eigenvalues.sum() * eigenvalues.clamp(min=0)).sum()) / math.log(kappa)
    values = dimension(module, samples, n=1000)
    assert values["effective_dimension"] == pytest.approx(expected, rel=1e-9)
    assert values["effective_dimension_share"] == pytest.approx(expected / size, rel=1e-9)


def test_effective_dimension_of_sequences_and_its_limits() -> None:
    tokens = torch.randint(0, 5, (3, 4), generator=torch.Generator().manual_seed(0))
    gpt = Gpt(net="gpt", width=4, depth=1, heads=2).build((4,), 5, 0).eval()
    values = dimension(gpt, samples_of(tokens, tokens), n=1000)
    assert isinstance(values["effective_dimension"], float) and values["effective_dimension"] > 0
    with pytest.raises(SpecError, match="must be above 1"):
        dimension(gpt, samples_of(tokens, tokens))
    wide = nn.Linear(7000, 10)
    many = samples_of(torch.zeros(700, 7000), torch.zeros(700, dtype=torch.int64))
    with pytest.raises(SpecError, match="first: 191"):
        dimension(wide, many)


def test_the_company_changes_nothing() -> None:
    modules = [nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double() for _ in range(3)]
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    subjects = [subject_of(m, samples=samples_of(x, torch.arange(30) % 4)) for m in modules]
    for measure in (
        Calibration(measure="calibration"),
        ClassLosses(measure="class_losses"),
        InputDerivatives(measure="input_derivatives"),
        EffectiveDimension(measure="effective_dimension"),
    ):
        together = list(measure.compute(subjects))
        assert str(together) == str([m for s in subjects for m in measure.compute([s])])  # nan is nan
        assert all(set(m.values) == {c.name for c in measure.columns()} for m in together)
