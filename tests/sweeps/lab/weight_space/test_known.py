"""Directions that are computed from what is known, against closed forms and independent computation."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.lab.weight_space.directions import inner_product, orthogonalise
from landsweep.sweeps.lab.weight_space.known import fitted, gradient, principal_components, project, scaled


def drawn(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_of_linear_regression_is_known(seed: int) -> None:
    """d/dW mean |Wx - y|^2 / m = 2 (Wx - y) x' / (n m); batches of unequal size must count by their samples."""
    torch.manual_seed(seed)
    net = nn.Linear(4, 3, dtype=torch.float64)
    net.bias.requires_grad_(False)
    x, y = torch.randn(11, 4, dtype=torch.float64), torch.randn(11, 3, dtype=torch.float64)
    given = gradient(net, zip(torch.split(x, 4), torch.split(y, 4), strict=True), LOSSES["mse"])
    wanted = 2 * (net(x) - y).T @ x / (11 * 3)
    assert given.keys() == {"weight"}
    np.testing.assert_allclose(given["weight"], wanted.detach(), rtol=1e-12)
    assert net.weight.grad is None


def test_a_loss_without_a_gradient_is_refused() -> None:
    batches = [(torch.randn(3, 4), torch.tensor([0, 1, 2]))]
    with pytest.raises(SpecError, match="has no gradient"):
        gradient(nn.Linear(4, 3), batches, LOSSES["error"])


def path(seed: int, points: int = 7) -> dict[str, Any]:
    return {"a": drawn(seed, points, 3, 2), "b": drawn(seed + 100, points, 5)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("about", ["last", "mean"])
def test_components_are_those_of_the_singular_value_decomposition(seed: int, about: Any) -> None:
    points = path(seed)
    flat = np.concatenate([points["a"].reshape(7, -1), points["b"]], axis=1)
    moved = flat - (flat[-1] if about == "last" else flat.mean(0))
    _, values, vectors = np.linalg.svd(moved, full_matrices=False)
    components, shares = principal_components(points, about)
    assert len(components) == 6  # seven points span six dimensions, around either centre
    np.testing.assert_allclose(shares, (values**2 / (values**2).sum())[:6], rtol=1e-10)
    for component, vector in zip(components, vectors, strict=False):
        mine = np.concatenate([component["a"].ravel(), component["b"]])
        assert abs(mine @ vector) == pytest.approx(1, abs=1e-9)
        along = moved @ mine
        assert along[np.argmax(np.abs(along))] > 0  # the sign is that of the farthest point


def test_a_path_in_a_plane_has_two_components_and_no_more() -> None:
    plane = drawn(0, 2, 40)
    points = {"w": drawn(1, 9, 2) @ plane + drawn(2, 40)}
    components, shares = principal_components(points, "mean")
    assert len(components) == 2
    assert shares.sum() == pytest.approx(1)
    seen = project(points, {"w": points["w"][-1]}, components)
    assert (seen.residual <= 1e-10 * seen.distance.max()).all()


@pytest.mark.parametrize("seed", range(5))
def test_projections_onto_oblique_directions_are_those_of_least_squares(seed: int) -> None:
    points, centre = path(seed), {"a": drawn(7, 3, 2), "b": drawn(8, 5)}
    directions = [{"a": 3 * drawn(9, 3, 2), "b": drawn(10, 5)}, {"a": drawn(11, 3, 2)}]  # the second leaves b alone
    seen = project(points, centre, directions)
    matrix = np.stack([np.concatenate([d["a"].ravel(), d.get("b", np.zeros(5))]) for d in directions], axis=1)
    moved = np.concatenate([(points["a"] - centre["a"]).reshape(7, -1), points["b"] - centre["b"]], axis=1)
    wanted, squares, *_ = np.linalg.lstsq(matrix, moved.T, rcond=None)
    np.testing.assert_allclose(seen.coordinates, wanted.T, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(seen.residual**2, squares, rtol=1e-9)
    np.testing.assert_allclose(seen.distance, np.linalg.norm(moved, axis=1))


def test_a_point_of_the_plane_comes_back_with_its_coordinates() -> None:
    x, y, centre = drawn(0, 6), drawn(1, 6), drawn(2, 6)
    points = {"w": np.stack([centre + 0.3 * x - 2 * y, centre])}
    seen = project(points, {"w": centre}, [{"w": x}, {"w": y}])
    np.testing.assert_allclose(seen.coordinates, [[0.3, -2], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(seen.residual, 0, atol=1e-12)


def test_lengths_are_as_asked_for() -> None:
    direction, weights = {"a": drawn(0, 4), "b": np.zeros(3)}, {"a": drawn(1, 4), "b": drawn(2, 3)}
    unit = scaled(direction, weights, "unit", "x")
    assert inner_product(unit, unit) == pytest.approx(1)
    long = scaled(direction, weights, "weights", "x")  # b does not move, so it does not count
    assert inner_product(long, long) == pytest.approx(float(weights["a"] @ weights["a"]))
    assert scaled(direction, weights, "given", "x") is direction
    with pytest.raises(SpecError, match="zero everywhere"):
        scaled({"a": np.zeros(4)}, weights, "given", "x")
    with pytest.raises(SpecError, match="are all zero"):
        scaled(direction, {"a": np.zeros(4), "b": drawn(2, 3)}, "weights", "x")


def test_tensors_that_count_for_no_angle_go_along() -> None:
    x, y = {"w": np.array([2.0, 0.0]), "mean": np.array([10.0])}, {"w": np.array([1.0, 1.0]), "mean": np.array([3.0])}
    orthogonalise([x, y], ["w"])
    np.testing.assert_allclose(y["w"], [0, 1])
    np.testing.assert_allclose(y["mean"], 3 - 10 / 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weigth": torch.zeros(3, 4)}, "'weigth' is no parameter of this network; it has weight, bias"),
        ({"weight": torch.zeros(4, 3)}, r"weight has shape \[4, 3\], the parameter \[3, 4\]"),
        ({"bias": torch.tensor([0.0, float("nan"), 1.0])}, "bias holds nan or inf"),
        ({}, "gives nothing"),
        (None, "gives a NoneType"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(given: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        fitted(given, nn.Linear(4, 3), "d")
