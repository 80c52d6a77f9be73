"""Measures that look at one subject after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

from landsweep.sweeps.measure.measures.base import Measure, Measured
from landsweep.sweeps.measure.subject import Subject

__all__ = ["AloneMeasure"]


class AloneMeasure(Measure):
    """A measure that gains nothing from computing several subjects at once."""

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        for subject in subjects:
            yield self.of_one(subject)

    @abstractmethod
    def of_one(self, subject: Subject) -> Measured:
        """Measure one subject.

        Raises:
            SpecError: the measure is not defined for these networks or samples; says what is, and what to do.
        """
