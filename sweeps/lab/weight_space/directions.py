"""Directions in weight space: Gaussian ones, and lines between two sets of weights.

A random direction is a Gaussian in every parameter. With `normalise: filter` (Li et al. 2018, arXiv 1712.09913) each
filter d_g is scaled to the norm of its filter of weights: d_g <- d_g / |d_g| * |w_g|. What a filter is depends on the
layer: all weights that make one output channel, or one row of an embedding. Which rule holds for which parameter is
said by `group_table`, line by line.

Near a minimum with Hessian H this makes E[d'Hd] = sum over groups of |w_g|^2 / n_g * tr(H_gg), n_g being the size of
the group: curvature measured in units of the weights.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.unit import digest

__all__ = [
    "Direction",
    "Group",
    "GroupRule",
    "RandomDirections",
    "direction_table",
    "geometry",
    "group_table",
    "inner_product",
    "interpolate",
    "orthogonalise",
    "random_directions",
]

Weights: TypeAlias = Mapping[str, NDArray[Any]]
Direction: TypeAlias = dict[str, NDArray[np.float64]]
"""By names of parameters; what it leaves out does not move."""
Policy: TypeAlias = Literal["normalise", "zero", "raw"]

_ROWS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.EmbeddingBag)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class GroupRule(Section):
    """What happens to parameters whose name fits a pattern."""

    policy: Policy = Field("normalise", description="raw leaves the Gaussian as it is; zero keeps the weights fixed")
    dimension: int | None = Field(0, ge=0, description="each slice along it is a group; null: the whole is one group")


class RandomDirections(Section):
    """Gaussian directions."""

    kind: Literal["random"]
    normalise: Literal["filter", "layer", "weight", "none"] = Field(
        "filter", description="filter: norm of each filter; layer: of each tensor; weight: times each weight; none"
    )
    one_dimensional: Policy = Field("zero", description="for biases and the scales and shifts of normalisation")
    orthogonal: bool = Field(
        False, description="make the axes orthogonal before the normalisation, which then undoes it in part"
    )
    seed: int = Field(0, ge=0, description="another seed gives other directions for every draw")
    rules: dict[str, GroupRule] = Field({}, description="pattern of parameter names, such as *.pos_embed, to rule")

    def in_words(self) -> str:
        """For captions."""
        words = f"Gaussian, normalise {self.normalise}, one-dimensional parameters {self.one_dimensional}"
        words += ", orthogonal before the normalisation" if self.orthogonal else ""
        return words + (f", {len(self.rules)} rules" if self.rules else "") + f", seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Group:
    """How one parameter is cut into groups, and what is done to them.

    Attributes:
        name: name of the parameter.
        shape: shape of the parameter.
        policy: normalise, zero or raw.
        dimension: each slice along it is a group; None: the whole parameter is one.
        blocks: of a grouped transposed convolution: into how many blocks dimension 0 is cut first.
        note: why a reader should look at it; empty for the usual layers.
    """

    name: str
    shape: tuple[int, ...]
    policy: Policy
    dimension: int | None
    blocks: int = 1
    note: str = ""

    @property
    def count(self) -> int:
        """How many groups there are."""
        return 1 if self.dimension is None else self.blocks * self.shape[self.dimension]

    def norms(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Norm of the group that each element of `x` belongs to, in the shape of `x`."""
        if self.dimension is None:
            return np.full_like(x, np.linalg.norm(x))
        cut = x.reshape(self.blocks, x.shape[0] // self.blocks, *x.shape[1:]) if self.blocks > 1 else x[None]
        over = tuple(i for i in range(1, cut.ndim) if i != self.dimension + 1)
        norms = np.sqrt(np.sum(cut**2, axis=over, keepdims=True))
        return np.broadcast_to(norms, cut.shape).reshape(x.shape)


def group_table(module: nn.Module, spec: RandomDirections) -> list[Group]:
    """One line for each parameter, in the module's order; a shared parameter has one line, under its first name.

    Frozen parameters do not move, unless a rule names them.

    Raises:
        SpecError: a pattern of the rules fits no parameter, or names a dimension that a parameter does not have.
    """
    owners = {id(p): layer for layer in module.modules() for p in layer.parameters(recurse=False)}
    used: set[str] = set()
    groups = []
    for name, p in module.named_parameters():
        group = _by_layer(name, tuple(p.shape), owners[id(p)], spec)
        if not p.requires_grad:
            group = Group(name, tuple(p.shape), "zero", None, note="frozen (requires_grad=False): stays where it is")
        for pattern, rule in spec.rules.items():
            if fnmatch.fnmatchcase(name, pattern):
                used.add(pattern)
                if rule.dimension is not None and rule.dimension >= max(p.ndim, 1):
                    raise SpecError(
                        f"directions.rules.{pattern}: {name} of shape {list(p.shape)} has no dimension {rule.dimension}"
                    )
                dimension = rule.dimension if p.ndim else None
                group = Group(name, tuple(p.shape), rule.policy, dimension, note=f"rule {pattern}")
        groups.append(group)
    if unused := [pattern for pattern in spec.rules if pattern not in used]:
        names = ", ".join(g.name for g in groups[:8])
        raise SpecError(f"directions.rules: {unused[0]!r} fits no parameter; there are {names}, ...")
    return groups


def _by_layer(name: str, shape: tuple[int, ...], layer: nn.Module, spec: RandomDirections) -> Group:
    if len(shape) <= 1:
        return Group(name, shape, spec.one_dimensional, None)
    if isinstance(layer, _TRANSPOSED):
        # Its weight is [in, out / groups, ...]: output channels lie along dimension 1, within blocks of inputs.
        return Group(name, shape, "normalise", 1, layer.groups, "transposed convolution: groups are output channels")
    if isinstance(layer, _ROWS):
        note = "embedding: each row is a group" if isinstance(layer, nn.Embedding | nn.EmbeddingBag) else ""
        return Group(name, shape, "normalise", 0, note=note)
    kind = type(layer).__name__
    return Group(name, shape, "normalise", 0, note=f"{kind} is not a known layer: slices along dimension 0 are groups")


def direction_table(model: str, groups: Sequence[Group], spec: RandomDirections) -> Table:
    """What directions do to each parameter, a line each; those that a reader should look at have a remark.

    Args:
        model: name of the model, for the caption.
        groups: one entry for each of its parameters.
        spec: how directions are drawn and normalised.
    """
    header = ("tensor", "shape", "policy", "groups along", "groups", "remark")
    lines = [
        (
            g.name,
            "x".join(map(str, g.shape)) or "1",
            g.policy,
            "whole" if g.dimension is None else f"dim {g.dimension}",
            g.count,
            g.note,
        )
        for g in groups
    ]
    return Table(f"{model}: directions {spec.in_words()}.", header, lines)


def random_directions(
    weights: Weights, groups: Sequence[Group], spec: RandomDirections, draw: int, axes: Sequence[str]
) -> dict[str, Direction]:
    """Directions for each axis, by parameter name, in float64.

    The stream of a parameter depends on seed, draw, axis and the parameter's name alone: so a draw stays the same when
    draws, axes or points are added, on every machine, and two models with the same parameters see the same Gaussians.

    Args:
        weights: the parameters that directions are normalised to.
        groups: how each parameter is cut, as from `group_table`.
        spec: which normalisation.
        draw: number of the draw.
        axes: their names; with `orthogonal`, Gram-Schmidt takes them in alphabetical order.
    """
    raw = {axis: {g.name: _gaussian(g, spec.seed, draw, axis) for g in groups} for axis in sorted(axes)}
    if spec.orthogonal:
        orthogonalise(list(raw.values()))
    return {axis: {g.name: _normalised(raw[axis][g.name], weights[g.name], g, spec) for g in groups} for axis in axes}


def _gaussian(group: Group, seed: int, draw: int, axis: str) -> NDArray[np.float64]:
    if group.policy == "zero":
        return np.zeros(group.shape)
    entropy = int(digest(["direction", seed, draw, axis, group.name]), 16)
    return np.random.Generator(np.random.PCG64(entropy)).standard_normal(group.shape)


def orthogonalise(directions: Sequence[Direction], over: Collection[str] | None = None) -> None:
    """Subtract from each direction, in place, its parts along those before it.

    Args:
        directions: all with the same names.
        over: names that count for angles, such as those of parameters; none: all. Other tensors go along.
    """
    for i, later in enumerate(directions):
        for earlier in directions[:i]:
            counted = {name: earlier[name] for name in (earlier if over is None else over)}
            along = inner_product(counted, later) / inner_product(counted, earlier)
            for name in later:
                later[name] = later[name] - along * earlier[name]


def inner_product(a: Weights, b: Weights) -> float:
    """Inner product of two directions with the same names, summed in float64."""
    return float(sum(np.vdot(a[name].astype(np.float64), b[name].astype(np.float64)) for name in a))


def _normalised(d: NDArray[np.float64], w: NDArray[Any], group: Group, spec: RandomDirections) -> NDArray[np.float64]:
    w = w.astype(np.float64)
    if group.policy != "normalise" or spec.normalise == "none":
        return d
    if spec.normalise == "weight":
        by_weight: NDArray[np.float64] = d * w
        return by_weight
    if spec.normalise == "layer":
        group = Group(group.name, group.shape, group.policy, None)
    size = group.norms(d)
    scaled: NDArray[np.float64] = d / np.where(size > 0, size, 1) * group.norms(w)
    return scaled


def interpolate(start: Weights, end: Weights) -> Direction:
    """The direction that leads from `start` at 0 to `end` at 1.

    Raises:
        SpecError: the two differ in names or shapes.
    """
    differing = [k for k in {**start, **end} if k not in start or k not in end or start[k].shape != end[k].shape]
    if differing:
        raise SpecError(
            f"directions.ends: the models differ in shape or name of {', '.join(differing[:6])}; they must agree"
        )
    return {k: end[k].astype(np.float64) - start[k].astype(np.float64) for k in start}


def geometry(directions: Sequence[Weights]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Norms [k] and pairwise cosines [k, k] of k directions, summed in float64; a cosine with 0 is NaN."""
    products = np.array([[inner_product(a, b) for b in directions] for a in directions])
    norms = np.sqrt(np.diag(products))
    with np.errstate(invalid="ignore", divide="ignore"):
        return norms, products / np.outer(norms, norms)
