"""Optimizers over stacked models: one file per method, one union of specs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sweeps.lab.optim.adam import Adam
from sweeps.lab.optim.adamw import AdamW
from sweeps.lab.optim.ademamix import AdEMAMix
from sweeps.lab.optim.base import Method, Step
from sweeps.lab.optim.dog import Dog
from sweeps.lab.optim.grams import Grams
from sweeps.lab.optim.gravity import Gravity
from sweeps.lab.optim.lion import Lion
from sweeps.lab.optim.momo import Momo, MomoAdam
from sweeps.lab.optim.muon import Muon
from sweeps.lab.optim.nadamw import NAdamW
from sweeps.lab.optim.named import NamedClass
from sweeps.lab.optim.prodigy import Prodigy
from sweeps.lab.optim.rmsprop import RmsProp
from sweeps.lab.optim.sam import Sam
from sweeps.lab.optim.sgd import Sgd
from sweeps.lab.optim.soap import Soap
from sweeps.lab.optim.stable_spam import StableSpam
from sweeps.lab.optim.swats import Swats

__all__ = [
    "AdEMAMix",
    "Adam",
    "AdamW",
    "Dog",
    "Grams",
    "Gravity",
    "Lion",
    "Method",
    "Momo",
    "MomoAdam",
    "Muon",
    "NAdamW",
    "NamedClass",
    "OptimizerSpec",
    "Prodigy",
    "RmsProp",
    "Sam",
    "Sgd",
    "Soap",
    "StableSpam",
    "Step",
    "Swats",
]

OptimizerSpec = Annotated[
    Sgd | Adam | AdamW | RmsProp | Lion | NAdamW
    | AdEMAMix | Grams | Swats | Gravity | StableSpam | Sam | Muon | Soap | Dog | Momo | MomoAdam | Prodigy
    | NamedClass,
    Field(discriminator="method"),
]  # fmt: skip
"""An optimizer; told apart by the field `method`, such as sgd, adamw, muon or class (any class by its name)."""
