"""The base of everything that a user writes in a spec or a site."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """Base of everything in a spec or site: frozen, unknown fields refused, no number is nan or inf.

    Fields that take anything hold nan and inf too, also when they are dumped.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, ser_json_inf_nan="constants"
    )
