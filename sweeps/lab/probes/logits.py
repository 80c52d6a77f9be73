"""How large the outputs are, and how far their normaliser drifts from 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch

from landsweep.sweeps.lab.probes.base import Probe, Subject

__all__ = ["Logits"]


class Logits(Probe):
    """`logit_mean` and `logit_max`, of absolute outputs, and `log_z`, the mean log sum exp (arXiv 2309.14322)."""

    measures: ClassVar[Mapping[str, str]] = {
        "logit_mean": "mean absolute output at the last evaluation",
        "logit_max": "largest absolute output at the last evaluation",
        "log_z": "mean log sum exp of the outputs at the last evaluation",
    }

    probe: Literal["logits"]

    def measure(self, subject: Subject) -> Sequence[Mapping[str, float]]:
        by_model = []
        with subject.evaluating():
            for k in range(len(subject.weights)):
                outputs = subject.outputs(k).double()
                size, z = outputs.abs(), outputs.logsumexp(-1).mean()
                by_model.append(torch.stack([size.mean(), size.max(), z]))
        return [dict(zip(self.measures, values, strict=True)) for values in torch.stack(by_model).tolist()]
