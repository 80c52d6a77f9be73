"""Sharpness against the closed forms of a quadratic loss, and relative flatness against its definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.curvature import ascend
from landsweep.sweeps.measure.measures.average_sharpness import AverageSharpness
from landsweep.sweeps.measure.measures.first_order_flatness import FirstOrderFlatness
from landsweep.sweeps.measure.measures.relative_flatness import RelativeFlatness
from landsweep.sweeps.measure.measures.sam_sharpness import SamSharpness
from landsweep.sweeps.measure.measures.worst_sharpness import WorstSharpness
from landsweep.sweeps.measure.subject import Subject
from tests.support.curvature import CASES, Case, dense, flat, subject

pytestmark = pytest.mark.rotating

RADIUS = 0.2
SPECTRUM = (5.0, 2.0, 0.5)


def quadratic(seed: int, away: float = 0.0) -> tuple[Subject, Tensor, Tensor]:
    """A linear model with mean squared error, its Hessian [9, 9], and its weights less those of the minimum."""
    g = torch.Generator().manual_seed(seed)
    n = 30
    inputs = torch.randn(n, 3, generator=g, dtype=torch.float64) * torch.tensor(SPECTRUM).sqrt()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Linear(3, 3, bias=False).double()
    off = away * torch.randn(3, 3, generator=g, dtype=torch.float64)
    targets = (inputs @ (module.weight.detach() - off).T).detach()
    case = Case(lambda _: module, inputs, targets, "mse")
    return subject(case, module, seed, batch_size=20), dense(case, module), off.flatten()


def scaled(given: Subject, hessian: Tensor, adaptive: bool) -> Tensor:
    """D H D."""
    d = flat(given.models[0].build()).abs() if adaptive else torch.ones(len(hessian), dtype=torch.float64)
    return d[:, None] * hessian * d


@pytest.mark.parametrize("adaptive", [False, True])
def test_at_the_minimum_of_a_quadratic(adaptive: bool) -> None:
    """l2: radius^2 / 2 times the largest eigenvalue of DHD; linf: the largest over the corners of the cube."""
    given = [quadratic(seed) for seed in range(20)]
    balls, cubes = (
        WorstSharpness.model_validate(
            {
                "measure": "worst_sharpness",
                "radius": RADIUS,
                "norm": norm,
                "adaptive": adaptive,
                "part": None,
                "steps": 40,
                "starts": 6,
            }
        ).compute([s for s, _, _ in given])
        for norm in ("l2", "linf")
    )
    corners = torch.tensor(list(product([-1.0, 1.0], repeat=9)), dtype=torch.float64)
    for (one, hessian, _), ball, cube in zip(given, balls, cubes, strict=True):
        matrix = scaled(one, hessian, adaptive)
        wanted = RADIUS**2 / 2 * float(torch.linalg.eigvalsh(matrix)[-1])
        assert ball.values["worst_sharpness"] == pytest.approx(wanted, rel=0.02)
        assert ball.values["worst_sharpness"] <= wanted * (1 + 1e-9)  # type: ignore[operator]
        best = RADIUS**2 / 2 * float(((corners @ matrix) * corners).sum(1).max())
        least = RADIUS**2 / 2 * float(matrix.trace())
        assert max(least, 0.8 * best) <= cube.values["worst_sharpness"] <= best * (1 + 1e-9)  # type: ignore[operator]


@pytest.mark.parametrize(("norm", "share"), [("l2", 1.0), ("linf", 1 / 3)])
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_average_is_half_the_scaled_trace(norm: str, share: float, adaptive: bool) -> None:
    """Of N(0, radius^2) in each number; the uniform distribution on +-radius has a third of the variance."""
    given = [quadratic(seed, away=0.5) for seed in range(20)]
    measure = AverageSharpness.model_validate(
        {"measure": "average_sharpness", "norm": norm, "adaptive": adaptive, "radius": RADIUS, "draws": 200}
    )
    off = []
    for (one, hessian, _), each in zip(given, measure.compute([s for s, _, _ in given]), strict=True):
        wanted = share * RADIUS**2 / 2 * float(scaled(one, hessian, adaptive).trace())
        off.append((each.values["average_sharpness"] - wanted) / each.values["average_sharpness_se"])  # type: ignore[operator]
    assert max(map(abs, off)) < 4.5 and abs(sum(off)) / 20**0.5 < 4


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_one_step_of_sam_is_the_taylor_sum_of_a_quadratic(norm: str) -> None:
    given, hessian, off = quadratic(3, away=1.0)
    g = hessian @ off
    u = RADIUS * (g / g.norm() if norm == "l2" else g.sign())
    (each,) = SamSharpness.model_validate({"measure": "sam_sharpness", "norm": norm, "radius": RADIUS}).compute([given])
    assert each.values["sam_sharpness"] == pytest.approx(float(g @ u + u @ hessian @ u / 2), rel=1e-9)


def test_first_order_flatness_at_a_minimum_is_the_largest_eigenvalue() -> None:
    given = [quadratic(seed) for seed in range(20)]
    measure = FirstOrderFlatness(measure="first_order_flatness", radius=RADIUS, steps=60)
    for (_, hessian, _), each in zip(given, measure.compute([s for s, _, _ in given]), strict=True):
        wanted = RADIUS**2 * float(torch.linalg.eigvalsh(hessian)[-1])
        assert each.values["first_order_flatness"] == pytest.approx(wanted, rel=0.02)
        assert each.values["first_order_flatness"] <= wanted * (1 + 1e-9)  # type: ignore[operator]


def test_parts_are_means_by_their_samples() -> None:
    """30 samples in parts of 20: the second part, which is shorter, counts half as much."""
    given, _, _ = quadratic(1, away=1.0)
    (both,) = WorstSharpness(measure="worst_sharpness", radius=RADIUS, part=20).compute([given])
    samples = given.samples["train"]

    def alone(start: int, end: int) -> float:
        few = replace(samples, inputs=samples.inputs[start:end], targets=samples.targets[start:end])
        (each,) = WorstSharpness(measure="worst_sharpness", radius=RADIUS, part=None).compute(
            [replace(given, samples={"train": few})]
        )
        return float(each.values["worst_sharpness"])  # type: ignore[arg-type]

    a, b = alone(0, 20), alone(20, 30)
    assert both.values["worst_sharpness"] == pytest.approx((2 * a + b) / 3, rel=1e-9)
    assert both.values["worst_sharpness_parts"] == 2


def test_an_ascent_finds_the_best_corner_and_stays_in_the_ball() -> None:
    """A linear function's largest value is radius times the dual norm of its slope, of each row by itself."""
    slopes = torch.tensor([[3.0, -4.0], [0.0, 2.0], [0.0, 0.0]])
    for norm, wanted in (("l2", [5.0, 2.0, 0.0]), ("linf", [7.0, 2.0, 0.0])):
        points, values = ascend(lambda u: ((u * slopes).sum(1), slopes), torch.zeros(3, 2), norm, 2.0, 10)  # type: ignore[arg-type]
        assert values.tolist() == pytest.approx([2 * w for w in wanted])
        lengths = points.norm(dim=1) if norm == "l2" else points.abs().amax(1)
        assert (lengths <= 2 + 1e-6).all()


def definition(weights: Tensor, hessian: Tensor) -> float:
    """Sum over rows r, s of <W_r, W_s> tr H_rs, term by term."""
    rows, columns = weights.shape
    blocks = hessian.view(rows, columns, rows, columns)
    terms = [
        float(weights[r] @ weights[s]) * float(blocks[r, :, s, :].trace()) for r in range(rows) for s in range(rows)
    ]
    return sum(terms)


@pytest.mark.parametrize(("layer", "place"), [(None, slice(48, 72)), ("0.weight", slice(0, 40))])
def test_relative_flatness_is_its_definition(layer: str | None, place: slice) -> None:
    case = CASES["relu"]
    module = case.module(4)
    (each,) = RelativeFlatness(measure="relative_flatness", layer=layer, products=200, tolerance=0.0).compute(
        [subject(case, module)]
    )
    name = layer or "2.weight"
    wanted = definition(module.get_parameter(name).detach(), dense(case, module)[place, place])
    assert each.values["relative_flatness_layer"] == name
    assert abs(each.values["relative_flatness"] - wanted) < 4 * each.values["relative_flatness_se"]  # type: ignore[operator]


@pytest.mark.parametrize("factor", [0.1, 7.0])
def test_relative_flatness_does_not_change_when_layers_are_rescaled(factor: float) -> None:
    case = CASES["relu"]
    values: list[Sequence[float]] = []
    for scale in (1.0, factor):
        module = case.module(2)
        with torch.no_grad():
            for name in ("0.weight", "0.bias"):
                module.get_parameter(name).mul_(scale)
            module.get_parameter("2.weight").div_(scale)
        (each,) = RelativeFlatness(measure="relative_flatness", products=20, tolerance=0).compute(
            [subject(case, module)]
        )
        values.append([each.values["relative_flatness"], each.values["relative_flatness_se"]])  # type: ignore[list-item]
    assert values[1] == pytest.approx(values[0], rel=1e-9)
