"""Random values of swept fields: exact, the same on every machine, and never changed by drawing more of them."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from landsweep.orchestrator.canonical import Value, canonical, plain
from landsweep.orchestrator.distribution import FORMS, Distribution
from landsweep.orchestrator.spec import Section

__all__ = ["Draw", "RandomSamples"]

_BITS = 64
_DIGITS = 6  # of a drawn float: so the last bits of a processor's logarithm do not matter


class Draw(Distribution):
    """A distribution with a value at each position.

    Example:
        >>> [Draw(log_uniform=(1e-4, 1)).at(u) for u in (0, 1 << 63)]
        [0.0001, 0.01]
        >>> Draw(integer=(8, 64)).at((1 << 64) - 1)
        64
    """

    noun: ClassVar[str] = "sample"

    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = Field(
        None, description="any values, equally often"
    )

    @model_validator(mode="before")
    @classmethod
    def _bounds_are_given(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
        if isinstance(data, str | None):
            raise ValueError(f"a sample needs bounds: one of {', '.join(FORMS)}, such as {{log_uniform: [1e-4, 1]}}")
        if isinstance(data, dict) and all(v is None for v in data.values()):
            form = next((f for f in FORMS if f in data), "a sample")
            raise ValueError(f"{form} needs {'values' if form == 'choice' else 'bounds, [low, high]'}")
        return data

    def at(self, u: int) -> Value:
        """The value at position `u` of 2**64; floats have six significant digits."""
        if self.choice is not None:
            return plain(self.choice[u * len(self.choice) >> _BITS])
        if self.integer is not None:
            return self.integer[0] + (u * (self.integer[1] - self.integer[0] + 1) >> _BITS)
        share = u / 2**_BITS
        if self.uniform is not None:
            a, b = self.uniform
            return _rounded(a + (b - a) * share)
        if self.log_integer is not None:
            low, high = self.log_integer
            return min(high, math.floor(low * math.exp(math.log((high + 1) / low) * share)))
        assert self.log_uniform is not None, "one form is given"
        a, b = self.log_uniform
        return _rounded(a * math.exp(math.log(b / a) * share))


def _rounded(x: float) -> float:
    return float(f"{x:.{_DIGITS}g}")


class RandomSamples(Section):
    """Random combinations of values. A larger `count` keeps the first ones, a further field leaves the others alone."""

    count: int = Field(ge=1, description="how many combinations")
    draw: dict[str, Draw] = Field(min_length=1, description="field of the recipe to its distribution")
    seed: int = Field(0, ge=0, description="another seed gives other combinations")

    def values(self, index: int) -> dict[str, Value]:
        """The combination of this number, from 0."""
        return {path: draw.at(_position(self.seed, path, index)) for path, draw in self.draw.items()}


def _position(seed: int, path: str, index: int) -> int:
    text = canonical([seed, path, index])
    return int.from_bytes(blake2b(text.encode(), digest_size=_BITS // 8).digest(), "big")
