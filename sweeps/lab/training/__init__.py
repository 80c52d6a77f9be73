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

from sweeps.lab.packs.backends import BackendName
from sweeps.lab.packs.calibrate import FEW, LARGEST, Choice, choose, suited
from sweeps.lab.packs.entry import train_pack
from sweeps.lab.packs.events import Beat, Best, BranchPoint, Checkpoint, Ended, Evaluated, TrainingEvent
from sweeps.lab.packs.proof import check_backend, prove_backend
from sweeps.lab.packs.state import FIXED_ARRAYS
from sweeps.lab.packs.trainer import Trainer
from sweeps.lab.packs.training import Training

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
