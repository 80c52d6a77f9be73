"""Settings that would be lost: a field of a recipe that two parts of a spec set, of which the later one would win."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from landsweep.orchestrator.canonical import decoded
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.training_units.recipes import SEED

__all__ = ["Write", "refuse_lost_settings", "refuse_set_seed"]

Write = tuple[str, str, object]
"""Who sets a field (for the message), its path inside the recipe, the value."""


def refuse_set_seed(writes: Iterable[Write]) -> None:
    """Refuse a part of a spec that sets the seed, which each unit has of its own.

    Raises:
        SpecError: names the part.
    """
    for who, path, _ in writes:
        if path == SEED:
            raise SpecError(f"{who} sets the seed, which `seeds` would overwrite; give the seeds there")


def refuse_lost_settings(writes: Iterable[Write]) -> None:
    """Refuse a spec in which a part sets what a later one overwrites.

    A field may be set inside an object or list that an earlier part gives, as long as that does not give the field.

    Args:
        writes: of one unit, in the order in which they are made.

    Raises:
        SpecError: names both parts and the field.
    """
    done: list[Write] = []
    for who, path, value in writes:
        for earlier, held, given in done:
            if _overwrites(path, held, given):
                field = held if len(held) >= len(path) else path
                other = who if who != earlier else f"its own {path}"
                raise SpecError(f"{earlier} sets {field}, which {other} would overwrite; give it in one place only")
        done.append((who, path, value))


def _overwrites(path: str, held: str, given: object) -> bool:
    """Whether setting `path` changes what was given for `held`."""
    if held == path or held.startswith(f"{path}."):
        return True
    return path.startswith(f"{held}.") and _holds(decoded(given), path.removeprefix(f"{held}.").split("."))


def _holds(value: Any, parts: list[str]) -> bool:  # noqa: ANN401 - whatever a field may hold
    """Whether a value says something about the field at this path inside it."""
    if not parts:
        return True
    part, *rest = parts
    if isinstance(value, Mapping):
        return part in value and _holds(value[part], rest)
    if isinstance(value, list | tuple):
        return part.isdigit() and int(part) < len(value) and _holds(value[int(part)], rest)
    return value is not None
