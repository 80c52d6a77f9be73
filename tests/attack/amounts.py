"""How often an attack is made: a few times by `make test`, the number of docs/attacks.md by `make test-all`.

LANDSWEEP_ATTACKS multiplies both, and LANDSWEEP_SEED gives other random moments.
"""

from __future__ import annotations

import os
import random

import pytest

__all__ = ["attacks", "chance", "held"]

_TIMES = int(os.environ.get("LANDSWEEP_ATTACKS", "1"))
_SEED = os.environ.get("LANDSWEEP_SEED", "0")


def attacks(few: int | None, *, full: int) -> pytest.MarkDecorator:
    """Runs a test with `n` attacks.

    Args:
        few: what takes seconds; None: nothing does.
        full: what the table says.
    """
    all_of_them = pytest.param(full * _TIMES, marks=[pytest.mark.slow, pytest.mark.chaos], id="all")
    return pytest.mark.parametrize("n", [all_of_them] if few is None else [pytest.param(few, id="few"), all_of_them])


def chance(name: str) -> random.Random:
    """Random moments and choices of one test."""
    return random.Random(f"{name} {_SEED}")


def held(name: str, held: int, n: int) -> None:
    """Say so, for `pytest -rP`, and fail unless all of them held."""
    print(f"{name}: {held} of {n}")
    assert held == n
