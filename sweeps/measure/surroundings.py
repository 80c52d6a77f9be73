"""Losses near a stored model: along random directions in the space of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.streams import stream
from landsweep.sweeps.lab.weight_space.batch_norm import BatchNormMode, running_layers
from landsweep.sweeps.lab.weight_space.directions import RandomDirections, group_table, random_directions
from landsweep.sweeps.lab.weight_space.rig import MovableModule, state_arrays
from landsweep.sweeps.measure.predictions import sample_losses
from landsweep.sweeps.measure.subject import Samples, Subject

__all__ = ["Surroundings"]


class Surroundings:
    """Losses of one model at weights plus coordinate times direction.

    Args:
        subject: whose first model it is; its seed draws the directions.
        samples: on which the loss is taken.
        directions: how directions are drawn.
        mode: what happens to batch normalisation away from the centre.

    Raises:
        SpecError: a rule of the directions fits no parameter, or there is nothing to estimate statistics from.
    """

    def __init__(self, subject: Subject, samples: Samples, directions: RandomDirections, mode: BatchNormMode) -> None:
        self._module = subject.models[0].build()
        if mode == "reestimate" and running_layers(self._module) and not subject.batches:
            raise SpecError("batch_norm: reestimate needs training inputs, but there are none; use `batch_norm: fixed`")
        self._state = state_arrays(self._module)
        self._groups = group_table(self._module, directions)
        drawn = stream(subject.seed, f"directions {directions.seed}")
        self._directions = directions.model_copy(update={"seed": drawn})
        self._mode, self._batches, self._samples = mode, subject.batches, samples

    def losses(self, draw: int, coordinates: Sequence[float]) -> list[float]:
        """Mean losses along the line of a draw, in float64."""
        line = random_directions(self._state, self._groups, self._directions, draw, ("x",))
        device = str(next(self._module.parameters()).device)
        with closing(MovableModule(self._module, self._state, line, self._mode, self._batches, device)) as moved:
            return [self._loss_at(moved, coordinate) for coordinate in coordinates]

    def _loss_at(self, moved: MovableModule, coordinate: float) -> float:
        moved.move({"x": coordinate})
        return float(sample_losses(self._module, self._samples).mean())
