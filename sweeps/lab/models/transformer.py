"""What the transformers share: attention written out, so that it can be stacked and differentiated twice."""

from __future__ import annotations

import math
from typing import ClassVar, Self, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import Field, model_validator
from torch import Tensor, nn

from landsweep.sweeps.lab.models.base import Dropout, Net, Size
from landsweep.sweeps.lab.models.layers import Activation, TokenNorm, activation, token_norm

__all__ = ["Block", "Transformer"]


class Transformer(Net):
    """Fields that transformers share. Blocks are pre-norm (arXiv 2002.04745): x + attention(norm x), x + mlp(norm x).

    The last layer of attention and MLP is drawn 1 / sqrt(2 depth) smaller, as in GPT-2. Dropout follows the
    embeddings, each attention and each MLP; attention weights themselves are not dropped.
    """

    sizes: ClassVar[frozenset[Size]] = frozenset(("width", "depth", "heads"))
    width: int = Field(64, ge=1, description="of the residual stream")
    depth: int = Field(2, ge=1, description="blocks")
    heads: int = Field(4, ge=1, description="of attention; must divide width")
    ratio: int = Field(4, ge=1, description="width of the MLP's hidden layer, in widths")
    activation: Activation = "gelu"
    norm: TokenNorm = "layer"
    qk_norm: bool = Field(
        False, description="RMS normalisation of queries and keys over each head: bounds the attention scores"
    )
    dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, but {self.width} is none of {self.heads}")
        return self

    def residual_blocks(self, depth: int) -> int | None:
        return depth

    def branch_ends(self) -> frozenset[str]:
        return frozenset(f"{layer}.{kind}" for layer in ("merge", "down") for kind in ("weight", "bias"))

    def queries(self) -> frozenset[str]:
        return frozenset(["query_norm.weight"] if self.qk_norm else ["query.weight", "query.bias"])

    def branch_shrink(self, shallower: float = 1.0) -> float:
        return 1 / math.sqrt(2 * self.depth) * math.sqrt(shallower)

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        super()._initialise(module, source)
        for part in module.modules():
            if isinstance(part, Block):
                part.shrink(self.branch_shrink())


class Block(nn.Module):
    """One block: inputs and outputs [n, tokens, width].

    Args:
        spec: sizes and settings.
        causal: whether a token sees only itself and those before it.

    Attributes:
        fused: whether attention is one operation in training and where no gradients are taken. Elsewhere second
            derivatives may be wanted, which few fused kernels have; and where a hook looks at `scores` there must be
            some.
    """

    def __init__(self, spec: Transformer, *, causal: bool) -> None:
        super().__init__()
        self.norm1 = token_norm(spec.norm, spec.width)
        self.query, self.key, self.value = (nn.Linear(spec.width, spec.width) for _ in range(3))
        kind: TokenNorm = "rms" if spec.qk_norm else "none"
        self.query_norm, self.key_norm = (token_norm(kind, spec.width // spec.heads) for _ in range(2))
        self.scores = nn.Identity()  # a place to look at attention scores before the softmax
        self.merge = nn.Linear(spec.width, spec.width)
        self.drop1 = nn.Dropout(spec.dropout)
        self.norm2 = token_norm(spec.norm, spec.width)
        self.up = nn.Linear(spec.width, spec.ratio * spec.width)
        self.act = activation(spec.activation)
        self.down = nn.Linear(spec.ratio * spec.width, spec.width)
        self.drop2 = nn.Dropout(spec.dropout)
        self._heads, self._causal = spec.heads, causal
        self.fused = False

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop1(self.merge(self._attention(self.norm1(x))))
        return cast(Tensor, x + self.drop2(self.down(self.act(self.up(self.norm2(x))))))

    @torch.no_grad()
    def shrink(self, factor: float) -> None:
        """Multiply the weights of the layers that write to the residual stream."""
        self.merge.weight.mul_(factor)
        self.down.weight.mul_(factor)

    def _attention(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        size = width // self._heads
        q, k, v = (f(x).view(n, tokens, self._heads, size).transpose(1, 2) for f in (self.query, self.key, self.value))
        if self.fused and not self.scores._forward_hooks and (self.training or not torch.is_grad_enabled()):
            mixed = F.scaled_dot_product_attention(self.query_norm(q), self.key_norm(k), v, is_causal=self._causal)
            return mixed.transpose(1, 2).reshape(n, tokens, width)
        scores = self.scores(self.query_norm(q) @ self.key_norm(k).transpose(-1, -2) / math.sqrt(size))
        if self._causal:
            future = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        return cast(Tensor, (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, width))
