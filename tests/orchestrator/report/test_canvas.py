"""What all figures share: ticks of logarithmic axes, panels, colours, text as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from landsweep.orchestrator.report.canvas import (
    PALETTE,
    log_ticks,
    new_picture,
    panel_grid,
    plain,
    shades,
    thinned,
    words,
)


def test_figures_are_drawn_whatever_backend_the_environment_names() -> None:
    """One that exists is still there for the user's own code."""
    source = "from landsweep.orchestrator.report import drawing; print(drawing.rcParams['backend'])"
    for name, backend in (("no such one", "agg"), ("svg", "svg")):
        env = {**os.environ, "MPLBACKEND": name}
        done = subprocess.run([sys.executable, "-c", source], env=env, capture_output=True, text=True, check=False)
        assert done.stdout.strip().lower() == backend, done.stderr


def ticks(low: float, high: float, axis: str, scale: str = "log") -> tuple[list[float], list[str]]:
    """Ticks within the limits, and their texts."""
    picture = new_picture()
    plot = picture.add_subplot()
    plot.set(**{f"{axis}scale": scale, f"{axis}lim": (low, high)})  # type: ignore[arg-type]
    log_ticks(plot)
    picture.set_layout_engine("none")
    picture.draw_without_rendering()
    which: Any = plot.xaxis if axis == "x" else plot.yaxis
    shown = [(tick.get_loc(), tick.label1.get_text()) for tick in which.get_major_ticks()]
    inside = [(at, text) for at, text in shown if low <= at <= high]
    return [at for at, _ in inside], [text for _, text in inside]


@pytest.mark.parametrize(
    ("low", "high", "axis", "texts"),
    [
        (1.0, 3.0, "y", ["1", "1.5", "2", "2.5", "3"]),
        (0.02, 0.9, "y", ["0.02", "0.05", "0.1", "0.2", "0.5"]),
        (90, 60_000, "y", ["100", "200", "500", "1k", "2k", "5k", "10k", "20k", "50k"]),
        (400, 12_000, "x", ["500", "1k", "2k", "5k", "10k"]),
        (1.5e6, 4e6, "x", ["1.5M", "2M", "2.5M", "3M", "3.5M", "4M"]),
    ],
)
def test_few_decades_have_short_numbers(low: float, high: float, axis: str, texts: list[str]) -> None:
    assert ticks(low, high, axis)[1] == texts


@pytest.mark.parametrize(("low", "high", "axis"), [(1e-6, 1.0, "y"), (1e2, 1e7, "x"), (1.0, 150.0, "x")])
def test_many_decades_have_powers_of_ten(low: float, high: float, axis: str) -> None:
    places, texts = ticks(low, high, axis)
    assert np.log10(places) == pytest.approx(np.round(np.log10(places))) and all("10^" in text for text in texts)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_every_span_has_two_ticks_that_stand_apart(axis: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        low = 10 ** rng.uniform(-9, 9)
        high = low * 10 ** rng.uniform(0.02, 8)
        places, texts = ticks(low, high, axis)
        assert 2 <= len(places) <= 11, (low, high)
        assert len(set(texts)) == len(texts), "two ticks never have one text"


def test_other_axes_stay_as_they_are() -> None:
    assert ticks(0, 10, "y", "linear")[1] == ["0", "2", "4", "6", "8", "10"]
    plot = new_picture().add_subplot()
    plot.set(xscale="log", xlim=(1, 100))
    plot.set_xticks([3, 30], ["few", "many"])
    log_ticks(plot)
    assert [t.get_text() for t in plot.get_xticklabels()] == ["few", "many"]


@pytest.mark.filterwarnings("ignore:Data has no positive values:UserWarning")
@pytest.mark.parametrize("values", [[np.nan, np.nan], [0.0, -1.0], [-np.inf, 0.0]])
@pytest.mark.parametrize("shared", [False, True])
def test_an_axis_on_which_nothing_is_above_zero_becomes_linear(values: list[float], shared: bool) -> None:
    """And stays logarithmic where a panel that shares it has such values."""
    picture = new_picture()
    one = picture.add_subplot(1, 2, 1)
    other = picture.add_subplot(1, 2, 2, sharey=one if shared else None)
    one.plot([1, 10], values)
    other.plot([1, 10], [1.0, 100.0])
    for plot in (one, other):
        plot.set(xscale="log", yscale="log")
        log_ticks(plot)
    picture.canvas.draw()
    assert one.get_xscale() == ("log" if np.isfinite(values).any() else "linear") and other.get_xscale() == "log"
    assert one.get_yscale() == ("log" if shared else "linear") and other.get_yscale() == "log"


def test_panels_and_thinned_positions() -> None:
    assert [panel_grid(n) for n in (1, 3, 4, 5, 7)] == [(1, 1), (1, 3), (2, 2), (2, 3), (3, 3)]
    assert panel_grid(3, 2) == (2, 2)
    assert list(thinned(5, 7)) == [0, 1, 2, 3, 4] and list(thinned(15, 7)) == [0, 3, 6, 9, 12]
    assert len(shades(1)) == 1 and len({tuple(c) for c in shades(5)}) == 5 and len(set(PALETTE)) == 8
    assert words("test_loss") == "test loss" and words("net.hidden_0") == "net.hidden_0" and plain("$x$") == r"\$x\$"
