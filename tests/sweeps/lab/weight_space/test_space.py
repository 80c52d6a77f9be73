"""Spaces: exact moves, exact returns, any tensors."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from landsweep.sweeps.lab.weight_space.space import Space


def random_like(tensors: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {k: torch.randn(t.shape, generator=g, dtype=t.dtype) for k, t in tensors.items()}


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)).double()


def test_moves_equal_direct_evaluation(net: nn.Module) -> None:
    """Against a slow, obvious oracle: deep copies and functional_call."""
    x = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    net.eval()
    center = dict(net.named_parameters())
    base = {k: v.detach().clone() for k, v in center.items()}
    d = {"x": random_like(base, 1), "y": random_like(base, 2)}
    oracle = copy.deepcopy(net)
    with Space(center, d) as space, torch.inference_mode():
        for a, b in [(0.3, -2.0), (0.0, 0.0), (1.7, 0.25), (-1.0, 4.0)]:
            space.move({"x": a, "y": b})
            weights = {k: base[k] + a * d["x"][k] + b * d["y"][k] for k in base}
            torch.testing.assert_close(net(x), functional_call(oracle, weights, x), rtol=1e-12, atol=1e-14)


def test_no_step_is_ever_carried_over(net: nn.Module) -> None:
    center = dict(net.float().named_parameters())
    first = {k: p.detach().clone() for k, p in center.items()}
    with Space(center, {"x": random_like(first, 1)}) as space:
        space.move({"x": 0.1})
        once = {k: p.detach().clone() for k, p in center.items()}
        for i in range(1000):
            space.move({"x": 1e4 * math.sin(i)})
        space.move({"x": 0.1})
        assert all(torch.equal(p, once[k]) for k, p in center.items())
        space.restore()
        assert all(torch.equal(p, first[k]) for k, p in center.items())


def test_memory_comes_back_after_an_exception(net: nn.Module) -> None:
    before = copy.deepcopy(net.state_dict())
    places = {k: p.data_ptr() for k, p in net.named_parameters()}
    center = dict(net.named_parameters())
    with pytest.raises(ZeroDivisionError), Space(center, {"x": random_like(center, 1)}) as space:
        space.move({"x": 3.0})
        center["0.weight"].data.fill_(math.nan)  # even a kind that spoils its working copy
        raise ZeroDivisionError
    after = net.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert places == {k: p.data_ptr() for k, p in net.named_parameters()}


def test_inputs_are_a_space_too(net: nn.Module) -> None:
    """The landscape of a fixed network over its inputs, by the same class."""
    net.eval()
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    d = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    wanted = [net(x + c * d).detach() for c in (-1.0, 0.0, 0.5)]
    with Space({"inputs": x}, {"s": {"inputs": d}}) as space:
        for c, y in zip((-1.0, 0.0, 0.5), wanted, strict=True):
            space.move({"s": c})
            torch.testing.assert_close(net(x).detach(), y)


def test_a_quadratic_of_two_tensors_is_exact() -> None:
    """f(u, v) = u'Au/2 + b'v along any direction is a parabola with known coefficients."""
    g = torch.Generator().manual_seed(0)
    a = torch.randn(4, 4, generator=g, dtype=torch.float64)
    a = a + a.T
    b, u, du = (torch.randn(4, generator=g, dtype=torch.float64) for _ in range(3))
    v, dv = torch.randn(2, 2, generator=g, dtype=torch.float64), torch.randn(2, 2, generator=g, dtype=torch.float64)

    def f() -> float:
        return float(u @ a @ u / 2 + b @ v.reshape(4))

    f0, slope, curvature = f(), float(u @ a @ du + b @ dv.reshape(4)), float(du @ a @ du)
    with Space({"u": u, "v": v}, {"x": {"u": du, "v": dv}}) as space:
        for c in (-3.0, 0.1, 2.0):
            space.move({"x": c})
            assert f() == pytest.approx(f0 + c * slope + c * c * curvature / 2, rel=1e-12)
    assert f() == f0


def test_taylor_error_is_of_third_order(net: nn.Module) -> None:
    """|L(w + c d) - L - c g'd - c^2 d'Hd / 2| falls with c^3 (landscape.md 4.1)."""
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = torch.tensor([0, 1] * 4)
    net.eval()
    center = dict(net.named_parameters())
    base = {k: p.detach().clone() for k, p in center.items()}
    d = random_like(base, 5)

    def loss_at(c: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(net, {k: base[k] + c * d[k] for k in base}, x), y)

    zero = torch.zeros((), dtype=torch.float64)
    first = torch.func.grad(loss_at)
    value, slope, curvature = loss_at(zero), first(zero), torch.func.grad(first)(zero)
    steps = [0.02, 0.01, 0.005]
    errors = []
    with Space(center, {"x": d}) as space, torch.no_grad():
        for c in steps:
            space.move({"x": c})
            found = nn.functional.cross_entropy(net(x), y)
            errors.append(abs(float(found - value - c * slope - c * c * curvature / 2)))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(2.8 < o < 3.3 for o in orders), (errors, orders)


def test_types_do_not_mix_and_shapes_must_fit() -> None:
    half, whole = torch.ones(3, dtype=torch.float64), torch.ones(2)
    with Space({"a": half, "b": whole}, {"x": {"a": torch.ones(3, dtype=torch.float64), "b": torch.ones(2)}}) as space:
        space.move({"x": 1e-12})
        assert half.dtype is torch.float64
        assert half[0] > 1
        assert whole[0] == 1
    with pytest.raises(ValueError, match=r"direction x: a has shape \[2\], the center: \[3\]"):
        Space({"a": half}, {"x": {"a": torch.ones(2)}})


def test_tied_weights_stay_tied() -> None:
    first = nn.Linear(3, 3, bias=False)
    second = nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    net = nn.Sequential(first, second)
    with Space(dict(net.named_parameters()), {"x": {"0.weight": torch.eye(3)}}) as space:
        space.move({"x": 1.0})
        assert torch.equal(first.weight, second.weight)
        w = first.weight.detach().clone()
        torch.testing.assert_close(net(torch.eye(3)).detach(), (w @ w).T)
