"""What the points of a landscape share: the weights of its models, and directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.lab.checkpoints.state_dict import CheckpointFile, load_into
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.recipe_sections import Checkpoints
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.training import Checkpoint, Ended, Evaluated, Training, train_pack
from landsweep.sweeps.lab.weight_space.rig import state_arrays
from landsweep.sweeps.landscape.directions import TrainingPath
from landsweep.sweeps.landscape.models import LandscapeModel
from landsweep.sweeps.landscape.spec import LandscapeSpec
from landsweep.sweeps.landscape.train import train

__all__ = ["directions_name", "loaded", "names_of", "recipe_training", "under", "weights_of"]


def under(prefix: str, arrays: Arrays) -> dict[str, Any]:
    """The arrays whose names begin with `prefix/`, without it."""
    return {k.removeprefix(f"{prefix}/"): v for k, v in arrays.items() if k.startswith(f"{prefix}/")}


def directions_name(spec: LandscapeSpec, model: str, draw: int) -> str:
    """Name of the preparation that holds the directions of one value of `model` and one draw."""
    return f"directions-{'-'.join(spec.centers()[model])}-{draw}"


@settings_kept()
def weights_of(spec: LandscapeSpec, name: str, bench: Workbench) -> dict[str, Any]:
    """Weights of a model: `state/...`, `history/...`, `input_shape`, `classes`, `outputs`.

    Of one with a path also `path/...` [T, ...] of its points, and `path_steps` [T].

    Raises:
        SpecError: a checkpoint does not fit, or a training diverged.
    """
    model, data = spec.models[name], spec.data.load(bench.folder).to(bench.device)
    sizes = {"input_shape": data.shape, "classes": data.classes, "outputs": data.outputs}
    arrays: dict[str, Any] = {name: np.array(size) for name, size in sizes.items()}
    module = model.make(data.shape, data.outputs, bench.folder).to(bench.device)
    if model.recipe is not None:
        arrays |= _by_recipe(spec, name, model.recipe, data, bench)
    else:
        arrays |= _without_recipe(model, name, module, data, bench)
    if spec.path is not None and spec.path.files is not None and _is_followed(spec, name):
        arrays |= _path_of_files(spec.path.files, module, bench)
    return arrays


def _without_recipe(
    model: LandscapeModel, name: str, module: nn.Module, data: Data, bench: Workbench
) -> dict[str, Any]:
    """Weights from a file, by the short form of a recipe, or as the network was built."""
    arrays: dict[str, Any] = {}
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


def _is_followed(spec: LandscapeSpec, name: str) -> bool:
    """Whether there is a path that leads to this model: to those at a centre."""
    return spec.path is not None and name in {names[0] for names in spec.centers().values()}


def _path_of_files(files: Sequence[CheckpointFile], module: nn.Module, bench: Workbench) -> dict[str, Any]:
    states = []
    for i, file in enumerate(files):
        load_into(module, file.load(bench.folder), f"path.files.{i}: {file.file}")
        states.append(state_arrays(module))
    return _stacked(states, range(len(files)))


def _stacked(states: Sequence[Mapping[str, Any]], steps: Iterable[int]) -> dict[str, Any]:
    stacked = {f"path/{k}": np.stack([state[k] for state in states]) for k in states[0]}
    return stacked | {"path_steps": np.array(list(steps), np.int64)}


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

    def training(kept: Checkpoints) -> Training:
        lean = recipe.model_copy(update={"checkpoints": kept, "evaluate": measured})
        try:
            return train_pack([lean], data, device=bench.device, backend="loop", base=bench.folder)
        except SpecError as e:
            raise SpecError(f"models.{name}.recipe: {e}") from e

    plain = training(Checkpoints())
    if spec.path is None or spec.path.files is not None or not _is_followed(spec, name):
        return plain
    return training(Checkpoints(at_steps=_steps(spec.path, plain.calendar.total, name)))


def _steps(path: TrainingPath, total: int, name: str) -> tuple[int, ...]:
    """The steps of the path's points, from 0 to the last one.

    Raises:
        SpecError: the training has too few steps to tell that many points apart.
    """
    count = len(path)
    if path.spacing == "linear":
        steps = [round(i * total / (count - 1)) for i in range(count)]
    else:
        steps = [0, *(round(max(total, 1) ** (i / max(count - 2, 1))) for i in range(count - 1))]
        steps[-1] = total
    if len(set(steps)) < count:
        raise SpecError(
            f"path.checkpoints: {count} points with {path.spacing} spacing do not fit into the training of "
            f"models.{name}, which has {total} steps: some would be the same; give fewer"
        )
    return tuple(steps)


def _by_recipe(spec: LandscapeSpec, name: str, recipe: Recipe, data: Data, bench: Workbench) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    history: dict[int, Evaluated] = {}  # by step, since the last evaluation comes twice
    path: dict[int, Mapping[str, Any]] = {}
    for event in recipe_training(spec, name, recipe, data, bench):
        match event:
            case Checkpoint():
                state = {k: t.numpy() for k, t in event.state.items()}
                arrays = {f"state/{k}": a for k, a in state.items()}
                path[event.step] = state
            case Evaluated():
                history[event.step] = event
            case Ended(status="diverged"):
                raise SpecError(f"models.{name}.recipe: the training diverged, {event.error}; lower the learning rate")
    if spec.path is not None and spec.path.files is None and _is_followed(spec, name):
        arrays |= _stacked(list(path.values()), path)
    lines = list(history.values())
    arrays["history/step"] = np.array([e.step for e in lines], np.int64)
    arrays["history/epoch"] = np.array([e.epoch for e in lines])
    for metric in dict.fromkeys(m for e in lines for m in e.metrics):
        arrays[f"history/{metric}"] = np.array([e.metrics.get(metric, np.nan) for e in lines])
    return arrays


def names_of(model: LandscapeModel, arrays: Arrays, bench: Workbench) -> nn.Module:
    """The module for names, shapes and kinds of layers alone: without weights, where it is not the user's."""
    shape = tuple(int(n) for n in arrays["input_shape"])
    outputs = int(arrays["outputs" if "outputs" in arrays else "classes"])  # weights of earlier versions lack it
    net = model.network
    return model.make(shape, outputs, bench.folder) if net.own_code else net.skeleton(shape, outputs)


def loaded(spec: LandscapeSpec, name: str, arrays: Arrays, bench: Workbench) -> nn.Module:
    """A module of its own with the prepared weights of a model, on the device and in evaluation mode."""
    shape = tuple(int(n) for n in arrays["input_shape"])
    outputs = int(arrays["outputs" if "outputs" in arrays else "classes"])  # weights of earlier versions lack it
    module = spec.models[name].make(shape, outputs, bench.folder)
    module.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in under("state", arrays).items()})
    return module.to(bench.device).eval()
