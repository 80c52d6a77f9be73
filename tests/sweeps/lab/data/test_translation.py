"""Pairs of sentences: each word against the dictionaries, and the least loss in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from landsweep.sweeps.lab.data import Markov, Translation


def pairs(**fields: Any) -> Translation:
    return Translation.model_validate({"source": "translation", "train": 3000, "test": 50, **fields})


def translated(source: Translation, sentence: list[int]) -> list[int]:
    """Word by word."""
    books, words, before = source.dictionaries().tolist(), [], 0
    for place, word in enumerate(sentence):
        words.append(books[before % source.senses if place else 0][word])
        before = word
    return words[::-1]


@pytest.mark.parametrize("seed", range(5))
def test_each_word_is_looked_up_in_the_dictionary_of_the_one_before(seed: int) -> None:
    source = pairs(slips=0, seed=seed, train=40)
    for split in source.load(Path()).splits.values():
        for tokens, target in zip(split.inputs.tolist(), split.targets.tolist(), strict=True):
            assert target == translated(source, tokens[: source.length])
            assert tokens[source.length :] == [source.words, *target[:-1]]


def test_sentences_are_those_of_the_markov_chain_and_more_begin_with_fewer() -> None:
    more, fewer = (pairs(train=n).load(Path()).splits["train"] for n in (3000, 100))
    chain = Markov(source="markov", states=16, context=8, train=100, test=50).load(Path()).splits["train"]
    assert torch.equal(fewer.inputs[:, :8], chain.inputs)
    assert torch.equal(more.inputs[:100], fewer.inputs) and torch.equal(more.targets[:100], fewer.targets)


@pytest.mark.parametrize("slips", [0.0, 0.2, 1.0])
def test_the_least_loss_is_that_of_knowing_the_dictionaries(slips: float) -> None:
    source = pairs(slips=slips, words=8)
    split = source.load(Path()).splits["train"]
    right = np.array([translated(source, s) for s in split.inputs[:, : source.length].tolist()])
    p = np.full((*right.shape, 8), slips / 8)
    np.put_along_axis(p, right[..., None], 1 - slips + slips / 8, axis=2)
    given = np.take_along_axis(p, split.targets.numpy()[..., None], axis=2)
    assert float(-np.log(given).mean()) == pytest.approx(source.entropy(), abs=0.02)
    assert source.entropy() == pytest.approx(entropy(p[0, 0]), abs=1e-12)
