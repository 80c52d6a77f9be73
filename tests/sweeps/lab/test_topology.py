"""Minima, saddles and basins of surfaces: closed forms, and a slow reading of the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import generate_binary_structure, label

from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.lab.topology import Neighbours, merge_tree


def double_well(n: int) -> Floats:
    x = np.linspace(-2, 2, n)
    return (x[:, None] ** 2 - 1) ** 2 + 0.3 * x[:, None] + 2 * x[None] ** 2


def test_the_double_well_has_one_pair() -> None:
    stationary = np.sort(np.roots([4, 0, -4, 0.3]).real)
    deep, saddle, shallow = (stationary**2 - 1) ** 2 + 0.3 * stationary
    (birth, death), *others = merge_tree(double_well(401)).pairs()
    assert not others
    assert death - birth == pytest.approx(saddle - shallow, abs=1e-4)
    assert saddle - shallow == pytest.approx(0.71714, abs=1e-5)
    tree = merge_tree(double_well(401))
    assert tree.saddle_minimum_distance() == pytest.approx((2 * saddle - shallow - deep) / 2, abs=1e-4)
    assert tree.basins[0].death == math.inf
    assert {b.saddle for b in tree.basins} == {tree.basins[1].saddle}


def slow_pairs(values: Floats, neighbours: Neighbours) -> list[tuple[float, float]]:
    """Births and deaths by counting components at every level: the definition, without union-find."""
    structure = generate_binary_structure(values.ndim, 1 if neighbours == "axes" else values.ndim)
    pairs, alive = [], set()
    for level in np.unique(values[np.isfinite(values)]):
        labels, count = label(values <= level, structure)
        lowest = {float(values[labels == i].min()) for i in range(1, count + 1)}
        pairs += [(birth, float(level)) for birth in alive - lowest]
        alive = lowest
    return sorted(pairs)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", [(40,), (9, 12), (5, 6, 4)])
@pytest.mark.parametrize("neighbours", ["axes", "diagonals"])
def test_pairs_are_those_of_counting_components(seed: int, shape: tuple[int, ...], neighbours: Neighbours) -> None:
    values = np.random.default_rng(seed).permutation(math.prod(shape)).reshape(shape).astype(np.float64)
    values[values > values.size * 0.9] = np.nan  # walls
    tree = merge_tree(values, neighbours=neighbours)
    assert sorted(tree.pairs()) == slow_pairs(np.where(np.isnan(values), np.inf, values), neighbours)
    assert tree.points == np.isfinite(values).sum()


def test_walls_keep_basins_apart() -> None:
    tree = merge_tree(np.array([1.0, 0.0, np.inf, 2.0, 3.0]))
    assert not tree.pairs() and tree.saddle_minimum_distance() is None
    assert [(b.lowest, b.size, b.saddle) for b in tree.basins] == [(0.0, 2, None), (2.0, 2, None)]


def test_a_plateau_is_one_minimum() -> None:
    rim = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])  # of a U, whose ends are reached first
    assert len(merge_tree(rim).basins) == 1
    assert [len(merge_tree(v).basins) for v in (np.zeros((4, 4)), np.full((2, 2), np.nan))] == [1, 0]


def test_three_basins_that_meet_in_one_point() -> None:
    values = np.array([[9.0, 1.0, 9.0], [2.0, 5.0, 3.0], [9.0, 9.0, 9.0]])
    tree = merge_tree(values)
    assert tree.pairs() == [(2.0, 5.0), (3.0, 5.0)]
    assert tree.saddle_minimum_distance() == pytest.approx((4 + 3 + 2) / 3)
    assert all(b.saddle == (1, 1) and b.size == 1 for b in tree.basins)


def test_the_least_persistence_removes_ripples() -> None:
    values = np.array([0.0, 0.2, 0.1, 2.0, 1.0, 1.3, 1.2, 3.0])
    assert merge_tree(values).pairs() == [(1.0, 2.0), (1.2, 1.3), (0.1, 0.2)]  # 1.3 - 1.2 is rounded up
    tree = merge_tree(values, least=0.15)
    assert tree.pairs() == [(1.0, 2.0)]
    assert [(b.rim, b.size) for b in tree.basins] == [(2.0, 3), (2.0, 3)]
    wide = tree.saddle_minimum_distance(by_size=True)
    assert wide == pytest.approx(1.5)
    with pytest.raises(ValueError, match="0 or more"):
        merge_tree(values, least=math.nan)


def test_weights_by_size() -> None:
    values = np.array([0.0, 1.0, 2.0, 5.0, 4.0])
    tree = merge_tree(values)
    assert tree.saddle_minimum_distance() == pytest.approx(3)
    assert tree.saddle_minimum_distance(by_size=True) == pytest.approx((3 * 5 + 1 * 1) / 4)
