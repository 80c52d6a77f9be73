"""Networks of other sizes: the same family and settings at another width, depth or number of heads."""

from __future__ import annotations

from typing import TypeVar

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.models.base import Feature, Net, Size
from landsweep.sweeps.lab.models.catalogue import families

__all__ = ["lacking", "resized"]

N = TypeVar("N", bound=Net)


def lacking(net: Net, feature: Feature) -> str:
    """What to say of a network without a width, a depth, heads or residual branches, and what to do."""
    if (why := net.lacks(feature)) is not None:
        return why
    *others, last = families(lambda n: _has(n, feature))
    return f"{net.family} has none; use {', '.join(others)} or {last}"


def _has(net: type[Net], feature: Feature) -> bool:
    if feature == "branches":
        return net.residual_blocks is not Net.residual_blocks
    return feature in net.sizes


def resized(net: N, *, width: int | None = None, depth: int | None = None, heads: int | None = None) -> N:
    """A copy of other sizes; the widths of all layers keep their ratios, a transformer its number of heads.

    Args:
        net: the network.
        width: of the first hidden layer, as `Net.current_width`; None: as it is.
        depth: as `Net.current_depth`; None: as it is.
        heads: of attention; None: as many as it has.

    Raises:
        SpecError: this network has no such size, or it can't have this one.

    Example:
        >>> from landsweep.sweeps.lab.models.mlp import Mlp
        >>> resized(Mlp(net="mlp", hidden=(64, 32)), width=16).hidden
        (16, 8)
        >>> resized(Mlp(net="mlp", hidden=(64, 64)), depth=3).hidden
        (64, 64, 64)
    """
    requested: dict[Size, int | None] = {"width": width, "depth": depth, "heads": heads}
    current = {"width": net.current_width(), "depth": net.current_depth(), "heads": net.attention_heads()}
    sizes = {name: value for name, value in requested.items() if value is not None}
    for name, value in sizes.items():
        if current[name] is None:
            what = "are no heads" if name == "heads" else f"is no {name}"
            raise SpecError(f"net: there {what} that could be {value}: {lacking(net, name)}")
    where = f"net: {net.family} with {' and '.join(f'{name} {value}' for name, value in sizes.items())}"
    return parse(type(net), {**net.model_dump(mode="json"), **net.fields_for(sizes)}, where)
