"""Sections of a recipe: when a model is evaluated, which weights are kept, what a spike of its loss is."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.probes import ProbeSpec

__all__ = ["Checkpoints", "Count", "Evaluation", "Spike"]

Count = Annotated[int, Field(ge=1)]


class Evaluation(Section):
    """When and on what a model is evaluated; the end of training always is an evaluation."""

    every_epochs: Count | None = Field(None, description="evaluate after every n passes through the training data")
    every_steps: Count | None = Field(None, description="or after every n steps")
    start: bool = Field(False, description="evaluate the initial weights too")
    splits: tuple[str, ...] | None = Field(
        None, min_length=1, description="which splits of the data; none: all of them"
    )
    first: Count | None = Field(None, description="only the first n samples of each split; none: all of them")
    probes: tuple[ProbeSpec, ...] = Field(
        (), exclude_if=lambda v: not v, description="further measurements at each evaluation, see docs/zoo.md"
    )

    def columns(self) -> tuple[str, ...]:
        """Splits whose metrics have columns in the rows."""
        return tuple(dict.fromkeys(("train", "test", *(self.splits or ()))))

    def measured(self) -> dict[str, str]:
        """Name and meaning of what the probes add to the rows."""
        return {name: doc for probe in self.probes for name, doc in probe.measures.items()}

    @model_validator(mode="after")
    def _probes_have_names_of_their_own(self) -> Self:
        names = [probe.probe for probe in self.probes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"probes: {twice[0]} is listed twice, but its values have one name; leave one out")
        return self

    @model_validator(mode="after")
    def _one_grid(self) -> Self:
        if self.every_epochs is not None and self.every_steps is not None:
            raise ValueError("give `every_epochs` or `every_steps`, not both")
        return self


class Checkpoints(Section):
    """Which weights are kept. What is asked for twice is kept once."""

    every_epochs: Count | None = Field(None, description="after every n passes through the training data")
    every_steps: Count | None = Field(None, description="after every n steps")
    at_epochs: tuple[Annotated[int, Field(ge=0)], ...] = Field((), description="after these passes; 0 is the start")
    at_steps: tuple[Annotated[int, Field(ge=0)], ...] = Field((), description="after these steps; 0 is the start")
    log_spaced: Count | None = Field(None, description="this many, evenly spaced in log(step) from 1 to the end")
    best: str | None = Field(
        None,
        pattern=r"_(loss|accuracy)$",
        description="metric of an evaluation, such as test_accuracy: keep the first weights that were best by it",
    )
    last: bool = Field(True, description="keep the final weights")


class Spike(Section):
    """A loss of a batch far above the losses before."""

    times: float = Field(3.0, gt=1, description="a loss is a spike above this many times the median of the last losses")
    window: int = Field(64, ge=4, description="how many losses that median takes in; no spikes in the first quarter")
