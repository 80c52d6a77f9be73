"""Columns of several sweeps beside each other, for claims about models that were trained, measured and tuned apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.fitting.tables import read_table

__all__ = ["beside"]


def beside(setup: Path, columns: Mapping[str, Mapping[str, str]], recipe: str, seed: int) -> dict[str, float]:
    """Mean values of one recipe and seed, each from the rows of a sweep.

    Args:
        setup: folder that paths start from.
        columns: name to `{sweep: ..., column: ..., recipe: ..., seed: ...}`; the last two say which columns hold
            recipe and seed there, `recipe` and `seed` by default.
        recipe: whose rows.
        seed: whose rows.

    Raises:
        UsageError: a sweep has no such rows, or lacks a column.
    """
    values = {}
    for name, place in columns.items():
        rows = read_table(setup / place["sweep"])
        keys = place.get("recipe", "recipe"), place.get("seed", "seed")
        if lacking := [c for c in (*keys, place["column"]) if c not in rows]:
            raise UsageError(f"columns.{name}: {place['sweep']} has no column {lacking[0]!r}")
        chosen = rows[(rows[keys[0]] == recipe) & (rows[keys[1]] == seed)][place["column"]].dropna()
        if chosen.empty:
            raise UsageError(f"columns.{name}: {place['sweep']} has no value for {recipe}, seed {seed}")
        values[name] = float(chosen.astype(float).mean())
    return values
