"""Calibration: whether a model is right as often as it says."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.predictions import class_predictions, need_classes
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Calibration"]


class Calibration(AloneMeasure):
    """`calibration`: expected calibration error (arXiv 1706.04599), negative log-likelihood and Brier score.

    Samples are put into bins by the probability of the class that is predicted, the upper edge of a bin belonging to
    it. The error of a bin is the distance of its accuracy from its mean probability; the expected one weighs bins by
    their samples. Of sequences each position counts as a sample.
    """

    measure: Literal["calibration"] = "calibration"
    bins: int = Field(15, ge=1, description="of the predicted probability")
    edges: Literal["equal_width", "equal_count"] = Field(
        "equal_width", description="bins of equal width between 0 and 1, or with equal numbers of samples"
    )

    def columns(self) -> tuple[Column, ...]:
        return (
            Column(
                "calibration_error", "expected calibration error (ECE): |accuracy - probability|, mean over samples"
            ),
            Column("calibration_worst", "largest calibration error among the bins (MCE)"),
            Column("calibration_confidence", "probability of the predicted class, mean over samples"),
            Column("calibration_accuracy", "share of right predictions"),
            Column("calibration_nll", "negative log-likelihood of the true classes, mean over samples", "nat"),
            Column("calibration_brier", "squared distance of probabilities from the one-hot truth, mean over samples"),
        )

    def check(self, subject: Subject) -> None:
        need_classes(self.samples(subject), "calibration")

    def of_one(self, subject: Subject) -> Measured:
        logs, targets = class_predictions(subject.models[0].build(), self.samples(subject), "calibration")
        probabilities = logs.exp()
        confidence, guesses = (t.cpu().numpy() for t in probabilities.max(1))
        right = (guesses == targets.cpu().numpy()).astype(np.float64)
        truth = targets[:, None]
        brier = probabilities.square().sum(1) - 2 * probabilities.gather(1, truth)[:, 0] + 1
        bins = self._bins(confidence)
        count = np.bincount(bins, minlength=self.bins)
        filled = np.maximum(count, 1)
        mean = np.bincount(bins, confidence, self.bins) / filled
        accuracy = np.bincount(bins, right, self.bins) / filled
        apart = np.abs(accuracy - mean)
        values = {
            "calibration_error": float((apart * count).sum() / count.sum()),
            "calibration_worst": float(apart[count > 0].max()),
            "calibration_confidence": float(confidence.mean()),
            "calibration_accuracy": float(right.mean()),
            "calibration_nll": float(-logs.gather(1, truth).mean()),
            "calibration_brier": float(brier.mean()),
        }
        curves = {
            "calibration_bin_count": count.astype(np.float64).tolist(),
            "calibration_bin_confidence": np.where(count > 0, mean, math.nan).tolist(),
            "calibration_bin_accuracy": np.where(count > 0, accuracy, math.nan).tolist(),
        }
        return Measured(values, curves)

    def _bins(self, confidence: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Number of the bin of each sample, [n]."""
        if self.edges == "equal_width":
            return np.clip(np.ceil(confidence * self.bins).astype(np.int64) - 1, 0, self.bins - 1)
        ranks = np.empty(len(confidence), np.int64)
        ranks[np.argsort(confidence, kind="stable")] = np.arange(len(confidence))
        return ranks * self.bins // len(confidence)
