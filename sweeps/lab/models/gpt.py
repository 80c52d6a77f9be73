"""A small GPT: a decoder with learned positions (Radford et al. 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from landsweep.sweeps.lab.data.base import Data, InputKind
from landsweep.sweeps.lab.models.base import Feature, logits_misfit
from landsweep.sweeps.lab.models.count import Count
from landsweep.sweeps.lab.models.harmonic import Distances
from landsweep.sweeps.lab.models.layers import token_norm
from landsweep.sweeps.lab.models.transformer import Block, Transformer

__all__ = ["Gpt"]

_IN_THE_FORMULA = frozenset(
    ("net", "init", "width", "depth", "heads", "ratio", "activation", "norm", "dropout", "logits")
)


class Gpt(Transformer):
    """Tokens [n, context] to logits of the next token, [n, context, classes]; a position sees none after it.

    The vocabulary has `classes` tokens; embedding and output layer are not tied. Shorter inputs than the context that
    it was built for are allowed.
    Keys: `token.weight`, `position.weight`, `blocks.I.*`, `norm.*`, `out.weight`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("tokens",)
    net: Literal["gpt"]
    harmonic: float | None = Field(
        None,
        gt=0,
        exclude_if=lambda v: v is None,
        description="exponent n: the last layer gives -n log of distances, so cross entropy is the harmonic loss",
    )
    logits: Literal["all", "last"] = Field("all", description="of all positions, or [n, classes] of the last one only")

    def current_width(self) -> int | None:
        return self.width if self.harmonic is None else None

    def lacks(self, feature: Feature) -> str | None:
        if feature == "width" and self.harmonic is not None:
            return "no parametrization has rules for distances; leave net.harmonic out"
        return super().lacks(feature)

    def misfit(self, data: Data) -> str | None:
        """As for all networks, and there must be one target for each position that gives logits."""
        return super().misfit(data) or logits_misfit(self.logits, data)

    def closed_form(self, shape: tuple[int, ...], outputs: int) -> Count | None:
        if self._beyond_the_formula():
            return None
        context, w, hidden = shape[0], self.width, self.ratio * self.width
        norm = {"layer": 2 * w, "rms": w, "none": 0}[self.norm]
        matrices = 4 * w * w + 2 * w * hidden
        block = matrices + 4 * w + hidden + w + 2 * norm
        embedding, head = (outputs + context) * w, outputs * w
        predicted = context if self.logits == "all" else 1
        attention = 4 * context * context * w
        forward = self.depth * (2 * context * matrices + attention) + 2 * predicted * head
        return Count(
            parameters=embedding + self.depth * block + norm + head,
            embedding=embedding,
            head=head,
            forward=forward,
            training=3 * forward,
        )

    def _beyond_the_formula(self) -> bool:
        """Whether a setting that the formula does not know, such as a new one, is in use."""
        fields = type(self).model_fields.items()
        return any(getattr(self, name) != info.default for name, info in fields if name not in _IN_THE_FORMULA)

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        return _Net(shape[0], classes, self)


class _Net(nn.Module):
    def __init__(self, context: int, vocabulary: int, spec: Gpt) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, spec.width)
        self.position = nn.Embedding(context, spec.width)
        self.drop = nn.Dropout(spec.dropout)
        self.blocks = nn.Sequential(*(Block(spec, causal=True) for _ in range(spec.depth)))
        self.norm = token_norm(spec.norm, spec.width)
        self.out = (
            nn.Linear(spec.width, vocabulary, bias=False)
            if spec.harmonic is None
            else Distances(spec.width, vocabulary, spec.harmonic)
        )
        self._context, self._last = context, spec.logits == "last"

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        if length > self._context:
            raise ValueError(f"{length} tokens are more than the context of {self._context}")
        places = torch.arange(length, device=tokens.device)
        x = self.norm(self.blocks(self.drop(self.token(tokens) + self.position(places))))
        return cast(Tensor, self.out(x[:, -1] if self._last else x))
