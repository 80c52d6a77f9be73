"""Random values of swept fields: exact, the same on every machine, and never changed by drawing more of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from landsweep.orchestrator.canonical import Value, canonical, plain
from landsweep.orchestrator.distribution import FORMS, Distribution
from landsweep.orchestrator.spec import Section

__all__ = ["Draw", "RandomSamples", "Simplex"]

T = TypeVar("T")

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

    def objects(self) -> dict[str, Any]:
        """The lists and mappings that may be drawn, by the text that stands for each as a param."""
        return {canonical(v): v for v in self.choice or () if isinstance(v, list | tuple | dict)}

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


class Simplex(Section):
    """Shares that add up to 1, one for each field below a path; where all numbers are 1 they are uniform."""

    dirichlet: dict[str, Annotated[float, Field(ge=0.01, le=1000)]] = Field(
        min_length=2, description="parameters of a Dirichlet distribution, by the name of each share"
    )

    def at(self, positions: Mapping[str, int]) -> dict[str, float]:
        """The shares at positions of 2**64, one for each name; they have six digits.

        Each is a gamma variable, by its quantile, over their sum: a further name leaves the ratios of the others as
        they are.
        """
        from scipy.special import gammaincinv  # here: every spec of a zoo comes by this file

        gammas = {n: float(gammaincinv(a, (positions[n] + 0.5) / 2**_BITS)) for n, a in self.dirichlet.items()}
        shares = gammas if sum(gammas.values()) else self.dirichlet  # where all are too small to be told from 0
        return {name: round(value / sum(shares.values()), _DIGITS) for name, value in shares.items()}

    def edges(self) -> tuple[dict[str, float], ...]:
        """Shares between which all others lie: what a check must try."""
        return tuple({n: float(n == name) for n in self.dirichlet} for name in self.dirichlet)


def _form(given: object) -> str:
    simplex = "dirichlet" in given if isinstance(given, Mapping) else isinstance(given, Simplex)
    return "simplex" if simplex else "draw"


class RandomSamples(Section):
    """Random combinations of values. A larger `count` keeps the first ones, a further field leaves the others alone."""

    count: int = Field(ge=1, description="how many combinations")
    draw: dict[
        str, Annotated[Annotated[Draw, Tag("draw")] | Annotated[Simplex, Tag("simplex")], Discriminator(_form)]
    ] = Field(
        min_length=1,
        description="distributions by the name of what is drawn; `dirichlet`: of the fields of a recipe below it",
    )
    seed: int = Field(0, ge=0, description="another seed gives other combinations")

    @property
    def fields(self) -> dict[str, tuple[Value, ...]]:
        """Each field that is drawn, to values between or among which all others lie."""
        fields: dict[str, tuple[Value, ...]] = {}
        for path, draw in self.draw.items():
            fields |= (
                _below(path, dict.fromkeys(draw.dirichlet, (0.0, 1.0)))
                if isinstance(draw, Simplex)
                else {path: draw.edges()}
            )
        return fields

    def trials(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """What a check must try: for each extreme value what to call it in a message, and the fields that it sets."""
        for path, draw in self.draw.items():
            fields = (
                [_below(path, edge) for edge in draw.edges()]
                if isinstance(draw, Simplex)
                else [{path: edge} for edge in draw.edges()]
            )
            for values in fields:
                given = next(iter(values.values())) if len(values) == 1 else values
                yield f"samples.draw.{path}: the value {given!r}", dict(values)

    def values(self, index: int) -> dict[str, Value]:
        """The combination of this number, from 0."""
        values: dict[str, Value] = {}
        for path, draw in self.draw.items():
            if isinstance(draw, Simplex):
                positions = {name: _position(self.seed, f"{path}.{name}", index) for name in draw.dirichlet}
                values |= _below(path, draw.at(positions))
            else:
                values[path] = draw.at(_position(self.seed, path, index))
        return values


def _below(path: str, values: Mapping[str, T]) -> dict[str, T]:
    return {f"{path}.{name}": value for name, value in values.items()}


def _position(seed: int, path: str, index: int) -> int:
    text = canonical([seed, path, index])
    return int.from_bytes(blake2b(text.encode(), digest_size=_BITS // 8).digest(), "big")
