"""Multi-layer perceptrons."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from landsweep.sweeps.lab.data.base import InputKind
from landsweep.sweeps.lab.models.base import Dropout, Feature, Size, Widths
from landsweep.sweeps.lab.models.count import Count
from landsweep.sweeps.lab.models.ghost import GhostNormalised
from landsweep.sweeps.lab.models.harmonic import Distances
from landsweep.sweeps.lab.models.layers import Activation, Norm, activation, norm
from landsweep.sweeps.lab.models.ratios import scaled

__all__ = ["Mlp"]


class Mlp(GhostNormalised):
    """Fully connected layers: linear, normalisation, activation, dropout; at the end linear. Inputs are flattened.

    Keys: `hidden.I.linear.*`, `hidden.I.norm.*`, `out.*`; with `harmonic` no `out.bias`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("vectors", "images")
    sizes: ClassVar[frozenset[Size]] = frozenset(("width", "depth"))
    net: Literal["mlp"]
    hidden: Widths = Field((64, 64), description="width of each hidden layer; [] for a linear model")
    activation: Activation = "relu"
    norm: Norm = "none"
    dropout: Dropout = 0.0
    harmonic: float | None = Field(
        None,
        gt=0,
        exclude_if=lambda v: v is None,
        description="exponent n: the last layer gives -n log of distances, so cross entropy is the harmonic loss",
    )

    def current_width(self) -> int | None:
        return self.hidden[0] if self.hidden and self.harmonic is None else None

    def current_depth(self) -> int | None:
        """How many hidden layers, where all have one width."""
        return len(self.hidden) if len(set(self.hidden)) == 1 else None

    def fields_for(self, sizes: Mapping[Size, int]) -> dict[str, object]:
        hidden = scaled("hidden", self.hidden, sizes["width"]) if "width" in sizes else self.hidden
        return {"hidden": [hidden[0]] * sizes["depth"] if "depth" in sizes else list(hidden)}

    def lacks(self, feature: Feature) -> str | None:
        if feature == "width" and self.harmonic is not None:
            return "no parametrization has rules for distances; leave net.harmonic out"
        if feature == "width" and not self.hidden:
            return "an mlp without hidden layers has none; give net.hidden at least one"
        if feature == "depth" and self.current_depth() is None:
            return "only an mlp whose hidden layers have one width has one; make all of net.hidden equal"
        return None

    def closed_form(self, shape: tuple[int, ...], outputs: int) -> Count | None:
        if self.harmonic is not None:
            return None
        widths = [math.prod(shape), *self.hidden, outputs]
        products = [a * b for a, b in itertools.pairwise(widths)]
        trained_norms = 0 if self.norm == "none" else 2 * sum(self.hidden)
        forward = 2 * sum(products)
        return Count(
            parameters=sum(products) + sum(widths[1:]) + trained_norms,
            embedding=0,
            head=products[-1] + outputs,
            forward=forward,
            training=3 * forward - 2 * products[0],
        )

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        layers: list[nn.Module] = []
        width = math.prod(shape)
        for out in self.hidden:
            parts = {"linear": nn.Linear(width, out), "norm": norm(self.norm, out, flat=True, ghost=self.ghost)}
            ends = {"act": activation(self.activation), "drop": nn.Dropout(self.dropout)}
            layers.append(nn.Sequential(OrderedDict(parts | ends)))
            width = out
        out_layer = nn.Linear(width, classes) if self.harmonic is None else Distances(width, classes, self.harmonic)
        ends = {"hidden": nn.Sequential(*layers), "out": out_layer}
        return nn.Sequential(OrderedDict({"flatten": nn.Flatten(), **ends}))
