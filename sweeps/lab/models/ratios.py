"""Lists of widths that grow together."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from landsweep.orchestrator.errors import SpecError

__all__ = ["scaled"]


def scaled(field: str, widths: Sequence[int], width: int) -> list[int]:
    """Widths of all layers, the first of which becomes `width` while their ratios stay.

    Args:
        field: name of the network's field that holds them, for the message.
        widths: at least one.
        width: new width of the first layer.

    Raises:
        SpecError: a width would be no whole number.

    Example:
        >>> scaled("channels", (16, 32), 8)
        [8, 16]
    """
    ratio = Fraction(width, widths[0])
    new = [w * ratio for w in widths]
    if fractional := [w for w, n in zip(widths, new, strict=True) if n.denominator != 1]:
        raise SpecError(
            f"net.{field}: {list(widths)} can't be scaled to a width of {width}: {fractional[0]} would become "
            f"{float(fractional[0] * ratio):g}; choose widths that keep all layers whole"
        )
    return [int(n) for n in new]
