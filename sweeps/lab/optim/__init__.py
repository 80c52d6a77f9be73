"""Optimizers over stacked models: one file per method, one union of specs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from landsweep.sweeps.lab.optim.adam import Adam
from landsweep.sweeps.lab.optim.adamw import AdamW
from landsweep.sweeps.lab.optim.adamw_independent import IndependentAdamW
from landsweep.sweeps.lab.optim.ademamix import AdEMAMix
from landsweep.sweeps.lab.optim.base import Linearised, Method, Step
from landsweep.sweeps.lab.optim.critical_adam import CriticalAdam
from landsweep.sweeps.lab.optim.dadapt import DAdaptAdam
from landsweep.sweeps.lab.optim.dog import Dog
from landsweep.sweeps.lab.optim.egn import Egn
from landsweep.sweeps.lab.optim.entropy_sgd import EntropySgd
from landsweep.sweeps.lab.optim.frugal import Frugal
from landsweep.sweeps.lab.optim.gam import Gam
from landsweep.sweeps.lab.optim.grams import Grams
from landsweep.sweeps.lab.optim.gravity import Gravity
from landsweep.sweeps.lab.optim.induced_metric import InducedMetric
from landsweep.sweeps.lab.optim.lion import Lion
from landsweep.sweeps.lab.optim.momo import Momo, MomoAdam
from landsweep.sweeps.lab.optim.muon import Muon
from landsweep.sweeps.lab.optim.nadamw import NAdamW
from landsweep.sweeps.lab.optim.named import NamedClass
from landsweep.sweeps.lab.optim.ortho_grad import OrthoGrad
from landsweep.sweeps.lab.optim.prodigy import Prodigy
from landsweep.sweeps.lab.optim.rmsprop import RmsProp
from landsweep.sweeps.lab.optim.sam import Sam
from landsweep.sweeps.lab.optim.schedule_free import ScheduleFreeAdamW, ScheduleFreeSgd
from landsweep.sweeps.lab.optim.sgd import Sgd
from landsweep.sweeps.lab.optim.sgdw import Sgdw
from landsweep.sweeps.lab.optim.soap import Soap
from landsweep.sweeps.lab.optim.stable_spam import StableSpam
from landsweep.sweeps.lab.optim.swan import Swan
from landsweep.sweeps.lab.optim.swats import Swats
from landsweep.sweeps.lab.optim.u_dog import UDog

__all__ = [
    "AdEMAMix",
    "Adam",
    "AdamW",
    "CriticalAdam",
    "DAdaptAdam",
    "Dog",
    "Egn",
    "EntropySgd",
    "Frugal",
    "Gam",
    "Grams",
    "Gravity",
    "IndependentAdamW",
    "InducedMetric",
    "Linearised",
    "Lion",
    "Method",
    "Momo",
    "MomoAdam",
    "Muon",
    "NAdamW",
    "NamedClass",
    "OptimizerSpec",
    "OrthoGrad",
    "Prodigy",
    "RmsProp",
    "Sam",
    "ScheduleFreeAdamW",
    "ScheduleFreeSgd",
    "Sgd",
    "Sgdw",
    "Soap",
    "StableSpam",
    "Step",
    "Swan",
    "Swats",
    "UDog",
]

OptimizerSpec = Annotated[
    Sgd | Sgdw | Adam | AdamW | IndependentAdamW | RmsProp | Lion | NAdamW
    | AdEMAMix | Grams | Swats | Gravity | StableSpam | Sam | Muon | Soap | Dog | Momo | MomoAdam | Prodigy
    | DAdaptAdam | ScheduleFreeSgd | ScheduleFreeAdamW | CriticalAdam
    | Swan | Frugal | Gam | EntropySgd
    | UDog | InducedMetric | Egn | OrthoGrad
    | NamedClass,
    Field(discriminator="method"),
]  # fmt: skip
"""An optimizer; told apart by the field `method`, such as sgd, adamw, muon or class (any class by its name)."""
