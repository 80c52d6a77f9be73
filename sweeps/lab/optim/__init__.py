"""Optimizers over stacked models: one file per method, one union of specs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sweeps.lab.optim.adam import Adam
from sweeps.lab.optim.adamw import AdamW
from sweeps.lab.optim.base import Method, Step
from sweeps.lab.optim.lion import Lion
from sweeps.lab.optim.nadamw import NAdamW
from sweeps.lab.optim.named import NamedClass
from sweeps.lab.optim.rmsprop import RmsProp
from sweeps.lab.optim.sgd import Sgd

__all__ = [
    "Adam",
    "AdamW",
    "Lion",
    "Method",
    "NAdamW",
    "NamedClass",
    "OptimizerSpec",
    "RmsProp",
    "Sgd",
    "Step",
]

OptimizerSpec = Annotated[Sgd | Adam | AdamW | RmsProp | Lion | NAdamW | NamedClass, Field(discriminator="method")]
"""An optimizer; told apart by the field `method`: sgd, adam, adamw, rmsprop, lion, nadamw or class."""
