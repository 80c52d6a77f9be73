"""Planes of inputs: through samples of the data, along gradients, or along what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.losses import OF_CLASSES, LossFunction
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.weight_space.directions import geometry
from landsweep.sweeps.lab.weight_space.evaluators import loss_named
from landsweep.sweeps.landscape.spaces import ORIGIN, InputSpace

__all__ = ["InputPlane", "check_inputs", "loss_of_one", "plane_arrays"]


@dataclass(frozen=True, slots=True)
class InputPlane:
    """Inputs by coordinates: (1 - those of samples) times the origin, and coordinates times samples and directions.

    Written so, and summed in double precision, each of the samples comes out bit for bit at its own corner.

    Attributes:
        origin: the sample at 0, [*shape].
        samples: axis to the sample at 1, [*shape].
        directions: axis to direction, [*shape].
        targets: of the sample at 0 and of each in `samples`, by name, [1, ...].
    """

    origin: Tensor
    samples: Mapping[str, Tensor]
    directions: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]

    @classmethod
    def of(cls, arrays: Arrays, device: str) -> InputPlane:
        """From what `plane_arrays` gives."""

        def under(prefix: str) -> dict[str, Tensor]:
            named = {k.removeprefix(f"{prefix}/"): v for k, v in arrays.items() if k.startswith(f"{prefix}/")}
            return {k: torch.from_numpy(np.array(v)).to(device) for k, v in named.items()}

        inputs = under("input")
        return cls(inputs.pop(ORIGIN), inputs, under("direction"), under("target"))

    def at(self, coordinates: Mapping[str, float]) -> Tensor:
        """The input there, [1, *shape], in float64."""
        share = 1.0
        for axis in self.samples:
            share -= coordinates[axis]
        point = share * self.origin.double()
        for axis, other in {**self.samples, **self.directions}.items():
            point = point + coordinates[axis] * other.double()
        return point.unsqueeze(0)


def check_inputs(space: InputSpace, data: Data, axes: Sequence[str]) -> None:
    """Refuse data whose inputs span no plane, or samples that it lacks.

    Raises:
        SpecError: names the field and what is allowed.
    """
    if space.split not in data.splits:
        raise SpecError(f"space.split: there is no split {space.split!r}; there are {list(data.splits)}")
    split = data.splits[space.split]
    if not split.head(1).inputs.is_floating_point():
        raise SpecError("space: the inputs are whole numbers, between which there is nothing; it needs real ones")
    if data.sequence:
        raise SpecError("space: the data has a class at every position of a sequence; it needs one target per sample")
    if split.head(1).targets.is_floating_point() and (space.loss in OF_CLASSES or space.loss == "error"):
        raise SpecError("space.loss: the targets are no classes; use loss: mse or a loss of your own")
    named = {"origin": space.origin, **{f"along.{axis}": space.along.get(axis) for axis in axes}}
    for field, number in named.items():
        if isinstance(number, int) and number >= len(split):
            raise SpecError(
                f"space.{field}: there is no sample {number}; {space.split} has {len(split)}, counted from 0"
            )
    if len(split) < len(space.judges(axes)):
        raise SpecError(f"space: needs {len(space.judges(axes))} samples, but {space.split} has {len(split)}")


def plane_arrays(
    space: InputSpace, axes: Sequence[str], draw: int, data: Data, module: nn.Module, base: Path
) -> dict[str, Any]:
    """The plane of one network and draw: `input/...`, `target/...`, `direction/...`, `norms`, `cosines`, `fact/...`.

    Args:
        space: of the spec.
        axes: names.
        draw: number of the draw.
        data: on the device of the network.
        module: the network, in evaluation mode.
        base: folder in which a loss function's module is looked for.

    Raises:
        SpecError: a direction leads nowhere.
    """
    split = data.splits[space.split]
    numbers = _numbers(space, axes, draw, len(split))
    chosen = {name: split.part(number, number + 1) for name, number in numbers.items()}
    origin = chosen[ORIGIN].inputs[0]
    arrays: dict[str, Any] = {f"input/{name}": _array(s.inputs[0]) for name, s in chosen.items()}
    arrays |= {f"target/{name}": _array(s.targets) for name, s in chosen.items()}
    facts: dict[str, float] = {f"{name}_sample": number for name, number in numbers.items()}
    if not split.targets.is_floating_point():
        facts |= {f"{name}_class": int(s.targets[0]) for name, s in chosen.items()}
    spans: dict[str, Tensor] = {}
    for axis in axes:
        if axis in chosen:
            spans[axis] = chosen[axis].inputs[0].double() - origin.double()
            if not bool(spans[axis].any()):
                raise SpecError(
                    f"space.along.{axis}: sample {numbers[axis]} equals sample {numbers[ORIGIN]} at 0, so the axis "
                    "leads nowhere; name another one"
                )
            continue
        spans[axis] = _direction(space, axis, draw, chosen[ORIGIN], module, base, facts)
        arrays[f"direction/{axis}"] = _array(spans[axis])
    norms, cosines = geometry([{"input": _array(spans[axis])} for axis in axes])
    return arrays | {"norms": norms, "cosines": cosines} | {f"fact/{k}": np.array(v) for k, v in facts.items()}


def loss_of_one(loss: LossFunction, outputs: Tensor, target: Tensor) -> Tensor:
    """Loss of one sample, [1], in float64.

    Raises:
        ValueError: the user's loss gives something else.
    """
    value: object = loss(outputs, target)
    if not isinstance(value, Tensor) or value.shape != (1,):
        kind = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(f"space.loss must give one number per sample, a tensor [1] here; it gave {kind}")
    return value.double()


def _numbers(space: InputSpace, axes: Sequence[str], draw: int, count: int) -> dict[str, int]:
    """Which sample lies at 0 and which at the end of each axis that leads to one; drawn ones differ from all others.

    What is drawn depends on the seed, the draw and the axis' name: not on the network or the order of the axes.
    """
    requested: dict[str, int | None] = {ORIGIN: space.origin}
    for axis in sorted(axes):
        along = space.of(axis)
        if isinstance(along, int) or along == "sample":
            requested[axis] = along if isinstance(along, int) else None
    numbers = {name: number for name, number in requested.items() if number is not None}
    for name in requested:
        if name not in numbers:
            free = np.setdiff1d(np.arange(count), list(numbers.values()))
            numbers[name] = int(free[_source(space, draw, name).integers(len(free))])
    return numbers


def _direction(
    space: InputSpace, axis: str, draw: int, origin: Split, module: nn.Module, base: Path, facts: dict[str, float]
) -> Tensor:
    """[*shape], in float64; what rows say of it is added to `facts`."""
    along, source = space.of(axis), _source(space, draw, axis)
    shape, device = origin.inputs.shape[1:], origin.inputs.device
    if along == "random":
        drawn = source.standard_normal(tuple(shape))
        return torch.from_numpy(drawn / np.linalg.norm(drawn)).to(device)
    if along == "random_sign":
        return torch.from_numpy(source.choice((-1.0, 1.0), size=tuple(shape))).to(device)
    inputs = origin.inputs.to(number_type(module)).requires_grad_()
    target = origin.targets.to(inputs.dtype) if origin.targets.is_floating_point() else origin.targets
    try:
        (slope,) = torch.autograd.grad(loss_of_one(loss_named(space.loss, base), module(inputs), target).sum(), inputs)
    except RuntimeError as e:
        raise SpecError(f"space.along.{axis}: the loss has no gradient with respect to the input: {e}") from e
    slope = slope[0].double()
    length = float(slope.norm())
    if not np.isfinite(length) or not length:
        raise SpecError(
            f"space.along.{axis}: the gradient at the sample at 0 is {length or 'zero'}, so it points nowhere"
        )
    facts[f"gradient_norm_{axis}"] = length
    return slope / length if along == "gradient" else slope.sign()


def _source(space: InputSpace, draw: int, name: str) -> np.random.Generator:
    return np.random.default_rng(int(digest(["plane of inputs", space.seed, draw, name], 8), 16))


def _array(tensor: Tensor) -> Any:  # noqa: ANN401 - an array of any type
    return tensor.detach().cpu().numpy().copy()
