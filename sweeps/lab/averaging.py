"""Averages of the weights of past steps, which a model can be evaluated and kept at."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from landsweep.orchestrator.spec import Section

__all__ = ["Averaging", "AveragingSpec", "Exponential", "Latest", "Polynomial"]


class Averaging(Section):
    """What all averages share. Training itself does not see them.

    Buffers, such as the statistics of batch normalisation, are not averaged: they are those of the last step.
    """

    average: str
    evaluate: bool = Field(True, description="evaluate at the averaged weights")
    checkpoints: bool = Field(True, description="keep the averaged weights as checkpoints")


class Exponential(Averaging):
    """a <- decay a + (1 - decay) w after each step, a starting as the weights after the first one; as torch's."""

    average: Literal["exponential"]
    decay: float = Field(0.999, ge=0, lt=1)


class Latest(Averaging):
    """Latest-weight averaging (LAWA, arXiv 2209.14981): the mean of the weights after the last few marked steps."""

    average: Literal["latest"]
    last: int = Field(5, ge=1, description="how many; each takes as much memory as the weights")
    every: int = Field(1, ge=1, description="steps between marked ones; before the first mark, the weights themselves")


class Polynomial(Averaging):
    """a <- (1 - q) a + q w with q = (1 + gamma) / (t + gamma) (Shamir and Zhang 2013), as DoG wants it."""

    average: Literal["polynomial"]
    gamma: float = Field(8.0, ge=0)


AveragingSpec = Annotated[Exponential | Latest | Polynomial, Field(discriminator="average")]
"""An average; told apart by the field `average`: exponential, latest or polynomial."""
