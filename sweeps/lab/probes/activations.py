"""How large activations are, layer by layer: what a coordinate check looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.models.transformer import Block
from landsweep.sweeps.lab.probes.base import Probe, Subject

__all__ = ["ACTIVATION", "Activations"]

ACTIVATION = "activation/"  # in front of the layer's name
_LAYERS = (nn.Linear, nn.Conv2d, nn.Embedding)


class Activations(Probe):
    """Mean absolute output of each linear, convolutional and embedding layer, and of each block: `activation/LAYER`.

    A block's output is the residual stream after it: what grows where branches are not scaled with the depth. Of
    attention the scores before the softmax instead of the queries: what a parametrization divides
    scores by is part of the query layer's weights.
    """

    probe: Literal["activations"]

    def measure(self, subject: Subject) -> Sequence[Mapping[str, float]]:
        seen: dict[str, Tensor] = {}
        named = list(subject.module.named_modules())
        blocks = [m for _, m in named if isinstance(m, Block)]
        queries, scores = ({getattr(b, part) for b in blocks} for part in ("query", "scores"))
        layers = [
            (name, m)
            for name, m in named
            if m in scores or name.rpartition(".")[0] == "blocks" or (isinstance(m, _LAYERS) and m not in queries)
        ]
        hooks = [m.register_forward_hook(_Noted(ACTIVATION + name, seen)) for name, m in layers]
        by_model: list[dict[str, Tensor]] = []
        try:
            with subject.evaluating():
                for k in range(len(subject.weights)):
                    subject.outputs(k)
                    by_model.append(dict(seen))
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            return [{} for _ in by_model]
        values = torch.stack([value for one in by_model for value in one.values()]).tolist()  # one wait for all
        numbers = iter(values)
        return [{name: next(numbers) for name in one} for one in by_model]


class _Noted:
    """A hook that notes the mean absolute output under a name."""

    def __init__(self, name: str, seen: dict[str, Tensor]) -> None:
        self._name, self._seen = name, seen

    def __call__(self, module: nn.Module, given: Any, out: Tensor) -> None:  # noqa: ANN401 - what torch passes
        self._seen[self._name] = out.abs().double().mean()
