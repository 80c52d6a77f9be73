"""Packs: many small models trained as one stacked computation, each with its own settings, seed and fault domain.

for event in train_pack(recipes, data, device="cpu", backend="auto"):
    match event:
        case Evaluated(): ...   # metrics of one model at a step
        case Snapshot(): ...    # its weights, as the checkpoint policy asks for
        case Ended(): ...       # its end: ok, diverged or stopped
        case Beat(): ...        # a moment to call training.state() or training.stop(index)
"""

from __future__ import annotations

from sweeps.lab.packs.calibrate import Choice
from sweeps.lab.packs.entry import FEW, LARGEST, check_backend, choose, prove_backend, suited, train_pack
from sweeps.lab.packs.events import Beat, Ended, Evaluated, PackEvent, Point, Snapshot
from sweeps.lab.packs.training import Training

__all__ = [
    "FEW",
    "LARGEST",
    "Beat",
    "Choice",
    "Ended",
    "Evaluated",
    "PackEvent",
    "Point",
    "Snapshot",
    "Training",
    "check_backend",
    "choose",
    "prove_backend",
    "suited",
    "train_pack",
]
