"""How large attention scores are: their growth comes before a transformer's loss spikes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.models.transformer import Block
from landsweep.sweeps.lab.probes.base import Probe, Subject

__all__ = ["Attention"]


class Attention(Probe):
    """Largest attention score before the softmax, over all blocks, heads and tokens (arXiv 2302.05442, 2309.14322).

    Scores of tokens that are masked count too: they are of the same size. Nothing where there is no attention.
    """

    measures: ClassVar[Mapping[str, str]] = {
        "attention_max": "largest attention score before the softmax at the last evaluation"
    }

    probe: Literal["attention"]

    def measure(self, subject: Subject) -> Sequence[Mapping[str, float]]:
        blocks = [m for m in subject.module.modules() if isinstance(m, Block)]
        largest: list[Tensor] = []

        def note(module: nn.Module, given: Any, out: Tensor) -> None:  # noqa: ANN401 - what torch passes
            largest.append(out.max())

        hooks = [b.scores.register_forward_hook(note) for b in blocks]
        by_model: list[Tensor] = []
        try:
            with subject.evaluating():
                for k in range(len(subject.weights)):
                    largest.clear()
                    subject.outputs(k)
                    by_model += [torch.stack(largest).max()] if largest else []
        finally:
            for hook in hooks:
                hook.remove()
        if not by_model:
            return [{} for _ in range(len(subject.weights))]
        return [{"attention_max": value} for value in torch.stack(by_model).tolist()]
