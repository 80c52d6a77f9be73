"""Surfaces from rows, and roughness of surfaces whose roughness is known."""

import numpy as np
import pandas as pd
import pytest

from landsweep.sweeps.landscape.colour_scale import Scale
from landsweep.sweeps.landscape.surfaces import Surface, roughness, surfaces


def surface(f: object, *, n: int = 21) -> Surface:
    x, y = np.linspace(-1, 1, n), np.linspace(-2, 2, n + 4)
    values = f(*np.meshgrid(x, y, indexing="ij"))  # type: ignore[operator]
    return Surface("m", 0, ("x", "y"), (x, y), values, ~np.isfinite(values))


def test_rows_in_any_order_find_their_place() -> None:
    points = [(x, y) for x in (-1.0, 0.5, 2.0) for y in (0.0, 7.0)]
    rows = pd.DataFrame(points, columns=["x", "y"]).assign(model="a", draw=0, status="ok")
    rows["test_loss"] = rows["x"] * 10 + rows["y"]
    rows.loc[rows.index[-1], ["status", "test_loss"]] = ["diverged", np.inf]
    shuffled = rows.drop(index=2).sample(frac=1, random_state=1)
    (s,) = surfaces(shuffled, ["x", "y"], "test_loss")
    for _, row in shuffled.iterrows():
        i, j = list(s.points[0]).index(row["x"]), list(s.points[1]).index(row["y"])
        if row["status"] == "ok":
            assert s.values[i, j] == row["test_loss"]
        else:
            assert np.isnan(s.values[i, j])
            assert s.diverged[i, j]
    assert np.isnan(s.values).sum() == 2  # one diverged, one without a row
    assert s.diverged.sum() == 1
    assert s.center == (1, 0)
    assert not s.exact_center


def test_a_convex_bowl_is_smooth() -> None:
    r = roughness(surface(lambda x, y: 0.01 + x**2 + y**2))
    assert r.convex == 1
    assert r.bumps == 0
    assert r.variation <= 1
    assert r.below_one == pytest.approx(np.pi / 8, abs=0.05)
    assert r.diverged == 0


def test_ripples_show_in_every_number() -> None:
    smooth, rough = (
        roughness(surface(lambda x, y, a=a: 0.5 + x**2 + y**2 + a * np.cos(25 * x) * np.cos(11 * y))) for a in (0, 0.4)
    )
    assert rough.bumps > 1
    assert rough.variation > 1.5 * smooth.variation
    assert rough.convex < 0.8


def test_a_monotone_line_has_variation_one_half() -> None:
    assert roughness(surface(lambda x, y: np.exp(x + y))).variation == pytest.approx(0.5)


def test_diverged_points_are_counted_not_used() -> None:
    r = roughness(surface(lambda x, y: np.where(x > 0.75, np.nan, 1 + x**2 + y**2)))
    assert r.diverged == pytest.approx(3 / 21)
    assert r.convex == 1


def test_slices_and_lines_go_through_the_centre() -> None:
    x, y, z = np.array([-1.0, 0.0, 1.0]), np.array([-2.0, 0.0]), np.array([0.0, 1.0, 2.0, 3.0])
    values = x[:, None, None] + 10 * y[:, None] + 100 * z
    s = Surface("m", 0, ("x", "y", "z"), (x, y, z), values, np.zeros(values.shape, bool))
    assert s.slice(0, 2).values.tolist() == (x[:, None] + 100 * z).tolist()
    assert s.slice(0, 2).axes == ("x", "z")
    assert s.line(1).tolist() == [-20, 0]


def test_one_scale_for_all() -> None:
    scale = Scale.of([np.array([0.0, 0.01, 1.0]), np.array([np.nan, 100.0, np.inf])])
    assert scale.log
    assert scale.low == 0.01
    assert scale.clip(np.array([0.0]))[0] == 0.01
    assert np.isnan(scale.clip(np.array([np.nan]))[0])
    assert not Scale.of([np.array([-1.0, 2.0])]).log
    for odd in ([np.array([3.0, 3.0])], [np.array([0.0])], [np.array([np.nan])]):
        one = Scale.of(odd)
        assert one.high > one.low
