"""Sentence pairs of two made-up languages: sequences whose second half is a translation of the first."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from landsweep.sweeps.lab.data.base import Data, Dimensions, DrawnData, Split
from landsweep.sweeps.lab.data.markov import Markov
from landsweep.sweeps.lab.streams import stream

__all__ = ["Translation"]


class Translation(DrawnData):
    """A source sentence, a mark, and the translation up to its last word but one; the targets are the translation.

    Source words follow a Markov chain. Each has a translation that depends on the word before it, by which of `senses`
    dictionaries it is looked up in; the first word uses the first one. The translation is in reversed order, and a
    share `slips` of its words is replaced by any word at random. So the least expected loss of a translator is
    `entropy`, in nats per word. Words are 0 to words - 1 in both languages, and the mark is the token `words`.

    An input has 2 length tokens, and there is a target for each word of the translation alone, [n, length].
    """

    source: Literal["translation"]
    words: int = Field(16, ge=2, description="in each language")
    length: int = Field(8, ge=1, description="words of a sentence")
    senses: int = Field(4, ge=1, description="dictionaries")
    slips: float = Field(0.1, ge=0, le=1, description="share of the words of a translation that are any word at random")
    concentration: float = Field(0.5, ge=0.05, description="of the rows of the source language's Markov chain")
    train: int = Field(16384, ge=1, description="training pairs")
    test: int = Field(512, ge=1, description="test pairs")
    seed: int = Field(0, ge=0, description="of languages and sentences; recipes have a seed of their own")

    def dictionaries(self) -> NDArray[np.int64]:
        """Translation [senses, words] of each word by each dictionary: permutations."""
        random = self._random("dictionaries")
        return np.stack([random.permutation(self.words) for _ in range(self.senses)])

    def entropy(self) -> float:
        """The least expected cross entropy, in nats per word."""
        other = self.slips / self.words
        right = 1 - self.slips + other
        return -sum(p * math.log(p) for p in (right, *[other] * (self.words - 1)) if p)

    def dimensions(self) -> Dimensions:
        return Dimensions((2 * self.length,), self.words + 1, sequence=True)

    def load(self, base: Path) -> Data:
        """Splits `train` and `test` on the CPU."""
        chain = Markov(
            source="markov",
            states=self.words,
            concentration=self.concentration,
            context=self.length,
            train=self.train,
            test=self.test,
            seed=self.seed,
        )
        splits = {}
        for name, split in chain.load(base).splits.items():
            sentences = split.inputs.numpy()
            translations = self._slipped(self._translated(sentences), name)
            mark = np.full((len(sentences), 1), self.words)
            tokens = np.hstack([sentences, mark, translations[:, :-1]])
            splits[name] = Split(torch.from_numpy(tokens), torch.from_numpy(translations))
        return Data.of(splits, self.words + 1)

    def _translated(self, sentences: NDArray[np.int64]) -> NDArray[np.int64]:
        senses = np.zeros_like(sentences)
        senses[:, 1:] = sentences[:, :-1] % self.senses
        return self.dictionaries()[senses, sentences][:, ::-1].copy()

    def _slipped(self, translations: NDArray[np.int64], name: str) -> NDArray[np.int64]:
        slips = self._random(f"slips of {name}").random(translations.shape) < self.slips
        words = self._random(f"words of {name}").integers(0, self.words, translations.shape)
        return np.where(slips, words, translations)

    def _random(self, name: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(stream(self.seed, name)))
