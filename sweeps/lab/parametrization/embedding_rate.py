"""The standard parametrization with one change: the embedding learns faster in wider networks."""

from __future__ import annotations

from typing import Literal

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.optim.base import Family
from landsweep.sweeps.lab.parametrization.anatomy import NetTensor
from landsweep.sweeps.lab.parametrization.base import Growth, Parametrization, Rule

__all__ = ["EmbeddingRate"]


class EmbeddingRate(Parametrization):
    """Standard, but embeddings and input layers learn m = width / base width times as fast (arXiv 2605.21486).

    The paper finds most of muP's gain with AdamW in this. The best rate of all other tensors falls as 1/m.
    """

    scheme: Literal["embedding_rate"]

    def rule(self, part: NetTensor, growth: Growth, family: Family) -> Rule:
        if family == "spectral":
            raise SpecError(
                "parametrization: embedding_rate is a rule for steps of Adam's kind; with muon use mup, or leave it out"
            )
        return Rule(init=None, rate=growth.width if part.role in ("embedding", "input") else 1.0)
