"""Languages of hidden Markov models: their words, and the best predictor against all hidden paths."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from landsweep.sweeps.lab.data import HiddenMarkov
from landsweep.sweeps.lab.data.markov import stationary


def probability(source: HiddenMarkov, words: list[int]) -> float:
    """Of a sequence, summed over all hidden paths."""
    transition, emission = source.transition(), source.emission()
    start = stationary(transition)
    total = 0.0
    for path in itertools.product(range(source.states), repeat=len(words)):
        p = start[path[0]] * np.prod([emission[s, w] for s, w in zip(path, words, strict=True)])
        total += p * np.prod([transition[a, b] for a, b in itertools.pairwise(path)])
    return float(total)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_predictor_sums_over_all_hidden_paths(seed: int) -> None:
    source = HiddenMarkov(source="hidden_markov", states=3, words=4, context=5, train=2, test=1, seed=seed)
    split = source.load(Path()).splits["train"]
    words = np.concatenate([split.inputs.numpy(), split.targets.numpy()[:, -1:]], 1)
    losses = source.best_losses(words)
    for sequence, loss in zip(words.tolist(), losses, strict=True):
        wanted = [
            -np.log(probability(source, sequence[: t + 1]) / probability(source, sequence[:t])) for t in range(1, 6)
        ]
        np.testing.assert_allclose(loss, wanted, rtol=1e-9)


def test_words_follow_the_model() -> None:
    source = HiddenMarkov(source="hidden_markov", states=4, words=6, context=8, train=20_000, test=1)
    split = source.load(Path()).splits["train"]
    assert np.array_equal(split.inputs[:, 1:], split.targets[:, :-1])
    transition, emission = source.transition(), source.emission()
    start = stationary(transition)
    for place in (0, 7):  # stationary at every place
        shares = np.bincount(split.inputs[:, place], minlength=6) / 20_000
        np.testing.assert_allclose(shares, start @ emission, atol=0.015)
    pairs = np.zeros((6, 6))
    np.add.at(pairs, (split.inputs[:, 3].numpy(), split.inputs[:, 5].numpy()), 1 / 20_000)
    joint = emission.T @ np.diag(start) @ transition @ transition @ emission
    np.testing.assert_allclose(pairs, joint, atol=0.015)
    losses = source.best_losses(np.concatenate([split.inputs.numpy(), split.targets.numpy()[:, -1:]], 1))
    assert losses[:, -1].mean() < losses[:, 0].mean()  # the words before help


def test_more_sequences_begin_with_the_fewer_ones() -> None:
    few, many = (HiddenMarkov(source="hidden_markov", train=n, test=1).load(Path()).splits["train"] for n in (5, 9))
    assert np.array_equal(few.inputs, many.inputs[:5])
