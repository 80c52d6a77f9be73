"""Directions that are computed from what is known: gradients, principal components of a path, tensors that are given.

They come in float64, by the names of the parameters that they move, and are scaled as a whole, which keeps their
course; scaling filter by filter, as random directions are, would turn them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.lab.losses import LossFunction
from landsweep.sweeps.lab.weight_space.directions import Direction, Weights, inner_product

__all__ = ["Projection", "Scaling", "fitted", "gradient", "principal_components", "project", "scaled"]

Scaling: TypeAlias = Literal["unit", "weights", "given"]
About: TypeAlias = Literal["last", "mean"]

_RANK = 1e-12  # of the largest variance; components below it are rounding


def gradient(module: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], loss: LossFunction) -> Direction:
    """Gradient of the mean loss over all samples, for each parameter that trains; the mode of the module is kept.

    Args:
        module: at the point where the gradient is taken; its weights stay as they are.
        batches: inputs and targets.
        loss: of each sample.

    Raises:
        SpecError: the loss does not depend on the weights in a way that autograd can follow.
    """
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    sums = {name: np.zeros(tuple(p.shape)) for name, p in parameters.items()}
    count = 0
    with torch.enable_grad():
        for inputs, targets in batches:
            total = loss(module(inputs), targets).sum()
            if not total.requires_grad:
                raise SpecError("its loss has no gradient (counting errors has none); name an evaluator whose loss has")
            grads = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
            for name, g in zip(parameters, grads, strict=True):
                if g is not None:
                    sums[name] += g.double().cpu().numpy()
            count += len(targets)
    return {name: s / count for name, s in sums.items()}


def principal_components(points: Mapping[str, NDArray[Any]], about: About) -> tuple[list[Direction], Floats]:
    """Orthonormal directions in which a path varies most, and the share of its variance along each.

    From the Gram matrix of the T points, so that nothing of the size of P x P is ever made. A component points to where
    the path is farthest from the origin of its coordinates.

    Args:
        points: tensors of the path by name, each [T, ...].
        about: what is subtracted: the last point (Li et al. 2018, arXiv 1712.09913) or the mean.

    Returns:
        As many components as the path has dimensions, and their shares of the sum of squared distances.
    """
    moved = {}
    for name, values in points.items():
        flat = values.reshape(len(values), -1).astype(np.float64)
        moved[name] = flat - (flat[-1] if about == "last" else flat.mean(axis=0))
    gram = sum(x @ x.T for x in moved.values())
    variances, vectors = np.linalg.eigh(gram)
    order = [i for i in np.argsort(-variances, kind="stable") if variances[i] > _RANK * max(variances.max(), 0)]
    components = []
    for i in order:
        u = vectors[:, i] * np.sign(vectors[np.argmax(np.abs(vectors[:, i])), i])
        length = math.sqrt(variances[i])
        components.append({name: (u @ x / length).reshape(points[name].shape[1:]) for name, x in moved.items()})
    return components, variances[order] / max(variances[variances > 0].sum(), np.finfo(float).tiny)


@dataclass(frozen=True, slots=True)
class Projection:
    """Points seen from a centre, in the coordinates of k directions.

    Attributes:
        coordinates: [T, k] of the nearest point of the plane.
        distance: [T] from the centre.
        residual: [T] distance from the plane.
    """

    coordinates: Floats
    distance: Floats
    residual: Floats


def project(points: Mapping[str, NDArray[Any]], centre: Weights, directions: Sequence[Weights]) -> Projection:
    """The nearest points of the plane through `centre`, whatever the lengths of the directions and their angles.

    Args:
        points: tensors by name, each [T, ...].
        centre: the origin of the coordinates.
        directions: that span the plane; one without a tensor does not move it.
    """
    moved = {n: (x.astype(np.float64) - centre[n].astype(np.float64)).reshape(len(x), -1) for n, x in points.items()}
    flat = [{n: d[n].astype(np.float64).ravel() for n in moved if n in d} for d in directions]
    products = np.array([[sum(np.dot(a[n], b[n]) for n in a if n in b) for b in flat] for a in flat], np.float64)
    along = np.stack([sum(moved[n] @ d[n] for n in d) for d in flat], axis=1)
    coordinates = along @ np.linalg.pinv(products, hermitian=True)
    distance = np.sqrt(sum((x**2).sum(axis=1) for x in moved.values()))
    squares = np.zeros(len(along))
    for n, x in moved.items():
        inside = sum(np.outer(coordinates[:, j], d[n]) for j, d in enumerate(flat) if n in d)
        squares += ((x - inside) ** 2).sum(axis=1)
    return Projection(coordinates, distance, np.sqrt(squares))


def fitted(given: object, module: nn.Module, source: str) -> Direction:
    """A direction that somebody gave, checked: each tensor has the name and the shape of a parameter, and is finite.

    Args:
        given: names of parameters to tensors or arrays.
        module: whose parameters it moves; those that it leaves out stay where they are.
        source: what to call it in a message.

    Raises:
        SpecError: a name or a shape does not fit, a number is not finite, or there is no tensor.
    """
    if not isinstance(given, Mapping) or not given:
        what = "nothing" if isinstance(given, Mapping) else f"a {type(given).__name__}"
        raise SpecError(f"{source}: gives {what}; a direction is a mapping of names of parameters to tensors")
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    tensors: Direction = {}
    for name, value in given.items():
        array = np.asarray(value.detach().double().cpu() if isinstance(value, Tensor) else value, dtype=np.float64)
        if name not in shapes:
            known = ", ".join(list(shapes)[:8]) + (", ..." if len(shapes) > 8 else "")
            raise SpecError(f"{source}: {name!r} is no parameter of this network; it has {known}")
        if array.shape != shapes[name]:
            raise SpecError(f"{source}: {name} has shape {list(array.shape)}, the parameter {list(shapes[name])}")
        if not np.isfinite(array).all():
            raise SpecError(f"{source}: {name} holds nan or inf; a direction must be finite")
        tensors[str(name)] = array
    return tensors


def scaled(direction: Direction, weights: Weights, scaling: Scaling, source: str) -> Direction:
    """The direction at another length.

    Args:
        direction: as it was computed or given.
        weights: of the centre.
        scaling: `unit`: length 1, so that a coordinate is a distance; `weights`: the length of the weights that it
            moves, as a random direction has it; `given`: as it is.
        source: what to call it in a message.

    Raises:
        SpecError: it is zero everywhere, so that it leads nowhere.
    """
    length = math.sqrt(inner_product(direction, direction))
    if not length:
        raise SpecError(f"{source}: the direction is zero everywhere, so it leads nowhere")
    if scaling == "given":
        return direction
    moved = {name: weights[name] for name, d in direction.items() if np.any(d)}
    size = math.sqrt(inner_product(moved, moved)) if scaling == "weights" else 1.0
    if not size:
        raise SpecError(f"{source}: the weights that it moves are all zero, so scale: weights gives no length")
    return {name: d * (size / length) for name, d in direction.items()}
