"""Landscapes of something else than weights: which inputs, or which scales of quantised weights, the axes move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.landscape.directions import ColumnName

__all__ = ["ORIGIN", "InputSpace", "QuantisationSpace", "Spaces", "input_columns"]

ORIGIN = "origin"
"""What columns call the sample at 0."""
_Along: TypeAlias = (
    Annotated[int, Field(ge=0)] | Literal["sample", "gradient", "gradient_sign", "random", "random_sign"]
)
_WORDS = {
    "gradient": "the gradient of its loss, length 1",
    "gradient_sign": "the signs of the gradient of its loss, so that a coordinate is the change of each number",
    "random": "a Gaussian direction of length 1",
    "random_sign": "random signs, so that a coordinate is the change of each number",
}


class InputSpace(Section):
    """Inputs: a plane through samples of the data, or around one of them; the weights stay."""

    kind: Literal["inputs"]
    split: str = Field("test", description="of the data, in which samples are counted from 0")
    origin: int | None = Field(None, ge=0, description="the sample at 0; null: another one for each draw")
    along: dict[ColumnName, _Along] = Field(
        {},
        description="axis to a sample, which is then at 1: its number, or `sample` for one that is drawn; or to a "
        "direction: gradient, gradient_sign, random, random_sign; default: sample",
    )
    loss: str = Field(
        "cross_entropy",
        pattern=rf"^({'|'.join(LOSSES)}|[\w.]+:[\w.]+)$",
        description="as of evaluators: a name, or package.module:function",
    )
    seed: int = Field(0, description="of what is drawn")

    def of(self, axis: str) -> _Along:
        """Where an axis leads."""
        return self.along.get(axis, "sample")

    def judges(self, axes: Sequence[str]) -> tuple[str, ...]:
        """Whose targets points are judged by: of the sample at 0, and of each at the end of an axis."""
        return (ORIGIN, *(a for a in axes if isinstance(self.of(a), int) or self.of(a) == "sample"))

    def draws_anything(self, axes: Sequence[str]) -> bool:
        """Whether another draw gives another plane."""
        return self.origin is None or any(self.of(a) in ("sample", "random", "random_sign") for a in axes)

    def check_axes(self, axes: Mapping[str, Sequence[object]], draws: Sequence[object]) -> None:
        """Refuse axes that lead nowhere.

        Raises:
            ValueError: says which.
        """
        if ORIGIN in axes:
            raise ValueError(f"axes: {ORIGIN!r} is what columns call the sample at 0; choose another name")
        if wrong := [axis for axis in self.along if axis not in axes]:
            raise ValueError(f"space.along: there is no axis {wrong[0]!r}; there are {list(axes)}")
        used: dict[int, str] = {} if self.origin is None else {self.origin: "origin"}
        for axis, along in self.along.items():
            if isinstance(along, int) and (other := used.setdefault(along, f"along.{axis}")) != f"along.{axis}":
                raise ValueError(f"space.along.{axis}: sample {along} is that of space.{other}; name another one")
        if not self.draws_anything(list(axes)) and tuple(draws) != (0,):
            raise ValueError("all samples are named, so there is nothing to draw; leave `draws` out")

    def in_words(self, axes: Sequence[str]) -> str:
        """For captions."""
        words = []
        for axis in axes:
            along = self.of(axis)
            leads = f"sample {along}, which is at 1" if isinstance(along, int) else _WORDS.get(along, "")
            words.append(f"{axis}: {leads or 'a drawn sample, which is at 1'}")
        start = "a drawn sample" if self.origin is None else f"sample {self.origin}"
        return f"from {start} of {self.split} at 0; {'; '.join(words)}"


class QuantisationSpace(Section):
    """Scales of quantised weights: each axis multiplies the clipping range of its tensors, 1 for the largest weight."""

    kind: Literal["quantisation"]
    bits: Annotated[int, Field(ge=2, le=16)] | ColumnName | None = Field(
        8, description="for each weight; the name of an axis whose values they are; or null: clip and do not round"
    )
    tensors: dict[ColumnName, tuple[str, ...]] = Field(
        {},
        description="axis to patterns of names of parameters; may be left out where one axis moves all parameters of "
        "two or more dimensions",
    )
    others: Literal["quantised", "as_they_are"] = Field(
        "quantised", description="parameters of two or more dimensions that no axis moves: at factor 1, or not rounded"
    )
    per: Literal["tensor", "unit"] = Field("tensor", description="a range for each tensor, or each output unit")

    def factors(self, axes: Sequence[str]) -> list[str]:
        """The axes that are factors: all but that of the bits."""
        return [a for a in axes if a != self.bits]

    def check_axes(self, axes: Mapping[str, Sequence[object]], draws: Sequence[object]) -> None:
        """Refuse axes that move nothing, and values that are no factor or no number of bits.

        Raises:
            ValueError: says which.
        """
        factors = self.factors(list(axes))
        if isinstance(self.bits, str):
            if self.bits not in axes:
                raise ValueError(f"space.bits: there is no axis {self.bits!r}; there are {list(axes)}")
            if wrong := [b for b in axes[self.bits] if b not in range(2, 17)]:
                raise ValueError(f"axes.{self.bits}: bits are whole numbers from 2 to 16, not {wrong[0]}")
        if wrong := [axis for axis in self.tensors if axis not in factors]:
            raise ValueError(f"space.tensors: there is no axis {wrong[0]!r} of factors; there are {factors}")
        if missing := [axis for axis in factors if axis not in self.tensors and len(factors) > 1]:
            raise ValueError(f"space.tensors: with {len(factors)} axes each needs patterns, but {missing[0]} has none")
        for axis in factors:
            if wrong := [c for c in axes[axis] if not (isinstance(c, int | float) and c > 0)]:
                raise ValueError(f"axes.{axis}: a factor of the clipping range is above 0, not {wrong[0]}")
        if not factors and self.others == "as_they_are":
            raise ValueError("space.others: no axis is a factor, so nothing would be quantised; leave it out")
        if tuple(draws) != (0,):
            raise ValueError("scales of quantisation have nothing to draw; leave `draws` out")

    def in_words(self, axes: Sequence[str]) -> str:
        """For captions."""
        bits = "clipped, not rounded" if self.bits is None else f"at {self.bits} bits"
        bits = f"at as many bits as {self.bits} says" if self.bits in axes else bits
        moved = "; ".join(f"{a}: {', '.join(self.tensors.get(a, ('all weights',)))}" for a in self.factors(axes))
        return f"factors of the clipping range, weights {bits}, a range for each {self.per}; {moved}"


Spaces: TypeAlias = Annotated[InputSpace | QuantisationSpace, Field(discriminator="kind")]


def input_columns(space: InputSpace, axes: Sequence[str]) -> tuple[Column, ...]:
    """Metrics of a row of a landscape of inputs, norms and cosines of directions left out."""
    columns = []
    for judge in space.judges(axes):
        where = "at 0" if judge == ORIGIN else f"at 1 along {judge}"
        columns += [
            Column(f"{judge}_loss", f"loss of the input, judged by the target of the sample {where}"),
            Column(f"{judge}_probability", f"probability that the network gives the class of the sample {where}"),
            Column(f"{judge}_sample", f"number of the sample {where} in its split", type="int"),
            Column(f"{judge}_class", f"class of the sample {where}", type="int"),
        ]
    for axis in axes:
        if space.of(axis) in ("gradient", "gradient_sign"):
            columns.append(Column(f"gradient_norm_{axis}", "Euclidean norm of the loss's gradient at the sample at 0"))
    return (
        *columns,
        Column("predicted", "class of the highest output; none where targets are no classes", type="int"),
        Column("confidence", "probability that the network gives that class"),
        Column(
            "log_likelihood",
            "log-likelihood of the input up to a constant, the network being read as an energy-based model: logarithm "
            "of the sum of the exponentials of the outputs (arXiv 1912.03263)",
        ),
    )
