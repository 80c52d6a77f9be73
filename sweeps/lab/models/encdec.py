"""An encoder-decoder transformer (arXiv 1706.03762), with two depths."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from landsweep.sweeps.lab.data.base import Data, InputKind
from landsweep.sweeps.lab.models.base import Feature, Size
from landsweep.sweeps.lab.models.layers import token_norm
from landsweep.sweeps.lab.models.transformer import Block, Transformer

__all__ = ["EncoderDecoder"]


class EncoderDecoder(Transformer):
    """Tokens [n, context] to logits [n, context - source, classes]: of what follows the first `source` tokens.

    The encoder's blocks see all source tokens. In the decoder a position sees those before it, and, by attention to the
    encoder's outputs in each block, the whole source. Both share the table of tokens and have positions of their own.
    Blocks are pre-norm. The last layers of a decoder's block are drawn 1 / sqrt(3 depth) smaller, since it writes three
    times, those of an encoder's block 1 / sqrt(2 encoder_depth).
    Keys: `token.weight`, `source_position.weight`, `position.weight`, `encoder.I.*`, `encoder_norm.*`, `decoder.I.*`,
    `norm.*`, `out.weight`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("tokens",)
    sizes: ClassVar[frozenset[Size]] = frozenset()
    net: Literal["encdec"]
    source: int = Field(8, ge=1, description="tokens of an input that are the source; `length` of translation data")
    encoder_depth: int = Field(2, ge=1, description="blocks of the encoder; `depth` are those of the decoder")

    def misfit(self, data: Data) -> str | None:
        """As for all networks; there must be a source, something after it, and a target for each position of that."""
        general = super().misfit(data)
        if general is not None:
            return general
        if data.shape[0] <= self.source:
            return f"has `source: {self.source}`, which leaves none of the data's {data.shape[0]} tokens to the decoder"
        if not data.sequence:
            return "needs a target for each position after the source, but the data has one for each sample"
        return None

    def lacks(self, feature: Feature) -> str | None:
        del feature
        return "encdec has two stacks, which no rule of sizes knows; set net.width, net.encoder_depth and net.depth"

    def residual_blocks(self, depth: int) -> int | None:
        del depth
        return None

    def branch_ends(self) -> frozenset[str]:
        return frozenset()

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        return _Net(shape[0], classes, self)

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        super()._initialise(module, source)  # which shrinks all blocks as those of a decoder without a source
        assert isinstance(module, _Net)
        with torch.no_grad():
            for block in module.encoder:
                cast(Block, block).shrink(math.sqrt(self.depth / self.encoder_depth))
            for block in module.decoder:
                cast(_DecoderBlock, block).shrink(math.sqrt(2 / 3))
                cast(_DecoderBlock, block).look.merge.weight.mul_(1 / math.sqrt(3 * self.depth))


class _Look(nn.Module):
    """Attention to the encoder's outputs: [n, positions, width] and [n, source, width] to [n, positions, width]."""

    def __init__(self, spec: EncoderDecoder) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(spec.width, spec.width) for _ in range(3))
        kind: Literal["rms", "none"] = "rms" if spec.qk_norm else "none"
        self.query_norm, self.key_norm = (token_norm(kind, spec.width // spec.heads) for _ in range(2))
        self.merge = nn.Linear(spec.width, spec.width)
        self._heads = spec.heads

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        n, _, width = x.shape
        size = width // self._heads
        pairs = ((self.query, x), (self.key, source), (self.value, source))
        q, k, v = (f(y).view(n, y.shape[1], self._heads, size).transpose(1, 2) for f, y in pairs)
        shares = (self.query_norm(q) @ self.key_norm(k).transpose(-1, -2) / math.sqrt(size)).softmax(-1)
        return cast(Tensor, self.merge((shares @ v).transpose(1, 2).reshape(x.shape)))


class _DecoderBlock(Block):
    def __init__(self, spec: EncoderDecoder) -> None:
        super().__init__(spec, causal=True)
        self.norm_look = token_norm(spec.norm, spec.width)
        self.look = _Look(spec)
        self.drop_look = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Positions [n, positions, width] that look at the encoder's outputs [n, source, width]."""
        assert source is not None, "it looks at a source"
        x = x + self.drop1(self.merge(self._attention(self.norm1(x))))
        x = x + self.drop_look(self.look(self.norm_look(x), source))
        return cast(Tensor, x + self.drop2(self.down(self.act(self.up(self.norm2(x))))))


class _Net(nn.Module):
    def __init__(self, context: int, vocabulary: int, spec: EncoderDecoder) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, spec.width)
        self.source_position = nn.Embedding(spec.source, spec.width)
        self.position = nn.Embedding(context - spec.source, spec.width)
        self.drop_source, self.drop = nn.Dropout(spec.dropout), nn.Dropout(spec.dropout)
        self.encoder = nn.ModuleList(Block(spec, causal=False) for _ in range(spec.encoder_depth))
        self.encoder_norm = token_norm(spec.norm, spec.width)
        self.decoder = nn.ModuleList(_DecoderBlock(spec) for _ in range(spec.depth))
        self.norm = token_norm(spec.norm, spec.width)
        self.out = nn.Linear(spec.width, vocabulary, bias=False)
        self._source, self._context = spec.source, context

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        if length > self._context:
            raise ValueError(f"{length} tokens are more than the context of {self._context}")
        if length <= self._source:
            raise ValueError(f"{length} tokens leave none after the source of {self._source}")
        both = self.token(tokens)
        x = self.drop_source(both[:, : self._source] + self.source_position.weight)
        for block in self.encoder:
            x = block(x)
        x = self.encoder_norm(x)
        places = torch.arange(length - self._source, device=tokens.device)
        y = self.drop(both[:, self._source :] + self.position(places))
        for block in self.decoder:
            y = block(y, x)
        return cast(Tensor, self.out(self.norm(y)))
