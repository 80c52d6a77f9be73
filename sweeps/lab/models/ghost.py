"""The field of networks whose batch normalisation can look at parts of a batch."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from landsweep.sweeps.lab.models.base import Net

__all__ = ["GhostNormalised"]


class GhostNormalised(Net):
    """A network whose batch normalisation can look at parts of a batch."""

    ghost: int | None = Field(
        None,
        ge=2,
        exclude_if=lambda v: v is None,
        description="batch normalisation over so many samples at a time instead of the whole batch (arXiv 1705.08741)",
    )

    @model_validator(mode="after")
    def _ghosts_are_of_batch_normalisation(self) -> Self:
        kind = getattr(self, "norm")  # noqa: B009 - a field of the networks that have this one
        if self.ghost is not None and kind != "batch":
            raise ValueError(f"ghost is of batch normalisation, but norm is {kind}; set norm: batch or leave ghost out")
        return self
