"""Roughness and robustness: closed forms on linear and quadratic losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.weight_space.directions import RandomDirections
from landsweep.sweeps.measure.measures.robustness import Robustness
from landsweep.sweeps.measure.measures.roughness import Roughness
from landsweep.sweeps.measure.subject import Samples
from tests.support.subjects import samples_of, subject_of

PLAIN = RandomDirections(kind="random", normalise="none", one_dimensional="raw")


class Values(nn.Module):
    """Gives its weights, whatever the input."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, x: Tensor) -> Tensor:
        return self.values.expand(len(x), -1)


def samples(loss: str = "mse", size: int = 3) -> Samples:
    inputs = torch.zeros(4, 1, dtype=torch.float64)
    plain = samples_of(inputs, torch.zeros(4, size, dtype=torch.float64), "mse", 2)
    if loss == "mse":
        return plain
    return Samples("train", inputs, plain.targets, lambda outputs, targets: (outputs - targets).sum(1), 2)


def roughness(reach: float, lines: int = 30) -> Roughness:
    return Roughness(measure="roughness", lines=lines, reach=reach, intervals=10, directions=PLAIN)


@pytest.mark.parametrize("reach", [0.05, 0.1, 2.0])
def test_a_quadratic_at_its_minimum_has_no_roughness(reach: float) -> None:
    subject = subject_of(Values(torch.zeros(3).double()), samples=samples())
    values = roughness(reach).of_one(subject).values
    assert values["roughness_variation"] == pytest.approx(1 / reach, rel=1e-12)
    assert values["roughness_index"] == pytest.approx(0, abs=1e-12)
    assert values["roughness_flat"] == 0


def test_a_linear_function_has_no_roughness() -> None:
    subject = subject_of(Values(torch.ones(3).double()), samples=samples("sum"))
    values = roughness(0.1).of_one(subject).values
    assert values["roughness_variation"] == pytest.approx(1 / 0.2, rel=1e-9)
    assert values["roughness_index"] == pytest.approx(0, abs=1e-9)


def test_the_index_is_that_of_the_lines_own_losses() -> None:
    module = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    subject = subject_of(module, samples=samples())
    measure = Roughness(measure="roughness", lines=12, reach=3.0, intervals=8)
    measured = measure.of_one(subject)
    t = np.array(measured.curves["roughness_variations"])
    assert len(t) == 12 and t.min() >= 1 / 6 - 1e-12  # a loss that goes up and down once has 1 to 2 times 1 / (2 l)
    assert measured.values["roughness_index"] == pytest.approx(t.std(ddof=1) / t.mean())
    assert measured == measure.of_one(subject)
    assert measured != measure.of_one(subject_of(module, samples=samples(), seed=1))


def test_lines_without_any_change_are_counted_apart() -> None:
    frozen = nn.Sequential(nn.Linear(1, 3).double())
    subject = subject_of(frozen, samples=samples())
    fixed = RandomDirections(kind="random", rules={"*": {"policy": "zero"}})  # type: ignore[dict-item]
    values = Roughness(measure="roughness", lines=3, directions=fixed).of_one(subject).values
    assert values == {
        "roughness_index": None, "roughness_variation": None, "roughness_range": None, "roughness_flat": 3,
    }  # fmt: skip


def test_noise_on_a_quadratic_raises_it_by_its_trace() -> None:
    size, scale = 50, 0.3
    subject = subject_of(Values(torch.full((size,), 2.0).double()), samples=samples(size=size))
    measure = Robustness(measure="robustness", scale=scale, draws=400, directions=PLAIN)
    values = measure.of_one(subject).values
    # The loss is the mean of (2 + scale z)^2: mean 4 + scale^2, variance (16 scale^2 + 2 scale^4) / size.
    spread = ((16 * scale**2 + 2 * scale**4) / size) ** 0.5
    assert values["robustness_rise"] == pytest.approx(scale**2, abs=4 * spread / 20)
    assert values["robustness_spread"] == pytest.approx(spread, rel=0.15)
    assert values["robustness_worst"] == max(measure.of_one(subject).curves["robustness_losses"])


def test_the_company_changes_nothing_and_the_models_stay_as_they_are() -> None:
    modules = [nn.Linear(1, 3).double() for _ in range(3)]
    subjects = [subject_of(m, samples=samples(), seed=i) for i, m in enumerate(modules)]
    before = [{n: t.clone() for n, t in s.models[0].state.items()} for s in subjects]
    for measure in (roughness(0.1, 4), Robustness(measure="robustness", draws=3)):
        assert list(measure.compute(subjects)) == [m for s in subjects for m in measure.compute([s])]
    for subject, state in zip(subjects, before, strict=True):
        assert all(torch.equal(subject.models[0].state[n], t) for n, t in state.items())


def test_batch_normalisation_is_estimated_anew_at_each_point() -> None:
    module = nn.Sequential(nn.Linear(2, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    batch = torch.randn(32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = samples_of(batch, torch.zeros(32, 3).double(), "mse")
    scaled = {"0.weight": {"policy": "normalise", "dimension": None}, "[12].*": {"policy": "zero"}}
    directions = RandomDirections(kind="random", normalise="weight", rules=scaled)  # type: ignore[arg-type]
    subject = subject_of(module, samples=own, batches=[batch])
    still = {"fixed": 0.0, "reestimate": 0.0}
    for mode in still:
        measure = Robustness(measure="robustness", scale=0.2, draws=3, directions=directions, batch_norm=mode)  # type: ignore[arg-type]
        still[mode] = float(measure.of_one(subject).values["robustness_spread"] or 0)
    assert still["fixed"] != still["reestimate"]


def test_the_rise_is_counted_from_statistics_that_were_estimated_anew() -> None:
    """Of weights alone that batch normalisation scales away, nothing is left once its statistics are estimated anew."""
    module = nn.Sequential(nn.Linear(2, 1, bias=False), nn.BatchNorm1d(1, eps=1e-14), nn.Linear(1, 3)).double()
    batch = torch.randn(32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 0.0]]))  # times 1 + noise: still along the first input
    own = samples_of(batch, torch.zeros(32, 3).double(), "mse")
    directions = RandomDirections(kind="random", normalise="weight", rules={"[12].*": {"policy": "zero"}})  # type: ignore[dict-item]
    measure = Robustness(draws=5, directions=directions, batch_norm="reestimate")
    values = measure.of_one(subject_of(module, samples=own, batches=[batch])).values
    assert values["robustness_rise"] == pytest.approx(0, abs=1e-9)
    assert values["robustness_spread"] == pytest.approx(0, abs=1e-9)
    for needy in (measure, Roughness(batch_norm="reestimate")):
        with pytest.raises(SpecError, match="reestimate needs training inputs"):
            needy.check(subject_of(module, samples=own))
