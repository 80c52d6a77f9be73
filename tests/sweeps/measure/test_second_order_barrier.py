"""Second-order barriers: exact on quadratics, on cubics half-way; whole Hessians; matching; what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.measure.measures.second_order_barrier import SecondOrderBarrier
from landsweep.sweeps.measure.subject import Subject
from tests.support.curvature import CASES, Case, dense, flat, subject

MEASURE = SecondOrderBarrier(measure="second_order_barrier", points=21)


def pair_of(case: Case, a: nn.Module, b: nn.Module) -> Subject:
    one, other = subject(case, a), subject(case, b)
    return replace(one, models=(one.models[0], replace(other.models[0], key="b")))


class Polynomial(nn.Module):
    """Outputs w_0 + w_1 to a power: the mean of the squared error is a polynomial on any line."""

    def __init__(self, first: float, second: float, power: int) -> None:
        super().__init__()
        self.one = nn.ParameterDict({"w": torch.tensor([first]).double()})
        self.two = nn.ParameterDict({"w": torch.tensor([second]).double()})
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        return (self.one["w"] + self.two["w"]) ** self.power * torch.ones_like(x)


def polynomial(power: int, a: tuple[float, float], b: tuple[float, float]) -> Subject:
    case = Case(lambda _: Polynomial(0, 0, power), torch.ones(3, 1).double(), torch.zeros(3, 1).double(), "mse")
    return pair_of(case, Polynomial(*a, power), Polynomial(*b, power))


@pytest.mark.parametrize(("a", "b"), [((1.0, 2.0), (-3.0, 0.5)), ((0.0, -1.0), (0.0, 1.0)), ((2.0, 2.0), (1.0, 5.0))])
def test_on_a_quadratic_it_is_the_barrier(a: tuple[float, float], b: tuple[float, float]) -> None:
    (found,) = MEASURE.compute([polynomial(1, a, b)])
    values, curves = found.values, found.curves
    assert values["second_order_barrier"] == pytest.approx(values["second_order_measured"], abs=1e-12)
    way = sum(b) - sum(a)
    for place in ("start", "middle", "end"):
        assert values[f"second_order_curvature_{place}"] == pytest.approx(2 * way**2)
    assert curves["layer_predicted"] == pytest.approx(list(curves["layer_measured"]), abs=1e-12)
    assert curves["layer_curvature"] == pytest.approx([2 * (b[0] - a[0]) ** 2, 2 * (b[1] - a[1]) ** 2])


@pytest.mark.parametrize("place", [0.25, 0.5, 0.75])
def test_of_a_fourth_power_it_is_the_formula(place: float) -> None:
    """The loss u^4 from u = -1 to 2: both expansions by hand, weighed by 1 - t and t, less the chord."""
    (found,) = SecondOrderBarrier(measure="second_order_barrier", points=5).compute(
        [polynomial(2, (-1.0, 0.0), (2.0, 0.0))]
    )

    def at(t: float) -> float:
        a, b = 1 - 4 * 3 * t + 12 * 9 * t**2 / 2, 16 - 32 * 3 * (1 - t) + 48 * 9 * (1 - t) ** 2 / 2
        return (1 - t) * a + t * b - (1 - t) - 16 * t

    assert found.values["second_order_barrier"] == pytest.approx(max(at(t) for t in (0, 0.25, 0.5, 0.75, 1)))
    assert found.values["second_order_barrier"] >= at(place) - 1e-12


@pytest.mark.parametrize("name", ["mlp", "mlp_mse"])
def test_curvatures_are_those_of_whole_hessians(name: str) -> None:
    case = CASES[name]
    a, b, middle = case.module(0), case.module(1), case.module(0)
    way = flat(b) - flat(a)
    torch.nn.utils.vector_to_parameters(flat(a) + way / 2, middle.parameters())
    (found,) = MEASURE.compute([pair_of(case, a, b)])
    for place, module in (("start", a), ("middle", middle), ("end", b)):
        wanted = float(way @ dense(case, module) @ way)
        assert found.values[f"second_order_curvature_{place}"] == pytest.approx(wanted, rel=1e-8)
    assert len(found.curves["layer_predicted"]) == 3


def test_a_shuffled_copy_has_no_barrier_after_matching() -> None:
    case = CASES["mlp"]
    a, b = case.module(0), case.module(0)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        b[0].weight.copy_(a[0].weight[order])
        b[0].bias.copy_(a[0].bias[order])
        b[2].weight.copy_(a[2].weight[:, order])
    given = pair_of(case, a, b)
    (plain,) = MEASURE.compute([given])
    (matched,) = MEASURE.model_copy(update={"match": "weights"}).compute([given])
    assert plain.values["second_order_curvature_middle"] != 0
    assert all(v == pytest.approx(0, abs=1e-12) for v in matched.values.values())


def test_batch_normalisation_and_unlike_networks_are_refused() -> None:
    case = CASES["cnn_batch_norm"]
    with pytest.raises(SpecError, match="running statistics of batch normalisation move on the line too"):
        MEASURE.check(pair_of(case, case.module(0), case.module(1)))
    with pytest.raises(SpecError, match="only networks of one architecture are connected"):
        MEASURE.check(pair_of(CASES["mlp"], CASES["mlp"].module(0), CASES["relu"].module(0)))
