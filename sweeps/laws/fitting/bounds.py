"""A law with narrower bounds of its parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Law

__all__ = ["bounded", "narrowed"]


def bounded(law: Law, bounds: Mapping[str, tuple[float, float]]) -> Law:
    """The law with narrower bounds; the law itself where there are none.

    Args:
        law: as it is listed.
        bounds: parameters to the smallest and largest value that is allowed; infinite where one side is open.

    Raises:
        UsageError: the law has no such parameter, or its own bounds leave nothing of those given.
    """
    if not bounds:
        return law
    parameters = {p.name: p for p in law.parameters}
    for name, (low, high) in bounds.items():
        if name not in parameters:
            raise UsageError(f"bounds: {law.name} has no parameter {name!r}; it has {', '.join(parameters)}")
        p = parameters[name]
        least = max(p.low, 0.0) if p.log else p.low
        if not max(low, least) < min(high, p.high):
            raise UsageError(
                f"bounds: {name} from {low:g} to {high:g} leaves nothing of what {law.name} allows, {least:g} to "
                f"{p.high:g}; to hold a parameter at one value, fix it (--fixed {name}={low:g})"
            )
        parameters[name] = replace(p, low=max(low, p.low), high=min(high, p.high))
    narrow = copy.copy(law)
    narrow.parameters = tuple(parameters.values())
    return narrow


def narrowed(law: Law, listed: Law) -> dict[str, tuple[float, float]]:
    """The bounds in which a law differs from the listed one."""
    return {p.name: (p.low, p.high) for p, q in zip(law.parameters, listed.parameters, strict=True) if p != q}
