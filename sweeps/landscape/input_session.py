"""A landscape of inputs on one worker: the weights stay, and the input moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.row import Metric, Outcome
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.device import settle
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.weight_space.evaluators import loss_named
from landsweep.sweeps.landscape.input_plane import InputPlane, loss_of_one, plane_arrays
from landsweep.sweeps.landscape.prepare import directions_name, loaded
from landsweep.sweeps.landscape.session import geometry_metrics, outcome_of
from landsweep.sweeps.landscape.spaces import InputSpace
from landsweep.sweeps.landscape.spec import LandscapeSpec

__all__ = ["InputSession", "attempt_input", "prepare_plane"]


def prepare_plane(
    spec: LandscapeSpec, space: InputSpace, model: str, draw: int, have: Mapping[str, Arrays], bench: Workbench
) -> dict[str, Any]:
    """The plane of one model and draw, as `plane_arrays` gives it.

    Raises:
        SpecError: a direction leads nowhere.
    """
    module = loaded(spec, model, have[f"model-{model}"], bench)
    data = spec.data.load(bench.folder).to(bench.device)
    return plane_arrays(space, list(spec.axes), draw, data, module, bench.folder)


@torch.inference_mode()
def attempt_input(space: InputSpace, name: str, module: nn.Module, data: Data, bench: Workbench) -> None:
    """Put one sample through network and loss, to see whether they fit together.

    Raises:
        SpecError: they do not.
    """
    one = data.splits[space.split].head(1).cast(number_type(module))
    try:
        loss_of_one(loss_named(space.loss, bench.folder), module(one.inputs), one.targets)
    except Exception as e:  # whatever the user's functions do
        if of_the_machine(e):
            raise
        raise SpecError(f"models.{name} and space.loss do not fit together: {e}") from e


class InputSession:
    """Evaluates inputs one by one, so that a row does not depend on which others its worker computes."""

    def __init__(
        self, spec: LandscapeSpec, space: InputSpace, prepared: Mapping[str, Arrays], bench: Workbench
    ) -> None:
        settle(bench)
        self._spec, self._prepared, self._bench = spec, prepared, bench
        self._loss = loss_named(space.loss, bench.folder)
        self._at: tuple[str, int] | None = None
        self._module: nn.Module | None = None
        self._plane: InputPlane | None = None
        self._geometry: dict[str, Metric] = {}

    @torch.inference_mode()
    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        """One outcome for each unit; a loss that is not finite makes it `diverged`, with its values kept."""
        for unit in units:
            module, plane = self._there(str(unit.params["model"]), int(unit.params["draw"] or 0))
            point = plane.at({axis: float(unit.params[axis] or 0) for axis in self._spec.axes})
            dtype = number_type(module)
            with settings_kept():
                outputs: Tensor = module(point.to(dtype))
            yield outcome_of(unit.key, self._metrics(outputs, plane, dtype) | self._geometry)

    def close(self) -> None:
        """Forget the network."""
        self._module = self._plane = self._at = None

    def _metrics(self, outputs: Tensor, plane: InputPlane, dtype: torch.dtype) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {}
        for name, given in plane.targets.items():
            classes = not given.is_floating_point()
            target = given if classes else given.to(dtype)
            metrics[f"{name}_loss"] = float(loss_of_one(self._loss, outputs, target))
            if classes:
                shares = outputs.double().softmax(-1)[0]
                metrics[f"{name}_probability"] = float(shares[int(target)])
                predicted = int(outputs[0].argmax())
                metrics |= {"predicted": predicted, "confidence": float(shares[predicted])}
                metrics["log_likelihood"] = float(outputs.double().logsumexp(-1))
        return metrics

    def _there(self, model: str, draw: int) -> tuple[nn.Module, InputPlane]:
        """The network and its plane; units come in an order in which they seldom change."""
        if self._module is None or self._plane is None or self._at != (model, draw):
            arrays = self._prepared[directions_name(self._spec, model, draw)]
            self._module = loaded(self._spec, model, self._prepared[f"model-{model}"], self._bench)
            self._plane = InputPlane.of(arrays, self._bench.device)
            self._geometry = geometry_metrics(list(self._spec.axes), arrays)
            self._at = (model, draw)
        return self._module, self._plane
