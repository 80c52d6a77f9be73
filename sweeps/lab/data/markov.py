"""A Markov source of known entropy: the lowest loss that any model of sequences can reach is a closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from landsweep.sweeps.lab.data.base import Data, Dimensions, DrawnData, Split
from landsweep.sweeps.lab.streams import stream

__all__ = ["Markov", "picked", "stationary", "walked"]


class Markov(DrawnData):
    """Sequences of states as tokens [context]; the target of each position is the state after it.

    The rows of the transition matrix are drawn from a symmetric Dirichlet distribution; sequences start in the
    stationary one. So at every position, the first included, the expected cross entropy of the best predictor is
    `entropy_rate`. More sequences, for the same seed, begin with the fewer ones.

    With `certain`, that share of the states has one successor each, which is one of the others: text of a river valley
    (arXiv 2410.05192). With `target: last` only the state after the sequence is asked for, and `test_certain` and
    `test_uncertain` are the test sequences that end in a state of the one and of the other kind.
    """

    source: Literal["markov"]
    states: int = Field(16, ge=2, description="size of the vocabulary")
    concentration: float = Field(0.5, ge=0.05, description="of the Dirichlet; small: few successors, low entropy")
    context: int = Field(32, ge=1, description="tokens in one sequence")
    train: int = Field(1024, ge=1, description="training sequences")
    test: int = Field(256, ge=1, description="test sequences")
    seed: int = Field(0, ge=0, description="of matrix and sequences; recipes have a seed of their own")
    certain: float = Field(
        0.0, ge=0, lt=1, exclude_if=lambda v: not v, description="share of the states that have one successor"
    )
    target: Literal["each", "last"] = Field(
        "each",
        exclude_if=lambda v: v == "each",
        description="the state after each position, or after the last one only",
    )

    @property
    def certain_states(self) -> int:
        """How many states have one successor: the first ones; one state at least has more."""
        return min(round(self.certain * self.states), self.states - 1)

    def transition(self) -> NDArray[np.float64]:
        """Probability [states, states] of the column's state after the row's."""
        drawn = self._random("transition").dirichlet(np.full(self.states, self.concentration), self.states)
        if n := self.certain_states:
            drawn[:n] = np.eye(self.states)[self._random("successors").integers(n, self.states, n)]
        return np.asarray(drawn / drawn.sum(1, keepdims=True))

    def stationary(self) -> NDArray[np.float64]:
        """Probability [states] of each state: the left eigenvector of the transition matrix for eigenvalue 1."""
        return stationary(self.transition())

    def entropy_rate(self) -> float:
        """Mean over the stationary distribution of the entropy of a row, in nats per token."""
        from scipy.special import xlogy  # here: every spec of a training comes by this file

        p = self.transition()
        return float(-self.stationary() @ xlogy(p, p).sum(1))

    def dimensions(self) -> Dimensions | None:
        return Dimensions((self.context,), self.states, sequence=True) if self.target == "each" else None

    def load(self, base: Path) -> Data:
        """Splits `train` and `test` on the CPU."""
        del base
        splits = {}
        for name, count in (("train", self.train), ("test", self.test)):
            draws = self._random(f"inputs of {name}").random((count, self.context + 1))
            tokens = torch.from_numpy(walked(self.transition(), draws))
            splits[name] = Split(tokens[:, :-1].clone(), tokens[:, 1:].clone())
        return Data.of(splits if self.target == "each" else self._last(splits), self.states)

    def _last(self, splits: dict[str, Split]) -> dict[str, Split]:
        """The splits with the last target alone, and the test sequences of each kind of last state."""
        last = {name: Split(split.inputs, split.targets[:, -1]) for name, split in splits.items()}
        test = last["test"]
        sure = test.inputs[:, -1] < self.certain_states
        kinds = {"test_certain": sure, "test_uncertain": ~sure}
        return last | {name: Split(test.inputs[kind], test.targets[kind]) for name, kind in kinds.items()}

    def _random(self, name: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(stream(self.seed, name)))


def stationary(transition: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability [states] that a transition matrix [states, states] keeps."""
    n = len(transition)
    equations = np.vstack([transition.T - np.eye(n), np.ones(n)])
    return np.asarray(np.linalg.lstsq(equations, np.eye(n + 1)[n], rcond=None)[0])


def walked(transition: NDArray[np.float64], draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """States [n, length] of walks that begin in the stationary distribution.

    Args:
        transition: probability [states, states] of the column's state after the row's.
        draws: [n, length] from [0, 1), one for each state.
    """
    count, length = draws.shape
    bounds, start = transition.cumsum(1), stationary(transition).cumsum()
    states = np.zeros((count, length), np.int64)
    states[:, 0] = picked(np.broadcast_to(start, (count, len(start))), draws[:, 0])
    for t in range(length - 1):
        states[:, t + 1] = picked(bounds[states[:, t]], draws[:, t + 1])
    return states


def picked(bounds: NDArray[Any], draws: NDArray[Any]) -> NDArray[np.int64]:
    """For each row of rising bounds [n, states] the first that a draw [n] from [0, 1) is below."""
    passed = (draws[:, None] >= bounds).sum(1)
    return np.asarray(np.minimum(passed, bounds.shape[1] - 1))  # the last bound may round to less than 1
