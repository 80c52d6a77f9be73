"""What all measures share: their place in a spec, the columns that they give, and how they are computed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from landsweep.orchestrator.row import Column, Metric
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.measure.subject import Samples, Subject

__all__ = ["Measure", "Measured", "Of"]

Of: TypeAlias = Literal["model", "pair", "group"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measure has found for one subject.

    Attributes:
        values: column to value; each column of `Measure.columns` is there, None where it is not defined.
        curves: name to numbers, such as a spectrum or the losses along a path; they become series, whose `step` is the
            position in the curve.
    """

    values: Mapping[str, Metric]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Measure(Section):
    """A quantity of stored models. A subclass per file, told apart by `measure`.

    Attributes:
        of: what it measures: a model, a pair or a group of models.
        unlike: whether the models of a pair may have weights of other names and shapes.
    """

    of: ClassVar[Of] = "model"
    unlike: ClassVar[bool] = False

    measure: str
    evaluator: str = Field("train", description="name of the evaluator whose samples and loss it uses")

    def takes(self) -> Of:
        """What it measures, where that depends on its fields."""
        return self.of

    def evaluators(self) -> tuple[str, ...]:
        """Names of the evaluators whose samples it is given: these alone are part of its units' identity."""
        return (self.evaluator,)

    def check(self, subject: Subject) -> None:
        """Refuse, before any unit is computed, networks or samples for which the measure is not defined.

        Args:
            subject: one of those that it will be given; it is called once for each architecture.

        Raises:
            SpecError: says what was given, what is needed, and what to do.
        """

    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """Every value that it gives: name, a sentence, unit and type. Names are unique among all measures."""

    @abstractmethod
    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        """Measure subjects whose networks have one architecture, in order; the values do not depend on the company.

        Raises:
            SpecError: the measure is not defined for these networks or samples; says what is, and what to do.
        """

    def samples(self, subject: Subject) -> Samples:
        """The samples that this measure looks at."""
        return subject.samples[self.evaluator]
