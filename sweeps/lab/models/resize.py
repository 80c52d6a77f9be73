"""The same network in another size: its width, depth and number of residual blocks, and a copy with other ones."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeVar

from orchestrator.errors import SpecError
from orchestrator.spec import parse
from sweeps.lab.models.base import Net
from sweeps.lab.models.cnn import Cnn
from sweeps.lab.models.mlp import Mlp
from sweeps.lab.models.resnet import ResNet
from sweeps.lab.models.resnet18 import ResNet18
from sweeps.lab.models.small_cnn import SmallCnn
from sweeps.lab.models.transformer import Transformer

__all__ = ["depth_of", "lacking_width", "residual_blocks", "resized", "width_of"]

N = TypeVar("N", bound=Net)


def width_of(net: Net) -> int | None:
    """Width of the first hidden layer, which stands for all of them; None where there is none that could change."""
    if isinstance(net, Mlp):
        return net.hidden[0] if net.hidden else None
    if isinstance(net, Cnn):
        return net.channels[0]
    return net.width if isinstance(net, ResNet | ResNet18 | SmallCnn | Transformer) else None


def lacking_width(net: Net) -> str:
    """What to say of a network without a width, and what to do."""
    if isinstance(net, Mlp):
        return "an mlp without hidden layers has none; give net.hidden at least one"
    return f"{getattr(net, 'net', type(net).__name__)} has none; use mlp, cnn, small_cnn, resnet, resnet18, vit or gpt"


def depth_of(net: Net) -> int | None:
    """The depth as its spec counts it; None where it can't change."""
    if isinstance(net, Mlp):
        return len(net.hidden) if len(set(net.hidden)) == 1 else None
    return net.depth if isinstance(net, ResNet | Transformer) else None


def residual_blocks(net: Net, depth: int) -> int | None:
    """Residual blocks that this network has at a depth; None where it has no shortcuts."""
    if isinstance(net, ResNet):
        return (depth - 2) // 2 if net.skip else None
    return depth if isinstance(net, Transformer) else None


def resized(net: N, *, width: int | None = None, depth: int | None = None) -> N:
    """A copy of other width or depth; the widths of all layers keep their ratios, a transformer its number of heads.

    Raises:
        SpecError: this network has no such size, or it can't have this one.

    Example:
        >>> resized(Mlp(net="mlp", hidden=(64, 32)), width=16).hidden
        (16, 8)
        >>> resized(Mlp(net="mlp", hidden=(64, 64)), depth=3).hidden
        (64, 64, 64)
    """
    changes: dict[str, object] = {}
    name = str(getattr(net, "net", type(net).__name__))
    if width is not None:
        old = width_of(net)
        if old is None:
            raise SpecError(f"net: there is no width that could be {width}: {lacking_width(net)}")
        changes = _widths(net, Fraction(width, old), width)
    if depth is not None:
        if depth_of(net) is None:
            raise SpecError(
                f"net: {name} has no depth that could be {depth}; use resnet, vit, gpt or an mlp of one width"
            )
        changes |= {"hidden": [width or width_of(net)] * depth} if isinstance(net, Mlp) else {"depth": depth}
    return parse(type(net), {**net.model_dump(mode="json"), **changes}, f"net: {name} with {_told(width, depth)}")


def _widths(net: Net, ratio: Fraction, width: int) -> dict[str, object]:
    if not isinstance(net, Mlp | Cnn):
        return {"width": width}
    field, widths = ("hidden", net.hidden) if isinstance(net, Mlp) else ("channels", net.channels)
    new = [w * ratio for w in widths]
    if odd := [w for w, n in zip(widths, new, strict=True) if n.denominator != 1]:
        raise SpecError(
            f"net.{field}: {list(widths)} can't be scaled to a width of {width}: {odd[0]} would become "
            f"{float(odd[0] * ratio):g}; choose widths that keep all layers whole"
        )
    return {field: [int(n) for n in new]}


def _told(width: int | None, depth: int | None) -> str:
    return " and ".join(f"{n} {v}" for n, v in (("width", width), ("depth", depth)) if v is not None)
