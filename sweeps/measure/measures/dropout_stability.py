"""Dropout stability: how much loss a network gains when it keeps a share of its hidden units, rescaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column, Metric
from landsweep.sweeps.lab.matching.symmetry import Place, Symmetry, Units, find_symmetry
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.measure.connectivity import State, judged
from landsweep.sweeps.measure.measures.base import Measure, Measured
from landsweep.sweeps.measure.subject import StoredModel, Subject

__all__ = ["DropoutStability"]


class DropoutStability(Measure):
    """Loss change when a random share of each hidden layer's units is kept and their outgoing weights are scaled up.

    A network is dropout-stable (arXiv 1912.10095) if some choice changes the loss little; two such networks are
    connected by a path of little loss. Hidden layers are those whose units one linear or convolutional layer writes;
    residual streams and heads of attention, which many layers write, keep all.
    """

    measure: Literal["dropout_stability"] = "dropout_stability"
    keep: float = Field(0.5, gt=0, lt=1, description="share of the units of each hidden layer that is kept")
    draws: int = Field(10, ge=1, description="random choices of the units")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("dropout_loss", "mean loss over the draws, with the kept units alone"),
            Column("dropout_loss_change", "`dropout_loss` minus the loss of the whole network"),
            Column(
                "dropout_loss_change_best", "the same of the draw with the lowest loss: below eps: eps-dropout-stable"
            ),
            Column("dropout_error_change", "mean error over the draws minus that of the whole network", "share"),
            Column("dropout_layers", "hidden layers that lose units", type="int"),
        )

    def check(self, subject: Subject) -> None:
        self._layers(subject.models[0].build(), subject)

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        layers: tuple[Units, ...] | None = None
        for subject in subjects:
            (model,) = subject.models
            module = model.build()
            layers = self._layers(module, subject) if layers is None else layers
            yield self._measured(module, model, subject, layers)

    def _measured(self, module: nn.Module, model: StoredModel, subject: Subject, layers: Sequence[Units]) -> Measured:
        samples = self.samples(subject)
        loss, error = judged(module, samples)
        draw = generator(subject.seed, "dropout")
        losses, errors = [], []
        for _ in range(self.draws):
            module.load_state_dict(self._thinned(model.state, layers, draw))
            found = judged(module, samples)
            losses.append(found[0])
            errors.append(found[1])
        mean = sum(losses) / self.draws
        classes = not samples.targets.is_floating_point()
        values: dict[str, Metric] = {
            "dropout_loss": mean,
            "dropout_loss_change": mean - loss,
            "dropout_loss_change_best": min(losses) - loss,
            "dropout_error_change": sum(errors) / self.draws - error if classes else None,
            "dropout_layers": len(layers),
        }
        return Measured(values, {"dropout_loss": losses})

    def _thinned(self, state: State, layers: Sequence[Units], draw: torch.Generator) -> State:
        new = dict(state)
        for units in layers:
            kept = max(1, round(self.keep * units.size))
            factor = torch.zeros(units.size)
            factor[torch.randperm(units.size, generator=draw)[:kept]] = units.size / kept
            for place in units.places:
                if place.dim == 1:
                    new[place.tensor] = _scaled(new[place.tensor], place, factor)
        return new

    def _layers(self, module: nn.Module, subject: Subject) -> tuple[Units, ...]:
        symmetry = find_symmetry(module, self.samples(subject).inputs[:4])
        layers = tuple(u for u in symmetry.units if _hidden(u, symmetry))
        if not layers:
            raise SpecError(
                "dropout_stability: no hidden layer of this network is written by one linear or convolutional layer "
                "alone; measure networks that have one, such as an mlp"
            )
        return layers


def _hidden(units: Units, symmetry: Symmetry) -> bool:
    return len(units.written) == 1 and units.written[0].tensor in symmetry.layers


def _scaled(t: torch.Tensor, place: Place, factor: torch.Tensor) -> torch.Tensor:
    """A weight [out, in, ...] with the inputs from each unit multiplied by its factor [N]."""
    n = len(factor)
    scale = torch.ones(t.shape[1], dtype=t.dtype)
    part = scale[place.start : place.start + place.outer * n * place.block].view(place.outer, n, place.block)
    part.copy_(factor.to(t.dtype)[None, :, None].expand_as(part))
    return t * scale.view(1, -1, *[1] * (t.ndim - 2))
