"""The arrays of directions, for one centre and one draw, with all that rows say of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.losses import LossFunction
from landsweep.sweeps.lab.matching.symmetry import find_symmetry
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.streams import seeded
from landsweep.sweeps.lab.weight_space.directions import (
    Direction,
    RandomDirections,
    geometry,
    group_table,
    inner_product,
    interpolate,
    orthogonalise,
    random_directions,
)
from landsweep.sweeps.lab.weight_space.known import fitted, gradient, principal_components, project, scaled
from landsweep.sweeps.landscape.directions import (
    FileDirections,
    FunctionDirections,
    GradientDirection,
    HessianDirections,
    LineDirections,
    MixedDirections,
    Part,
    TowardsDirection,
    TrajectoryDirections,
    parts_of,
)
from landsweep.sweeps.landscape.eigenvectors import extreme_eigenvectors
from landsweep.sweeps.landscape.evaluation import evaluators_of
from landsweep.sweeps.landscape.matched import PROVED_ON, matched_ends
from landsweep.sweeps.landscape.prepare import loaded, names_of, under
from landsweep.sweeps.landscape.spec import LandscapeSpec

__all__ = ["check_directions", "directions_of"]

_LENT = ("module", "samples", "axis", "draw")
_PARALLEL = 1e-6  # of its length; what is left of a direction below it is rounding


@dataclass(frozen=True, slots=True)
class _Centre:
    """What directions around one centre are computed from."""

    spec: LandscapeSpec
    names: tuple[str, ...]
    arrays: Mapping[str, Arrays]
    bench: Workbench

    def state(self, name: str) -> dict[str, Any]:
        """Weights and buffers of a model."""
        return under("state", self.arrays[f"model-{name}"])

    @property
    def skeleton(self) -> nn.Module:
        """The module at the centre for names, shapes and kinds of layers alone."""
        return names_of(self.spec.models[self.names[0]], self.arrays[f"model-{self.names[0]}"], self.bench)

    def module(self, name: str | None = None) -> tuple[nn.Module, Any]:
        """A module with its weights, in evaluation mode, and the data on its device; by default that of the centre."""
        spec, bench, name = self.spec, self.bench, name or self.names[0]
        return loaded(spec, name, self.arrays[f"model-{name}"], bench), spec.data.load(bench.folder).to(bench.device)

    def samples(self, evaluator: str) -> tuple[nn.Module, list[tuple[Tensor, Tensor]], LossFunction]:
        """The module, and inputs, targets and the loss of an evaluator."""
        module, data = self.module()
        evaluators = evaluators_of(self.spec, data, number_type(module), self.bench)
        return module, *evaluators.samples(evaluator)


def directions_of(
    spec: LandscapeSpec, label: str, draw: int, have: Mapping[str, Arrays], bench: Workbench
) -> dict[str, Any]:
    """Directions of one value of `model` and one draw: `AXIS/...`, `norms`, `cosines`, and scalars `fact/COLUMN`.

    With a path also `path_coordinates` [T, axes], `path_distance` [T] and `path_residual` [T].

    Args:
        spec: of the sweep.
        label: value of the param `model`.
        draw: number of the draw.
        have: weights of the models.
        bench: device, threads and folder of this worker.

    Raises:
        SpecError: a direction does not fit the network, or leads nowhere.
    """
    centre, axes = _Centre(spec, spec.centers()[label], have, bench), list(spec.axes)
    state, module = centre.state(centre.names[0]), centre.skeleton
    directions: dict[str, Direction] = {}
    facts: dict[str, float] = {}
    for names, part in parts_of(spec.directions, axes).items():
        directions |= _computed(centre, names, part, draw, facts)
    parameters = {k: tuple(p.shape) for k, p in module.named_parameters()}
    directions = {a: {k: np.zeros(shape) for k, shape in parameters.items()} | directions[a] for a in axes}
    if isinstance(spec.directions, MixedDirections | LineDirections) and spec.directions.orthogonal:
        ends, directions = directions, _orthogonal(directions, list(parameters))
        if isinstance(spec.directions, LineDirections):
            facts |= _places(ends, directions, list(parameters))
    norms, cosines = geometry([{k: directions[axis][k] for k in parameters} for axis in axes])
    arrays = {f"{axis}/{k}": d.astype(state[k].dtype) for axis in axes for k, d in directions[axis].items()}
    arrays |= {"norms": norms, "cosines": cosines} | {f"fact/{k}": np.array(v) for k, v in facts.items()}
    if spec.path is not None:
        path = {k: v for k, v in under("path", have[f"model-{centre.names[0]}"]).items() if k in parameters}
        seen = project(path, state, [{k: arrays[f"{axis}/{k}"] for k in parameters} for axis in axes])
        arrays |= {
            "path_coordinates": seen.coordinates,
            "path_distance": seen.distance,
            "path_residual": seen.residual,
        }
    return arrays


def _computed(
    centre: _Centre, axes: Sequence[str], part: Part, draw: int, facts: dict[str, float]
) -> dict[str, Direction]:
    """The directions of axes that are computed together; what rows say of them is added to `facts`."""
    state = centre.state(centre.names[0])
    match part:
        case RandomDirections():
            return random_directions(state, group_table(centre.skeleton, part), part, draw, axes)
        case LineDirections():
            states: list[Mapping[str, Any]] = [centre.state(n) for n in centre.names]
            if part.match != "none":
                states = _matched(centre, part, states)
            ends = [{k: v for k, v in s.items() if v.dtype.kind == "f"} for s in states]
            return {axis: interpolate(ends[0], end) for axis, end in zip(axes, ends[1:], strict=True)}
        case TowardsDirection():
            weights = [k for k, _ in centre.skeleton.named_parameters()]
            ends = [{k: v for k, v in centre.state(n).items() if k in weights} for n in (centre.names[0], part.model)]
            return {axes[0]: interpolate(*ends)}
        case GradientDirection():
            evaluator = centre.spec.judge(part)
            try:
                slope = gradient(*centre.samples(evaluator))
            except SpecError as e:
                raise SpecError(f"directions: the gradient under the evaluator {evaluator}: {e}") from e
            facts[f"gradient_norm_{axes[0]}"] = math.sqrt(inner_product(slope, slope))
            return {axes[0]: scaled(slope, state, part.scale, "directions: the gradient at the centre")}
        case HessianDirections():
            return _eigenvectors(centre, axes, part, facts)
        case TrajectoryDirections():
            return _components(centre, axes, part, facts)
        case FileDirections():
            directions = _of_file(part, axes, centre.skeleton, centre.bench)
        case _:
            directions = {axis: _of_function(centre, axis, part, draw) for axis in axes}
    return {axis: scaled(d, state, part.scale, f"directions: axis {axis}") for axis, d in directions.items()}


def _matched(centre: _Centre, line: LineDirections, states: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The states of the ends with their hidden units at the places of the first one's."""
    _, samples, _ = centre.samples(centre.spec.judge(line))
    modules = [centre.module(name)[0] for name in centre.names]
    try:
        return matched_ends(line, states, modules, [inputs for inputs, _ in samples])
    except SpecError as e:
        raise SpecError(f"directions.match: {e}") from e


def _eigenvectors(
    centre: _Centre, axes: Sequence[str], part: HessianDirections, facts: dict[str, float]
) -> dict[str, Direction]:
    evaluator, chosen = centre.spec.judge(part), part.eigenvectors or tuple(range(1, len(axes) + 1))
    module, samples, loss = centre.samples(evaluator)
    inputs, targets = (torch.cat(parts) for parts in zip(*samples, strict=True))
    try:
        vectors = extreme_eigenvectors(
            module,
            inputs,
            targets,
            loss,
            chosen,
            batch_size=centre.spec.batch_size,
            products=part.products,
            tolerance=part.tolerance,
        )
    except SpecError as e:
        raise SpecError(f"directions: the Hessian under the evaluator {evaluator}: {e}") from e
    directions = {}
    for axis, vector in zip(axes, vectors, strict=True):
        facts |= {f"eigenvalue_{axis}": vector.value, f"residual_{axis}": vector.residual}
        direction = {name: t.double().cpu().numpy() for name, t in vector.direction.items()}
        directions[axis] = scaled(direction, centre.state(centre.names[0]), part.scale, "directions: an eigenvector")
    return directions


def _components(
    centre: _Centre, axes: Sequence[str], part: TrajectoryDirections, facts: dict[str, float]
) -> dict[str, Direction]:
    weights = {k for k, p in centre.skeleton.named_parameters() if p.requires_grad}
    path = {k: v for k, v in under("path", centre.arrays[f"model-{centre.names[0]}"]).items() if k in weights}
    components, shares = principal_components(path, part.about)
    chosen = part.components or tuple(range(1, len(axes) + 1))
    if max(chosen) > len(components):
        raise SpecError(
            f"directions.components: the path has {len(components)} dimensions, but component {max(chosen)} is wanted; "
            "give the path more points, or use fewer axes"
        )
    facts |= {f"explained_{axis}": float(shares[c - 1]) for axis, c in zip(axes, chosen, strict=True)}
    return {axis: components[c - 1] for axis, c in zip(axes, chosen, strict=True)}


def _of_file(part: FileDirections, axes: Sequence[str], module: nn.Module, bench: Workbench) -> dict[str, Direction]:
    """Directions from a file: names of parameters, with several axes after `AXIS/`.

    Raises:
        SpecError: names or shapes do not fit the network.
    """
    state, source = part.load(bench.folder), f"directions.file: {part.file}"
    if len(axes) == 1 and not any(name.startswith(f"{axes[0]}/") for name in state):
        return {axes[0]: fitted(state, module, source)}
    if misnamed := [name for name in state if name.partition("/")[0] not in axes]:
        raise SpecError(
            f"{source}: with axes {list(axes)} its tensors are called AXIS/NAME, but one is {misnamed[0]!r}"
        )
    named = {axis: {k.partition("/")[2]: t for k, t in state.items() if k.startswith(f"{axis}/")} for axis in axes}
    return {axis: fitted(tensors, module, f"{source}, axis {axis}") for axis, tensors in named.items()}


def _of_function(centre: _Centre, axis: str, part: FunctionDirections, draw: int) -> Direction:
    """What the user's function gives for an axis; its random numbers depend on draw and axis alone."""
    function = import_callable(part.function, centre.bench.folder)
    module, samples, _ = centre.samples(centre.spec.judge(part))
    lent = {"module": module, "samples": samples, "axis": axis, "draw": draw}
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    arguments = {name: lent[name] for name in _LENT if takes_all or name in parameters}
    with seeded(int(digest(["direction of a function", draw, axis], 8), 16) >> 1, centre.bench.device):
        return fitted(function(**arguments, **part.args), module, f"directions: {part.function}, axis {axis}")


def _orthogonal(directions: Mapping[str, Direction], over: Sequence[str]) -> dict[str, Direction]:
    """Each direction without its parts along those before it; tensors that are not in `over` go along.

    Raises:
        SpecError: one lies in the span of those before it.
    """
    apart = {axis: dict(d) for axis, d in directions.items()}
    orthogonalise(list(apart.values()), over)
    for axis, d in apart.items():
        if _product(d, d, over) <= _PARALLEL**2 * _product(directions[axis], directions[axis], over):
            raise SpecError(f"directions.orthogonal: the direction of {axis} lies in the span of those before it")
    return apart


def _places(ends: Mapping[str, Direction], axes: Mapping[str, Direction], over: Sequence[str]) -> dict[str, float]:
    """Where, along the axes before its own, each end of a line lies once the axes are orthogonal."""
    names = list(ends)
    return {
        f"end_{axis}_{other}": _product(ends[axis], axes[other], over) / _product(axes[other], axes[other], over)
        for i, axis in enumerate(names)
        for other in names[:i]
    }


def _product(a: Direction, b: Direction, over: Sequence[str]) -> float:
    return inner_product({name: a[name] for name in over}, b)


def check_directions(spec: LandscapeSpec, module: nn.Module, bench: Workbench) -> None:
    """Refuse directions of random draws, files and functions that do not fit a network, before anything is trained.

    Raises:
        SpecError: a rule, a tensor or a function does not fit.
    """
    for axes, part in parts_of(spec.directions, list(spec.axes)).items():
        match part:
            case RandomDirections():
                group_table(module, part)
            case LineDirections() if part.match != "none":
                _check_matching(spec, module, bench)
            case FileDirections():
                _of_file(part, axes, module, bench)
            case FunctionDirections():
                import_callable(part.function, bench.folder)
            case _:
                pass


def _check_matching(spec: LandscapeSpec, module: nn.Module, bench: Workbench) -> None:
    data = spec.data.load(bench.folder).to(bench.device)
    try:
        find_symmetry(module, next(iter(data.splits.values())).head(PROVED_ON).inputs)
    except SpecError as e:
        raise SpecError(f"directions.match: {e}") from e
