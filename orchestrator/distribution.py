"""A distribution as specs write it: a range of numbers, or a choice. Searches and zoos draw from the same forms."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.canonical import Value, plain
from landsweep.orchestrator.spec import Section

__all__ = ["FORMS", "Distribution"]

FORMS = ("uniform", "log_uniform", "integer", "log_integer", "choice")


class Distribution(Section):
    """A distribution, given in exactly one form. Subclasses narrow what a choice may be, and say how values are drawn.

    Attributes:
        noun: what messages call it.
    """

    noun: ClassVar[str] = "distribution"

    uniform: tuple[float, float] | None = Field(None, description="[low, high]")
    log_uniform: tuple[float, float] | None = Field(None, description="[low, high] above 0, even in the logarithm")
    integer: tuple[int, int] | None = Field(None, description="[low, high], whole numbers, both ends included")
    log_integer: tuple[int, int] | None = Field(None, description="[low, high] above 0, whole, even in the logarithm")
    choice: tuple[Any, ...] | dict[str, dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = [form for form in FORMS if getattr(self, form) is not None]
        if len(forms) != 1:
            raise ValueError(f"a {self.noun} is one of {', '.join(FORMS)}; got {' and '.join(forms) or 'none of them'}")
        if self.choice is not None:
            return self
        low, high = getattr(self, self.form)
        if not low < high:
            raise ValueError(
                f"{self.form}: the range is empty; the first bound must be below the second: [{low}, {high}]"
            )
        if self.log and low <= 0:
            raise ValueError(f"{self.form}: both bounds must be above 0, got [{low}, {high}]")
        return self

    @property
    def form(self) -> str:
        """Which form is given."""
        return next(form for form in FORMS if getattr(self, form) is not None)

    @property
    def bounds(self) -> tuple[float, float]:
        """Both ends of a range."""
        low, high = getattr(self, self.form)
        return low, high

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return self.integer is not None or self.log_integer is not None

    @property
    def log(self) -> bool:
        """Whether values are even in the logarithm."""
        return self.log_uniform is not None or self.log_integer is not None

    def options(self) -> tuple[Value, ...]:
        """The values of a choice, as params hold them; those of a mapping are its names."""
        return tuple(plain(option) for option in self.choice or ())

    def edges(self) -> tuple[Value, ...]:
        """Values between or among which all others lie: what a check must try."""
        if self.choice is not None:
            return self.options()
        low, high = self.bounds
        return (int(low), int(high)) if self.whole else (low, high)
