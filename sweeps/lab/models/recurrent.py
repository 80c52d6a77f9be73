"""Recurrent networks: plain, gated recurrent units, and long short-term memory."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from landsweep.sweeps.lab.data.base import Data, InputKind
from landsweep.sweeps.lab.models.base import Dropout, Net, logits_misfit

__all__ = ["Recurrent"]

Cell: TypeAlias = Literal["rnn", "gru", "lstm"]
_GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}


class Recurrent(Net):
    """Tokens [n, context] to logits of the next token, [n, context, classes], by layers that go through the sequence.

    The cells are torch's (rnn with tanh), with one bias instead of its two; states start at 0. Dropout is between
    layers. They are written in plain operations, so that many models can train as one. For rnn, take
    `init: {method: orthogonal}`.
    Keys: `token.weight`, `layers.I.input.*`, `layers.I.state.weight`, `out.*`; gates in the order of torch.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("tokens",)
    net: Literal["rnn", "gru", "lstm"]
    width: int = Field(32, ge=1, description="of the embedding and of each layer's state")
    depth: int = Field(1, ge=1, description="layers")
    dropout: Dropout = 0.0
    logits: Literal["all", "last"] = Field("all", description="of all positions, or [n, classes] of the last one only")

    def misfit(self, data: Data) -> str | None:
        """As for all networks, and there must be one target for each position that gives logits."""
        return super().misfit(data) or logits_misfit(self.logits, data)

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del shape, folder
        return _Net(classes, self)


class _Net(nn.Module):
    def __init__(self, vocabulary: int, spec: Recurrent) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, spec.width)
        self.layers = nn.ModuleList(_Layer(spec.net, spec.width) for _ in range(spec.depth))
        self.drops = nn.ModuleList(nn.Dropout(spec.dropout) for _ in range(spec.depth - 1))
        self.out = nn.Linear(spec.width, vocabulary)
        self._last = spec.logits == "last"

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens)
        for i, layer in enumerate(self.layers):
            x = layer(self.drops[i - 1](x) if i else x)
        return cast(Tensor, self.out(x[:, -1] if self._last else x))


class _Layer(nn.Module):
    """One layer: [n, length, width] to its states after each position, of the same shape."""

    def __init__(self, cell: Cell, width: int) -> None:
        super().__init__()
        self._cell = cell
        self.input = nn.Linear(width, _GATES[cell] * width)
        self.state = nn.Linear(width, _GATES[cell] * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        given = self.input(x)
        state = memory = torch.zeros_like(x[:, 0])
        states = []
        for t in range(x.shape[1]):
            state, memory = self._next(given[:, t], self.state(state), state, memory)
            states.append(state)
        return torch.stack(states, 1)

    def _next(self, given: Tensor, kept: Tensor, state: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """State and memory [n, width] after one more position, of what input and state say to the gates."""
        if self._cell == "rnn":
            return torch.tanh(given + kept), memory
        if self._cell == "gru":
            (reset, update, new), (reset_h, update_h, new_h) = given.chunk(3, -1), kept.chunk(3, -1)
            share = torch.sigmoid(update + update_h)
            fresh = torch.tanh(new + torch.sigmoid(reset + reset_h) * new_h)
            return fresh + share * (state - fresh), memory
        let_in, keep, new, give = (given + kept).chunk(4, -1)
        memory = torch.sigmoid(keep) * memory + torch.sigmoid(let_in) * torch.tanh(new)
        return torch.sigmoid(give) * torch.tanh(memory), memory
