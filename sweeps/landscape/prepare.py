"""What the points of a landscape share: the weights of its models, and directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.lab.checkpoints.state_dict import load_into
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.recipe import Checkpoints, Recipe
from landsweep.sweeps.lab.training import Checkpoint, Ended, Evaluated, Training, train_pack
from landsweep.sweeps.lab.weight_space.directions import (
    RandomDirections,
    geometry,
    group_table,
    interpolate,
    random_directions,
)
from landsweep.sweeps.lab.weight_space.rig import state_arrays
from landsweep.sweeps.landscape.models import LandscapeModel
from landsweep.sweeps.landscape.spec import LandscapeSpec
from landsweep.sweeps.landscape.train import train

__all__ = ["directions_name", "directions_of", "recipe_training", "under", "weights_of"]


def under(prefix: str, arrays: Arrays) -> dict[str, Any]:
    """The arrays whose names begin with `prefix/`, without it."""
    return {k.removeprefix(f"{prefix}/"): v for k, v in arrays.items() if k.startswith(f"{prefix}/")}


def directions_name(spec: LandscapeSpec, model: str, draw: int) -> str:
    """Name of the preparation that holds the directions of one value of `model` and one draw."""
    return f"directions-{'-'.join(spec.centers()[model])}-{draw}"


def weights_of(spec: LandscapeSpec, name: str, bench: Workbench) -> dict[str, Any]:
    """Weights of a model: `state/...`, `history/...`, `input_shape`, `classes`, `outputs`.

    Raises:
        SpecError: a checkpoint does not fit, or a training diverged.
    """
    model, data = spec.models[name], spec.data.load(bench.folder).to(bench.device)
    sizes = {"input_shape": data.shape, "classes": data.classes, "outputs": data.outputs}
    arrays: dict[str, Any] = {name: np.array(size) for name, size in sizes.items()}
    if model.recipe is not None:
        return arrays | _by_recipe(spec, name, model.recipe, data, bench)
    module = model.make(data.shape, data.outputs, bench.folder).to(bench.device)
    if model.checkpoint is not None:
        load_into(module, model.checkpoint.load(bench.folder), f"models.{name}.checkpoint: {model.checkpoint.file}")
    if model.train is not None:
        history = list(train(module, data.splits[model.train.split].cast(number_type(module)), model.train))
        if history and not np.isfinite(history[-1].loss):
            first = next(e.epoch for e in history if not np.isfinite(e.loss))
            raise SpecError(f"models.{name}.train: the loss became {history[-1].loss} in epoch {first}; lower the rate")
        arrays["history/epoch"] = np.array([e.epoch for e in history], np.int64)
        arrays["history/loss"] = np.array([e.loss for e in history])
        arrays["history/accuracy"] = np.array([e.accuracy for e in history])
    return arrays | {f"state/{k}": v for k, v in state_arrays(module).items()}


def recipe_training(spec: LandscapeSpec, name: str, recipe: Recipe, data: Data, bench: Workbench) -> Training:
    """A model's training, in a pack of its own that keeps the last weights and measures nothing but loss and accuracy.

    It runs in the back-end `loop`, so that the weights do not depend on what is fastest on this machine.

    Args:
        spec: of the sweep.
        name: name of the model in `models`.
        recipe: how it is trained.
        data: what the spec's `data` loads, on the device.
        bench: device, threads and folder of this worker.

    Raises:
        SpecError: recipe and data do not fit together.
    """
    if canonical(recipe.data.model_dump(mode="json")) != canonical(spec.data.model_dump(mode="json")):
        other = recipe.data.load(bench.folder).to(bench.device)
        if (other.shape, other.outputs) != (data.shape, data.outputs):
            raise SpecError(
                f"models.{name}.recipe.data: gives inputs {list(other.shape)} and {other.outputs} outputs, but the "
                f"landscape's data {list(data.shape)} and {data.outputs}; they must agree"
            )
        data = other
    if recipe.split not in data.splits:
        raise SpecError(
            f"models.{name}.recipe.split: there is no split {recipe.split!r}; there are {list(data.splits)}"
        )
    measured = recipe.evaluate.model_copy(update={"probes": ()})
    lean = recipe.model_copy(update={"checkpoints": Checkpoints(), "evaluate": measured})
    try:
        return train_pack([lean], data, device=bench.device, backend="loop", base=bench.folder)
    except SpecError as e:
        raise SpecError(f"models.{name}.recipe: {e}") from e


def _by_recipe(spec: LandscapeSpec, name: str, recipe: Recipe, data: Data, bench: Workbench) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    history: dict[int, Evaluated] = {}  # by step, since the last evaluation comes twice
    for event in recipe_training(spec, name, recipe, data, bench):
        match event:
            case Checkpoint():
                arrays = {f"state/{k}": t.numpy() for k, t in event.state.items()}
            case Evaluated():
                history[event.step] = event
            case Ended(status="diverged"):
                raise SpecError(f"models.{name}.recipe: the training diverged, {event.error}; lower the learning rate")
    lines = list(history.values())
    arrays["history/step"] = np.array([e.step for e in lines], np.int64)
    arrays["history/epoch"] = np.array([e.epoch for e in lines])
    for metric in dict.fromkeys(m for e in lines for m in e.metrics):
        arrays[f"history/{metric}"] = np.array([e.metrics.get(metric, np.nan) for e in lines])
    return arrays


def directions_of(
    spec: LandscapeSpec, label: str, draw: int, have: Mapping[str, Arrays], bench: Workbench
) -> dict[str, Any]:
    """Directions of one value of `model` and one draw: `AXIS/...`, `norms`, `cosines`.

    Args:
        spec: of the sweep.
        label: value of the param `model`.
        draw: number of the draw.
        have: weights of the models.
        bench: device, threads and folder of this worker.
    """
    names, axes = spec.centers()[label], list(spec.axes)
    first = have[f"model-{names[0]}"]
    states = [under("state", have[f"model-{name}"]) for name in names]
    directions: Mapping[str, Mapping[str, Any]]
    module = _names_of(spec.models[names[0]], first, bench)
    weights = [k for k, _ in module.named_parameters()]
    if isinstance(spec.directions, RandomDirections):
        groups = group_table(module, spec.directions)
        directions = random_directions(states[0], groups, spec.directions, draw, axes)
    else:
        floating = [{k: v for k, v in s.items() if v.dtype.kind == "f"} for s in states]
        directions = {axis: interpolate(floating[0], end) for axis, end in zip(axes, floating[1:], strict=True)}
    norms, cosines = geometry([{k: directions[axis][k] for k in weights} for axis in axes])
    arrays = {f"{axis}/{k}": d.astype(states[0][k].dtype) for axis in axes for k, d in directions[axis].items()}
    return arrays | {"norms": norms, "cosines": cosines}


def _names_of(model: LandscapeModel, arrays: Arrays, bench: Workbench) -> nn.Module:
    """The module for names, shapes and kinds of layers alone: without weights, where it is not the user's."""
    shape = tuple(int(n) for n in arrays["input_shape"])
    outputs = int(arrays["outputs" if "outputs" in arrays else "classes"])  # weights of earlier versions lack it
    return model.make(shape, outputs, bench.folder) if model.net.own_code else model.net.skeleton(shape, outputs)
