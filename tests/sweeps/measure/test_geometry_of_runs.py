"""Distance from start, layer rotation, alignment of spectra, alpha: planted runs and drawn power laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.measure.measures.alpha import Alpha, tail
from landsweep.sweeps.measure.measures.distance_from_start import DistanceFromStart
from landsweep.sweeps.measure.measures.layer_rotation import LayerRotation
from landsweep.sweeps.measure.measures.spectra_alignment import SpectraAlignment
from landsweep.sweeps.measure.subject import Subject
from tests.support.subjects import run_of, stored_model, subject_of

DISTANCE, ROTATION = DistanceFromStart(measure="distance_from_start"), LayerRotation(measure="layer_rotation")


def layer(weight: Tensor | np.ndarray) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(weight))
    return linear


def moved(distance: float) -> nn.Linear:
    return layer(torch.tensor([[1.0 + 0.6 * distance, 0.8 * distance], [5.0, 0.0]]))


def test_a_logarithmic_and_a_power_law_distance_are_found() -> None:
    steps = [1, 2, 4, 8, 100]
    logarithmic = run_of({10: moved(0)} | {10 + t: moved(2 + 3 * math.log(t)) for t in steps})
    values = DISTANCE.of_one(logarithmic).values
    assert [values[f"start_distance_{n}"] for n in ("slope", "offset", "r2")] == pytest.approx([3, 2, 1])
    assert values["start_distance"] == pytest.approx(2 + 3 * math.log(100))
    power = DISTANCE.of_one(run_of({0: moved(0)} | {t: moved(0.2 * t**0.5) for t in steps})).values
    assert power["start_distance_power"] == pytest.approx(0.5) and power["start_distance_power_r2"] == pytest.approx(1)
    r2 = power["start_distance_r2"]
    x, y = np.log(steps), 0.2 * np.sqrt(steps)
    assert r2 == pytest.approx(stats.linregress(x, y).rvalue ** 2)


def test_two_points_make_no_fit() -> None:
    values = DISTANCE.of_one(run_of({0: moved(0), 1: moved(1), 2: moved(2)})).values
    assert values["start_distance"] == pytest.approx(2) and values["start_distance_slope"] is None


def turned(angle: float) -> Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def test_rotation_is_the_cosine_distance_of_each_layer() -> None:
    def network(angle: float) -> nn.Module:
        return nn.Sequential(layer(2 * turned(0)), layer(turned(angle)), nn.LayerNorm(2).double())

    measured = ROTATION.of_one(run_of({0: network(0), 5: network(0.3), 9: network(math.pi / 2)}))
    assert measured.values["layer_rotation"] == pytest.approx(0.5)
    assert [measured.values[f"layer_rotation_{n}"] for n in ("lowest", "highest")] == pytest.approx([0, 1])
    assert measured.curves["layer_rotation_along_run"] == pytest.approx([0, (1 - math.cos(0.3)) / 2, 0.5])
    assert measured.curves["layer_rotation_of_layers"] == pytest.approx([0, 1])


def test_spectra_that_turn_and_spectra_that_grow() -> None:
    u, v = (np.linalg.qr(np.random.default_rng(i).standard_normal((6, 6)))[0] for i in range(2))
    values = np.array([9.0, 5.0, 4.0, 1.0, 0.5, 0.1])
    start = u * values @ v.T
    grown = u * (3 * values) @ v.T
    swapped = u[:, [3, 4, 5, 0, 1, 2]] * values @ v.T  # other outputs, the same inputs
    measure = SpectraAlignment(measure="spectra_alignment", top=3)
    same = measure.of_one(run_of({0: layer(start), 7: layer(grown)})).values
    assert list(same.values()) == pytest.approx([1, 1, 1])
    apart = measure.of_one(run_of({0: layer(start), 3: layer(grown), 7: layer(swapped)}))
    assert list(apart.values.values()) == pytest.approx([0, 1, 1], abs=1e-12)
    assert apart.curves["spectra_overlap_outputs_along_run"] == pytest.approx([0, 0, 1], abs=1e-12)
    first = SpectraAlignment(measure="spectra_alignment", against="first")
    run = run_of({0: layer(start), 3: layer(grown), 7: layer(swapped)})
    assert first.of_one(run).curves["spectra_overlap_outputs_along_run"] == pytest.approx([1, 1, 0], abs=1e-12)


def test_random_subspaces_overlap_by_chance() -> None:
    runs = [
        run_of({i: layer(np.random.default_rng(2 * s + i).standard_normal((20, 30))) for i in range(2)})
        for s in range(200)
    ]
    values = [m.values for m in SpectraAlignment(measure="spectra_alignment", top=4).compute(runs)]
    means = [np.mean([float(v[f"spectra_overlap_{side}"] or 0) for v in values]) for side in ("outputs", "inputs")]
    assert means == pytest.approx([4 / 20, 4 / 30], abs=0.02)


def test_only_checkpoints_of_one_run_have_a_way() -> None:
    known, unknown = stored_model(moved(0), "a", "step-1", 1), stored_model(moved(1), "a", "last", None)
    other, before = stored_model(moved(1), "b", "step-2", 2), stored_model(moved(1), "a", "step-0", 0)
    for models in ((known, unknown), (known, other), (known, before), (known,)):
        with pytest.raises(SpecError, match=r"follows one run along its checkpoints.*given were a/step-1 \(step 1\)"):
            DISTANCE.of_one(Subject(models, {}, (), 0))


@pytest.mark.parametrize("exponent", [1.8, 2.5, 4.0])
def test_the_exponent_of_drawn_power_laws(exponent: float) -> None:
    n, alphas = 400, []
    for seed in range(20):
        values = stats.pareto.rvs(exponent - 1, scale=2.0, size=n, random_state=seed)
        alpha, start, distance = tail(np.sort(values), 100)
        alphas.append(alpha)
        at = values[values >= start]
        assert distance == pytest.approx(stats.kstest(at, stats.pareto(alpha - 1, scale=start).cdf).statistic)
        assert alpha == pytest.approx(1 + stats.pareto.fit(at, floc=0, fscale=start)[0])
    assert np.mean(alphas) == pytest.approx(exponent, abs=4 * (exponent - 1) / math.sqrt(100 * 20))


def test_the_tail_begins_where_the_power_law_does() -> None:
    body = np.linspace(0.1, 0.9, 300)
    power = stats.pareto.rvs(1.5, scale=1.0, size=300, random_state=0)
    alpha, start, _ = tail(np.sort(np.concatenate([body, power])), 30)
    assert 0.8 < start < 1.4 and alpha == pytest.approx(2.5, abs=0.3)


def test_alpha_of_layers() -> None:
    rng = np.random.default_rng(0)
    values = np.sort(stats.pareto.rvs(1.5, size=40, random_state=1))
    u, v = (np.linalg.qr(rng.standard_normal((n, 40)))[0] for n in (50, 60))
    heavy = u * np.sqrt(values) @ v.T
    small = nn.Linear(3, 3)
    subject = subject_of(nn.Sequential(layer(heavy), small.double()))
    measured = Alpha(measure="alpha", eigenvalues=20, in_tail=10).of_one(subject)
    alpha, start, distance = tail(values, 10)
    assert measured.values["alpha"] == pytest.approx(alpha)
    assert measured.values["alpha_weighted"] == pytest.approx(alpha * math.log10(values[-1]))
    assert measured.values["alpha_distance"] == pytest.approx(distance)
    assert measured.values["alpha_layers"] == 1  # the other has 3 eigenvalues
    assert measured.curves["alpha_tail_starts"] == pytest.approx([start])
    nothing = Alpha(measure="alpha").of_one(subject_of(small)).values
    assert nothing["alpha"] is None and nothing["alpha_layers"] == 0
