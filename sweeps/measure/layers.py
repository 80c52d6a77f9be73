"""The weights of stored models, tensor by tensor, as arrays."""

from __future__ import annotations

from itertools import pairwise

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.measure.subject import StoredModel, Subject

__all__ = ["checkpoints_of", "matrices_of", "weights_of"]


def weights_of(model: StoredModel) -> dict[str, Floats]:
    """Name to values of all parameters, in float64, in the module's order; one that is shared stands once."""
    names = [name for name, _ in model.build().named_parameters()]
    return {name: model.state[name].detach().double().cpu().numpy() for name in names}


def matrices_of(model: StoredModel) -> dict[str, Floats]:
    """Those of two or more dimensions, as matrices: the first dimension by all others."""
    return {name: w.reshape(len(w), -1) for name, w in weights_of(model).items() if w.ndim > 1}


def checkpoints_of(subject: Subject, measure: str) -> list[int]:
    """Steps of the checkpoints of a run, which rise.

    Raises:
        SpecError: the models are no checkpoints of one run in their order, or there are fewer than two.
    """
    steps = [model.step for model in subject.models]
    known = [step for step in steps if step is not None]
    rising = all(a < b for a, b in pairwise(known))
    if len(known) < max(len(steps), 2) or not rising or len({model.key for model in subject.models}) > 1:
        said = ", ".join(f"{m.key}/{m.label} (step {m.step})" for m in subject.models[:4])
        raise SpecError(
            f"{measure} follows one run along its checkpoints, two or more of known and rising steps; given were "
            f"{said}: let the groups be checkpoints of one model"
        )
    return known
