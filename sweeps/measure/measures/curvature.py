"""What measures of curvature share: of which matrix, in which weights, and models of one architecture in packs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.curvature import Objective, check_derivatives, models_at_once, stands_for
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.measure.measures.base import Measure, Measured
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Curvature", "ModelCurvature", "generators"]


class Curvature(Measure):
    """A measure of the loss around weights; evaluation mode, without weight decay. Subclasses say what is measured.

    Models that share an architecture are computed together where that pays; the numbers of each are those that it has
    alone. Derivatives are checked against differences, so that a network for which autograd is wrong is refused.
    """

    parameters: tuple[str, ...] = Field(
        (),
        description="patterns of the names of the parameters that count as weights, such as `out.*`; the others are "
        "constants. None: all that train",
    )
    dtype: Literal["float32", "float64"] | None = Field(
        None, description="precision to compute in; none: that of the stored weights"
    )

    def check(self, subject: Subject) -> None:
        """As for all measures: derivatives must be right, and names of parameters known."""
        _, objective = next(iter(self.packs([subject])))
        self.refuse(objective)

    def refuse(self, objective: Objective) -> None:
        """Refuse an objective for which the measure is not defined.

        Raises:
            SpecError: says why.
        """

    def packs(self, subjects: Sequence[Subject]) -> Iterator[tuple[Sequence[Subject], Objective]]:
        """Subjects and the objective of the first model of each, in order, pack by pack.

        Raises:
            SpecError: a derivative is not right, or `parameters` has a name that there is not.
        """
        at = 0
        while at < len(subjects):
            size = models_at_once(self._objective(subjects[at : at + 1]))
            few = self._alike(subjects[at : at + size])
            at += len(few)
            stacked = self._checked(few, together=True) if size > 1 else None
            if stacked is not None:
                yield few, stacked
                continue
            for one in few:
                objective = self._checked([one], together=False)
                assert objective is not None
                yield [one], objective

    def _alike(self, subjects: Sequence[Subject]) -> Sequence[Subject]:
        """The first of the subjects, and those after it whose samples have the same shapes."""
        shapes = [(s.inputs.shape, s.targets.shape, s.batch_size, s.loss) for s in map(self.samples, subjects)]
        return subjects[: next((i for i, shape in enumerate(shapes) if shape != shapes[0]), len(shapes))]

    def _checked(self, subjects: Sequence[Subject], *, together: bool) -> Objective | None:
        """The objective of these subjects; None: what they are together is not what each is alone."""
        modules = [s.models[0].build() for s in subjects]
        objective = self._objective(subjects, modules)
        if not together:
            objective = objective.alone(0)
        elif not stands_for(objective, modules):
            return None
        if self.dtype is not None:
            objective = objective.to({"float32": torch.float32, "float64": torch.float64}[self.dtype])
        check_derivatives(objective)
        return objective

    def _objective(self, subjects: Sequence[Subject], modules: Sequence[torch.nn.Module] | None = None) -> Objective:
        modules = modules or [s.models[0].build() for s in subjects]
        samples = [self.samples(s) for s in subjects]
        inputs, targets = [s.inputs for s in samples], [s.targets for s in samples]
        if _one(inputs) and _one(targets):
            return Objective.of(modules, inputs[0], targets[0], samples[0].loss, samples[0].batch_size, self.parameters)
        return Objective.of(modules, inputs, targets, samples[0].loss, samples[0].batch_size, self.parameters)


class ModelCurvature(Curvature):
    """A measure of one model each."""

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        for few, objective in self.packs(subjects):
            yield from self.of_pack(objective, few)

    @abstractmethod
    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        """Measure the K subjects of a pack.

        Args:
            objective: of the model of each.
            subjects: K of them.
        """


def _one(tensors: Sequence[Tensor]) -> bool:
    """Whether they are views of the same numbers."""
    return len({(t.data_ptr(), t.shape, t.stride()) for t in tensors}) == 1


def generators(subjects: Sequence[Subject]) -> list[torch.Generator]:
    """A random stream for each subject: its own, whatever stands beside it."""
    return [generator(s.seed, "curvature") for s in subjects]
