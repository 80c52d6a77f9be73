"""Distributed sweeps for the science of neural-network training.

Most of the work is done by the command `landsweep`; these names are for notebooks and scripts. Each is imported when it
is asked for, so that `import landsweep` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Read by MKL at its first product. Without it, on some processors, a product rounds otherwise where a row begins
# elsewhere in memory, and a model's bits would depend on its place in a pack.
os.environ.setdefault("MKL_CBWR", "AUTO")

if TYPE_CHECKING:
    from landsweep.interface import plan as plan
    from landsweep.interface import run as run
    from landsweep.interface import run_stages as run_stages
    from landsweep.results import Results as Results
    from landsweep.results import load as load
    from landsweep.sweeps.lab.recipe import Recipe as Recipe
    from landsweep.sweeps.lab.trained_models.reader import Zoo as Zoo
    from landsweep.sweeps.lab.training.train import train_pack as train_pack
    from landsweep.sweeps.laws.fitting.fit import fit as fit

__all__ = ["Recipe", "Results", "Zoo", "fit", "load", "plan", "run", "run_stages", "train_pack"]

_HOME = {
    "Recipe": "landsweep.sweeps.lab.recipe",
    "Results": "landsweep.results",
    "Zoo": "landsweep.sweeps.lab.trained_models.reader",
    "fit": "landsweep.sweeps.laws.fitting.fit",
    "load": "landsweep.results",
    "plan": "landsweep.interface",
    "run": "landsweep.interface",
    "run_stages": "landsweep.interface",
    "train_pack": "landsweep.sweeps.lab.training.train",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
