"""A made-up language: words of a hidden Markov model, whose best predictor is known."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from landsweep.sweeps.lab.data.base import Data, Dimensions, DrawnData, Split
from landsweep.sweeps.lab.data.markov import picked, stationary, walked
from landsweep.sweeps.lab.streams import stream

__all__ = ["HiddenMarkov"]


class HiddenMarkov(DrawnData):
    """Sequences of words as tokens [context]; the target of each position is the word after it.

    A hidden state walks as in `markov`; at each place a word is drawn from the distribution of its state. So what comes
    next depends on all words before, and no number of them says all: the languages of arXiv 2210.14199 are of this
    kind. Rows of both matrices come from symmetric Dirichlet distributions.
    """

    source: Literal["hidden_markov"]
    states: int = Field(8, ge=2, description="hidden states")
    words: int = Field(16, ge=2, description="size of the vocabulary")
    concentration: float = Field(0.3, ge=0.05, description="of the transitions; small: few successors")
    word_concentration: float = Field(0.3, ge=0.05, description="of the words of a state; small: few words")
    context: int = Field(32, ge=1, description="tokens in one sequence")
    train: int = Field(1024, ge=1, description="training sequences")
    test: int = Field(256, ge=1, description="test sequences")
    seed: int = Field(0, ge=0, description="of matrices and sequences; recipes have a seed of their own")

    def transition(self) -> NDArray[np.float64]:
        """Probability [states, states] of the column's state after the row's."""
        return self._rows("transition", self.states, self.concentration)

    def emission(self) -> NDArray[np.float64]:
        """Probability [states, words] of the column's word in the row's state."""
        return self._rows("emission", self.words, self.word_concentration)

    def best_losses(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Loss [n, length - 1] of the predictor that knows both matrices, in nats: the least that is expected.

        By the forward recursion: the probability of each hidden state, given the words so far.

        Args:
            tokens: sequences [n, length]; the loss is of each word but the first.
        """
        transition, emission = self.transition(), self.emission()
        belief = np.broadcast_to(stationary(transition), (len(tokens), self.states))
        losses = []
        for t in range(tokens.shape[1]):
            joint = belief * emission[:, tokens[:, t]].T
            losses.append(-np.log(joint.sum(1)))
            belief = (joint / joint.sum(1, keepdims=True)) @ transition
        return np.stack(losses[1:], 1)

    def dimensions(self) -> Dimensions:
        return Dimensions((self.context,), self.words, sequence=True)

    def load(self, base: Path) -> Data:
        """Splits `train` and `test` on the CPU."""
        del base
        transition, bounds, splits = self.transition(), self.emission().cumsum(1), {}
        for name, count in (("train", self.train), ("test", self.test)):
            draws = self._random(f"inputs of {name}").random((count, 2, self.context + 1))
            hidden = walked(transition, draws[:, 0])
            drawn = picked(bounds[hidden.ravel()], draws[:, 1].ravel()).reshape(hidden.shape)
            tokens = torch.from_numpy(drawn)
            splits[name] = Split(tokens[:, :-1].clone(), tokens[:, 1:].clone())
        return Data.of(splits, self.words)

    def _rows(self, name: str, columns: int, concentration: float) -> NDArray[np.float64]:
        drawn = self._random(name).dirichlet(np.full(columns, concentration), self.states)
        return np.asarray(drawn / drawn.sum(1, keepdims=True))

    def _random(self, name: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(stream(self.seed, name)))
