"""Packs: many small models trained as one stacked computation, each with its own settings, seed and fault domain.

for event in train_pack(recipes, data, device="cpu", backend="auto"):
    match event:
        case Evaluated(): ...    # metrics of one model at a step
        case Checkpoint(): ...   # its weights, as the checkpoint policy asks for
        case BranchPoint(): ...  # its whole state at a step, where other runs can branch off
        case Ended(): ...        # its end: ok, diverged or stopped
        case Beat(): ...         # a moment to call training.state() or training.stop(index)
"""

from __future__ import annotations

from landsweep.sweeps.lab.training.backends import BackendName
from landsweep.sweeps.lab.training.calibrate import FEW, LARGEST, Choice, choose, suited
from landsweep.sweeps.lab.training.events import Beat, Best, BranchPoint, Checkpoint, Ended, Evaluated, TrainingEvent
from landsweep.sweeps.lab.training.proof import check_backend, prove_backend
from landsweep.sweeps.lab.training.state import FIXED_ARRAYS
from landsweep.sweeps.lab.training.train import train_pack
from landsweep.sweeps.lab.training.trainer import Trainer
from landsweep.sweeps.lab.training.training import Training

__all__ = [
    "FEW",
    "FIXED_ARRAYS",
    "LARGEST",
    "BackendName",
    "Beat",
    "Best",
    "BranchPoint",
    "Checkpoint",
    "Choice",
    "Ended",
    "Evaluated",
    "Trainer",
    "Training",
    "TrainingEvent",
    "check_backend",
    "choose",
    "prove_backend",
    "suited",
    "train_pack",
]
