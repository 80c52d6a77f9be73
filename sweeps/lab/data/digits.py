"""Scikit-learn's handwritten digits: 1797 images of 8x8, part of the package, so nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from landsweep.sweeps.lab.data.base import Data, Dimensions, ImageData, Split, labels

__all__ = ["Digits"]

TRAIN = 1400
MEAN, STD = 4.8842, 6.0168  # of all pixels, which run from 0 to 16


class Digits(ImageData):
    """1400 training and 397 test images [1, 8, 8], split by a fixed permutation, pixels normalised."""

    source: Literal["digits"]

    def dimensions(self) -> Dimensions:
        return Dimensions((1, 8, 8), 10, splits=self.split_names)

    def load(self, base: Path) -> Data:
        """Splits `train` and `test`, and `validation` if asked for, on the CPU."""
        from sklearn.datasets import load_digits  # here: it takes seconds to import, and every spec comes by this file

        del base
        raw = load_digits()
        # The files run through writers in order, so the plain tail is another distribution: permute first.
        order = np.random.Generator(np.random.PCG64(0)).permutation(len(raw.target))
        inputs = torch.from_numpy((raw.images[order, None].astype(np.float32) - MEAN) / STD)
        targets = labels(raw.target[order])
        parts = (slice(None, TRAIN), slice(TRAIN, None))
        return self.parted(*(Split(inputs[part].clone(), targets[part].clone()) for part in parts))
