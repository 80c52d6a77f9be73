"""Measures of curvature against whole matrices by autograd, and each model in a pack against itself alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.measure.measures.average_sharpness import AverageSharpness
from landsweep.sweeps.measure.measures.base import Measure, Measured
from landsweep.sweeps.measure.measures.directional_curvature import DirectionalCurvature
from landsweep.sweeps.measure.measures.eigenvalues import Eigenvalues
from landsweep.sweeps.measure.measures.first_order_flatness import FirstOrderFlatness
from landsweep.sweeps.measure.measures.gradient import Gradient
from landsweep.sweeps.measure.measures.lla import Lla
from landsweep.sweeps.measure.measures.relative_flatness import RelativeFlatness
from landsweep.sweeps.measure.measures.sam_sharpness import SamSharpness
from landsweep.sweeps.measure.measures.spectrum import Spectrum
from landsweep.sweeps.measure.measures.subspace_drift import SubspaceDrift
from landsweep.sweeps.measure.measures.third_order import ThirdOrder
from landsweep.sweeps.measure.measures.trace import Trace
from landsweep.sweeps.measure.measures.worst_sharpness import WorstSharpness
from landsweep.sweeps.measure.subject import Subject
from tests.support.curvature import CASES, dense, flat, subject, subjects

pytestmark = pytest.mark.rotating

MEASURES: tuple[Measure, ...] = (
    Eigenvalues(measure="eigenvalues", top=3, lowest=1, layers=True),
    Trace(measure="trace", tolerance=0.2),
    Trace(measure="trace", method="hutch_plus_plus", products=12),
    Trace(measure="trace", method="xtrace", products=12),
    Spectrum(measure="spectrum", steps=20, runs=2),
    Lla(measure="lla", steps=20),
    Gradient(measure="gradient", top=3),
    WorstSharpness(measure="worst_sharpness", radius=0.1, part=10, steps=8),
    WorstSharpness(
        measure="worst_sharpness", radius=0.01, norm="linf", adaptive=True, part=None, normalise_logits=True
    ),
    AverageSharpness(measure="average_sharpness", radius=0.1, draws=4),
    SamSharpness(measure="sam_sharpness", radius=0.1, adaptive=True),
    FirstOrderFlatness(measure="first_order_flatness", radius=0.1, steps=5),
    DirectionalCurvature(measure="directional_curvature", along="random"),
    RelativeFlatness(measure="relative_flatness", products=12),
    ThirdOrder(measure="third_order", products=40),
)


def measured(measure: Measure, given: Sequence[Subject]) -> list[Measured]:
    results = list(measure.compute(given))
    assert len(results) == len(given)
    for each in results:
        assert list(each.values) == [c.name for c in measure.columns()]
    return results


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.measure)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_model_has_the_same_bits_whatever_stands_beside_it(measure: Measure, dtype: torch.dtype) -> None:
    given = subjects(CASES["mlp"], 3, dtype)
    together = measured(measure, given)
    for k in (0, 2):
        (alone,) = measured(measure, given[k : k + 1])
        assert alone == together[k]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.measure)
def test_a_model_that_is_not_finite_has_no_numbers_and_does_not_disturb_the_others(measure: Measure) -> None:
    module = CASES["mlp"].module()
    nn.init.constant_(module.get_parameter("2.weight"), math.nan)
    good = subjects(CASES["mlp"], 2)
    together = measured(measure, [good[0], subject(CASES["mlp"], module), good[1]])
    assert [together[0], together[2]] == measured(measure, good)
    floats = [together[1].values[c.name] for c in measure.columns() if c.type == "float" and c.name != "lla_power"]
    assert all(v is None or not math.isfinite(v) for v in floats if not isinstance(v, str))


def test_samples_of_other_shapes_and_networks_that_are_more_than_their_weights_are_measured_alone() -> None:
    class Scaled(nn.Linear):
        scale = 1.0

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * super().forward(x)

    case = CASES["softmax"]
    modules = [Scaled(5, 3).double() for _ in range(4)]
    modules[2].scale = 3.0
    given = [subject(case, m) for m in modules]
    few = replace(given[1].samples["train"], inputs=case.inputs[:9], targets=case.targets[:9])
    given[1] = replace(given[1], samples={"train": few})
    measure = Eigenvalues(measure="eigenvalues", tolerance=1e-6)
    for k, each in enumerate(measured(measure, given)):
        own = replace(case, inputs=case.inputs[:9], targets=case.targets[:9]) if k == 1 else case
        wanted = torch.linalg.eigvalsh(dense(own, modules[k]))[-1]
        assert each.values["eigenvalue_1"] == pytest.approx(float(wanted), rel=1e-9)


@pytest.mark.parametrize("matrix", ["hessian", "ggn", "empirical_fisher"])
@pytest.mark.parametrize("name", ["mlp", "cnn_batch_norm", "gpt"])
def test_eigenvalues_are_those_of_the_whole_matrix(name: str, matrix: str) -> None:
    case = CASES[name]
    measure = Eigenvalues.model_validate(
        {
            "measure": "eigenvalues",
            "matrix": matrix,
            "top": 3,
            "lowest": 1,
            "tolerance": 1e-6,
            "products": 400,
            "layers": True,
        }
    )
    for k, each in enumerate(measured(measure, subjects(case, 1 if name == "gpt" else 2))):
        whole = dense(case, case.module(k), matrix)
        wanted = torch.linalg.eigvalsh(whole)
        for i in range(3):
            assert each.values[f"eigenvalue_{i + 1}"] == pytest.approx(float(wanted[-1 - i]), rel=1e-7)
            assert each.values[f"residual_{i + 1}"] <= 1e-6 * wanted[-1]  # type: ignore[operator]
        assert each.values["lowest_1"] == pytest.approx(float(wanted[0]), abs=1e-6 * float(wanted[-1]))
        names = [n.rpartition(".")[0] for n, p in case.module().named_parameters() for _ in range(p.numel())]
        assert list(each.curves) == [f"layer/{n}" for n in dict.fromkeys(names)]
        for layer, values in each.curves.items():
            rows = torch.tensor([f"layer/{n}" == layer for n in names])
            block = torch.linalg.eigvalsh(whole[rows][:, rows])
            assert list(values)[: len(block)] == pytest.approx(block.flip(0)[:3].tolist(), rel=1e-5, abs=1e-9)


def test_where_there_are_fewer_weights_than_eigenvalues_asked_for_the_others_are_none() -> None:
    (each,) = measured(Eigenvalues(measure="eigenvalues", top=4), quadratic([3, 2]))
    assert [each.values[f"eigenvalue_{i}"] for i in (1, 2)] == pytest.approx([3, 2], rel=1e-9)
    assert [each.values[f"{name}_{i}"] for name in ("eigenvalue", "residual") for i in (3, 4)] == [None] * 4


def test_parameters_named_alone_count_and_others_are_constants() -> None:
    case = CASES["mlp"]
    (each,) = measured(Eigenvalues(measure="eigenvalues", parameters=("4.*",), tolerance=1e-7), subjects(case, 1))
    wanted = torch.linalg.eigvalsh(dense(case, case.module())[64:, 64:])[-1]
    assert each.values["eigenvalue_1"] == pytest.approx(float(wanted), rel=1e-9)


@pytest.mark.parametrize("method", ["hutchinson", "hutch_plus_plus", "xtrace"])
def test_traces_and_norms(method: str) -> None:
    case = CASES["cnn_batch_norm"]
    measure = Trace.model_validate({"measure": "trace", "method": method, "products": 90, "tolerance": 0})
    for k, each in enumerate(measured(measure, subjects(case, 3))):
        whole = dense(case, case.module(k))
        assert abs(each.values["trace"] - whole.trace()) < 4 * each.values["trace_se"] + 1e-9  # type: ignore[operator]
        assert each.values["trace_products"] == 90
        if method == "hutchinson":
            assert each.values["frobenius"] == pytest.approx(float(whole.norm()), rel=0.2)
            assert each.values["diagonal_norm"] == pytest.approx(float(whole.diagonal().norm()), rel=0.2)


def quadratic(scales: Sequence[float]) -> list[Subject]:
    """A linear model with mean squared error, at its minimum, whose Hessian has these eigenvalues."""
    case = CASES["linear"]
    n, p = 40, len(scales)
    g = torch.Generator().manual_seed(3)
    q = torch.linalg.qr(torch.randn(n, p, generator=g, dtype=torch.float64))[0]
    inputs = q * (torch.tensor(scales, dtype=torch.float64) * n / 2).sqrt()
    module = nn.Linear(p, 1, bias=False).double()
    targets = module(inputs).detach()  # the weights are the minimum
    own = replace(case, inputs=inputs, targets=targets)
    return [subject(own, module)]


def test_outliers_are_above_the_largest_gap_and_the_density_is_that_of_the_matrix() -> None:
    given = quadratic([300, 120, 90, *torch.linspace(1, 3, 20).tolist()])
    (each,) = measured(Spectrum(measure="spectrum", steps=60, runs=3), given)
    assert each.values["spectrum_outliers"] == 3
    assert each.curves["outliers"] == pytest.approx([300, 120, 90], rel=1e-6)
    assert each.values["spectrum_gap"] == pytest.approx(30, rel=1e-6)
    assert each.values["spectrum_highest"] == pytest.approx(300, rel=1e-9)
    assert each.values["spectrum_lowest"] == pytest.approx(1, rel=1e-9)
    assert each.values["spectrum_negative"] == 0
    assert each.values["spectrum_bulk"] == pytest.approx(2.09, rel=0.2)
    assert sum(each.curves["weights"]) == pytest.approx(1, rel=1e-12)
    assert list(each.curves["nodes"]) == sorted(each.curves["nodes"])
    (flat_one,) = measured(Spectrum(measure="spectrum", steps=60), quadratic(torch.linspace(1, 1.5, 12).tolist()))
    assert "outliers" not in flat_one.curves
    assert flat_one.values["spectrum_outliers"] == 0 and flat_one.values["spectrum_gap"] < 1.5  # type: ignore[operator]


def test_moments_of_the_spectrum_and_its_negative_share_are_those_of_the_whole_hessian() -> None:
    case = CASES["mlp"]
    for k, each in enumerate(measured(Spectrum(measure="spectrum", steps=79, runs=12), subjects(case, 1))):
        values = torch.linalg.eigvalsh(dense(case, case.module(k)))
        assert abs(each.values["spectrum_mean"] - values.mean()) < 4 * each.values["spectrum_mean_se"]  # type: ignore[operator]
        assert each.values["spectrum_highest"] == pytest.approx(float(values[-1]), rel=1e-9)
        assert each.values["spectrum_lowest"] == pytest.approx(float(values[0]), rel=1e-6)
        wanted = float((values < -1e-6 * values.abs().max()).double().mean())
        assert each.values["spectrum_negative"] == pytest.approx(wanted, abs=0.1)


def test_lla_is_the_formula_on_all_eigenvalues() -> None:
    """With as many steps as weights the nodes are the eigenvalues, and weights those of the random vector."""
    case = replace(CASES["mlp"], build=lambda seed: nn.Sequential(nn.Linear(5, 2), nn.Tanh(), nn.Linear(2, 3)))
    (given,) = subjects(case, 1)
    (each,) = measured(Lla(measure="lla", steps=21, power=0.5, dtype="float64"), [given])
    values, vectors = torch.linalg.eigh(dense(case, case.module()))
    draw = torch.randint(0, 2, (21,), generator=generator(given.seed, "curvature"), dtype=torch.int8)
    weights = ((2.0 * draw - 1).double() @ vectors).square() / 21
    terms = (values * weights).abs().sqrt()
    real = values.abs() > 1e-12
    wanted = terms[(values < 0) & real].sum() / terms[(values > 0) & real].sum()
    assert values[0] < -1e-6
    assert each.values["lla_re"] == pytest.approx(float((values[0] / values[-1]).abs()), rel=1e-6)
    assert each.values["lla_khn"] == pytest.approx(float(wanted), rel=1e-3)


def test_the_gradient_and_its_share_in_the_top_subspace() -> None:
    case = CASES["relu"]
    for k, each in enumerate(
        measured(Gradient(measure="gradient", top=4, tolerance=1e-8, products=400), subjects(case, 2))
    ):
        module = case.module(k)
        loss = nn.functional.cross_entropy(module(case.inputs), case.targets)
        g = torch.cat([x.flatten() for x in torch.autograd.grad(loss, list(module.parameters()))])
        whole = dense(case, module)
        top = torch.linalg.eigh(whole)[1][:, -4:]
        assert each.values["gradient_norm"] == pytest.approx(float(g.norm()), rel=1e-9)
        assert each.values["gradient_share"] == pytest.approx(float((top.T @ g).norm() ** 2 / g.norm() ** 2), rel=1e-6)
        assert each.values["gradient_curvature"] == pytest.approx(float(g @ whole @ g / g.norm() ** 2), rel=1e-9)
    (alone,) = measured(Gradient(measure="gradient", top=0), subjects(case, 1))
    assert alone.values["gradient_share"] is None and alone.values["gradient_norm"] is not None


def test_of_a_least_squares_solution_the_gradient_is_zero() -> None:
    (each,) = measured(Gradient(measure="gradient", top=2), quadratic([3, 2, 1]))
    assert each.values["gradient_norm"] == pytest.approx(0, abs=1e-12)


def test_drift_is_the_overlap_of_the_whole_hessians_subspaces() -> None:
    case = CASES["mlp"]
    run = subjects(case, 3)
    group = replace(run[0], models=tuple(s.models[0] for s in [run[0], run[0], *run[1:]]))
    (each,) = measured(SubspaceDrift(measure="subspace_drift", top=3, tolerance=1e-8, products=400), [group])
    tops = [torch.linalg.eigh(dense(case, case.module(k)))[1][:, -3:] for k in (0, 0, 1, 2)]
    wanted = [float((a.T @ b).square().sum() / 3) for a, b in pairwise(tops)]
    assert list(each.curves["overlap_next"]) == pytest.approx(wanted, rel=1e-5)
    assert wanted[0] == pytest.approx(1) and each.values["overlap_ends"] == pytest.approx(
        float((tops[0].T @ tops[3]).square().sum() / 3), rel=1e-5
    )
    assert list(each.curves["overlap_last"])[-1] == pytest.approx(1) and len(each.curves["gradient_share"]) == 4
    with pytest.raises(SpecError, match="needs two checkpoints or more of a run, but a group has 1"):
        SubspaceDrift(measure="subspace_drift").check(run[0])


@pytest.mark.parametrize("along", ["gradient", "sign", "weights", "random"])
def test_curvature_along_a_direction(along: str) -> None:
    case = CASES["mlp"]
    (given,) = subjects(case, 1)
    module = case.module()
    loss = nn.functional.cross_entropy(module(case.inputs), case.targets)
    g = torch.cat([x.flatten() for x in torch.autograd.grad(loss, list(module.parameters()))])
    random = torch.randn(79, generator=generator(given.seed, "curvature"), dtype=torch.float64)
    d = {"gradient": g, "sign": g.sign(), "weights": flat(module), "random": random}[along]
    (each,) = measured(
        DirectionalCurvature.model_validate({"measure": "directional_curvature", "along": along}), [given]
    )
    wanted = d @ dense(case, module) @ d / d.square().sum()
    assert each.values["directional_curvature"] == pytest.approx(float(wanted), rel=1e-9)
    assert each.values["directional_slope"] == pytest.approx(float(g @ d / d.norm()), rel=1e-9)


def test_what_is_not_defined_is_refused_with_what_to_do() -> None:
    (given,) = subjects(CASES["cnn_batch_norm"], 1)
    with pytest.raises(SpecError, match=r"'head\.\*' is the name of no trained parameter; there are 0.weight"):
        Eigenvalues(measure="eigenvalues", parameters=("head.*",)).check(given)
    with pytest.raises(SpecError, match=r"'0\.weight' is the name of no weight matrix"):
        RelativeFlatness(measure="relative_flatness", layer="0.weight").check(given)
    RelativeFlatness(measure="relative_flatness").check(given)
    error = replace(given.samples["train"], loss=lambda o, t: (o.argmax(-1) != t).to(o.dtype))
    with pytest.raises(SpecError, match="the loss has no gradient"):
        Trace(measure="trace").check(replace(given, samples={"train": error}))

    class Rounded(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            outputs = super().forward(x)
            return outputs + ((4 * outputs).round() / 4 - outputs).detach()

    with pytest.raises(SpecError, match="by autograd is not that of its loss"):
        list(Eigenvalues(measure="eigenvalues").compute([subject(CASES["softmax"], Rounded(5, 3).double())]))
