"""Schedules against torch's schedulers, and against their formulas where torch has none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch.optim import lr_scheduler as peers

from landsweep.sweeps.lab.schedules import Schedule, ScheduleSpec

TOTAL = 40
Peer = Callable[[torch.optim.Optimizer], peers.LRScheduler]


def schedule(**fields: Any) -> Schedule:
    made: Schedule = TypeAdapter(ScheduleSpec).validate_python(fields)
    return made


def curve(s: Schedule, total: int = TOTAL) -> list[float]:
    return [s.multiplier(step, total) for step in range(total)]


def peer_curve(make: Peer) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0, momentum=0.9)
    scheduler, found = make(optimizer), []
    for _ in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(found) < TOTAL:
            scheduler.step()
    return found


@pytest.mark.parametrize(
    ("fields", "peer"),
    [
        ({"shape": "constant"}, lambda o: peers.ConstantLR(o, 1.0)),
        ({"shape": "step", "at": [0.5, 0.75], "factor": 0.2}, lambda o: peers.MultiStepLR(o, [20, 30], 0.2)),
        ({"shape": "cosine"}, lambda o: peers.CosineAnnealingLR(o, TOTAL)),
        ({"shape": "cosine", "final": 0.1}, lambda o: peers.CosineAnnealingLR(o, TOTAL, 0.1)),
        ({"shape": "linear"}, lambda o: peers.LinearLR(o, 1.0, 0.0, TOTAL)),
        ({"shape": "linear", "final": 0.25}, lambda o: peers.LinearLR(o, 1.0, 0.25, TOTAL)),
        ({"shape": "one_cycle"}, lambda o: peers.OneCycleLR(o, 1.0, total_steps=TOTAL)),
        (
            {"shape": "one_cycle", "peak": 0.5, "start_divisor": 10, "final_divisor": 100, "anneal": "linear"},
            lambda o: peers.OneCycleLR(
                o, 1.0, total_steps=TOTAL, pct_start=0.5, div_factor=10, final_div_factor=100, anneal_strategy="linear"
            ),
        ),
    ],
)
def test_equals_torch(fields: dict[str, Any], peer: Peer) -> None:
    assert curve(schedule(**fields)) == pytest.approx(peer_curve(peer), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    ("decay", "formula"),
    [
        ("linear", lambda t: 1 - t),
        ("cosine", lambda t: (1 + math.cos(math.pi * t)) / 2),
        ("1-sqrt", lambda t: 1 - math.sqrt(t)),
        ("1-square", lambda t: 1 - t**2),
    ],
)
def test_cool_down(decay: str, formula: Callable[[float], float]) -> None:
    """1 for three quarters of the run, then ten steps down towards the final share."""
    found = curve(schedule(shape="wsd", cooldown=0.25, decay=decay, final=0.1))
    assert found[:31] == [1.0] * 31
    assert found[30:] == pytest.approx([0.1 + 0.9 * formula(i / 10) for i in range(10)], rel=1e-12)


SHAPES: list[dict[str, Any]] = [
    {"shape": "constant"},
    {"shape": "step"},
    {"shape": "cosine"},
    {"shape": "linear"},
    {"shape": "one_cycle"},
    {"shape": "wsd"},
    {"shape": "cycles", "ends": [0.3, 1]},
    {"shape": "cycles", "ends": [0.5, 1], "within": "cosine", "final": 0.1},
]


@pytest.mark.parametrize("fields", SHAPES, ids=lambda f: f["shape"])
def test_warm_up_comes_before_any_shape(fields: dict[str, Any]) -> None:
    plain = curve(schedule(**fields), TOTAL - 8)
    for warm in ({"warmup": 0.2}, {"warmup_steps": 8}):
        found = curve(schedule(**fields, **warm))
        assert found[:8] == pytest.approx([(i + 1) / 9 for i in range(8)])
        assert found[8:] == plain


@given(st.sampled_from(SHAPES), st.integers(1, 300), st.floats(0, 0.99), st.floats(0, 1).map(lambda x: round(x, 3)))
def test_multipliers_lie_between_0_and_1(fields: dict[str, Any], total: int, warmup: float, cooldown: float) -> None:
    more = {"cooldown": cooldown} if fields["shape"] == "wsd" else {}
    assert all(-1e-12 <= m <= 1 + 1e-12 for m in curve(schedule(**fields, **more, warmup=warmup), total))


@pytest.mark.parametrize("within", ["wsd", "cosine"])
@pytest.mark.parametrize("ends", [[1], [0.25, 0.5, 1], [0.1, 0.9, 1]])
def test_cycles_are_that_shape_over_their_own_steps(within: str, ends: list[float]) -> None:
    own: dict[str, Any] = {"cooldown": 0.3, "decay": "linear"} if within == "wsd" else {}
    found = curve(schedule(shape="cycles", ends=ends, within=within, final=0.2, **own))
    wanted: list[float] = []
    for end in ends:
        wanted += curve(schedule(shape=within, final=0.2, **own), round(end * TOTAL) - len(wanted))
    assert found == wanted  # bit for bit
    assert all(found[round(end * TOTAL)] == 1 for end in ends[:-1])


@pytest.mark.parametrize("ends", [[0.5], [0.5, 0.5, 1], [0.9, 0.3, 1], []])
def test_cycles_end_in_order_and_with_the_run(ends: list[float]) -> None:
    with pytest.raises(ValidationError, match="ends"):
        schedule(shape="cycles", ends=ends)


def test_two_lengths_of_warm_up_are_refused() -> None:
    with pytest.raises(ValidationError, match="not as both"):
        schedule(shape="constant", warmup=0.1, warmup_steps=5)
