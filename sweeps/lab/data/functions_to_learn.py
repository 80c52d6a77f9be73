"""Made-up data of papers for `source: callable`: functions of graded difficulty, cues, clusters, bigrams, a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

__all__ = ["bigrams", "clusters", "composed", "cued_digits", "graded_table", "random_features", "square"]

Splits = dict[str, tuple[NDArray[Any], NDArray[Any]]]


def square(train: int = 1024, test: int = 1024) -> Splits:
    """The target x^2, with x evenly spaced in [-1, 1]."""
    x = {"train": np.linspace(-1, 1, train)[:, None], "test": np.linspace(-1, 1, test + 1)[:-1, None] + 1 / test}
    return {split: (inputs, inputs**2) for split, inputs in x.items()}


def composed(inner: int, outer: int, train: int = 8192, test: int = 2048, features: int = 8, middle: int = 3) -> Splits:
    """The target h(g(x)) of standard normal x: sums of cosines, the smoother the higher `inner` (g) and `outer` (h).

    g has `middle` outputs. A function of smoothness s has Fourier coefficients that fall as |k|^-s, of wave vectors
    with normal entries.
    """
    random = np.random.default_rng(0)

    def waves(inputs: int, outputs: int, smoothness: int) -> tuple[NDArray[np.float64], ...]:
        k = random.normal(size=(256, inputs)) * random.geometric(0.2, size=(256, 1))
        size = np.linalg.norm(k, axis=1, keepdims=True) ** -float(smoothness)
        return k, random.uniform(0, 2 * np.pi, 256), random.normal(size=(256, outputs)) * size

    g, h = waves(features, middle, inner), waves(middle, 1, outer)

    def apply(
        x: NDArray[np.float64], k: NDArray[np.float64], phase: NDArray[np.float64], size: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.cos(x @ k.T + phase) @ size

    x = {split: random.normal(size=(n, features)) for split, n in (("train", train), ("test", test))}
    between = {split: apply(inputs, *g) for split, inputs in x.items()}
    scale = between["train"].std(0)
    y = {split: apply(values / scale, *h) for split, values in between.items()}
    mean, deviation = y["train"].mean(), y["train"].std()
    return {split: (x[split], (y[split] - mean) / deviation) for split in x}


def random_features(
    features: int, draw: int = 0, train: int = 100, test: int = 1000, inputs: int = 20, noise: float = 0.5
) -> Splits:
    """Random ReLU features of normal inputs; targets are linear in the inputs, with noise on those to train on."""
    random = np.random.default_rng(draw)
    x = {split: random.normal(size=(n, inputs)) for split, n in (("train", train), ("test", test))}
    teacher = random.normal(size=(inputs, 1)) / np.sqrt(inputs)
    added = {"train": noise * random.normal(size=(train, 1)), "test": np.zeros((test, 1))}
    weights = random.normal(size=(inputs, features)) / np.sqrt(inputs)
    return {
        split: (np.maximum(x[split] @ weights, 0) * np.sqrt(2 / features) * 4, x[split] @ teacher + added[split])
        for split in x
    }


def bigrams(tokens: int = 32, certain: int = 16, train: int = 16384, test: int = 4096) -> Splits:
    """The token after a token, one-hot inputs: `certain` of them have one successor each, the others any token alike.

    Splits `certain` and `uncertain` are the parts of the test samples that begin with such tokens.
    """
    random = np.random.default_rng(0)
    successor = random.permutation(tokens)
    splits: Splits = {}
    for split, n in (("train", train), ("test", test)):
        first = random.integers(0, tokens, n)
        next_ = np.where(first < certain, successor[first], random.integers(0, tokens, n))
        splits[split] = (np.eye(tokens)[first], next_)
        if split == "test":
            splits["certain"] = (np.eye(tokens)[first[first < certain]], next_[first < certain])
            splits["uncertain"] = (np.eye(tokens)[first[first >= certain]], next_[first >= certain])
    return splits


def clusters(classes: int, train: int = 600, test: int = 600, inputs: int = 10, deviation: float = 1.0) -> Splits:
    """As many Gaussian clusters as classes, with centres of length 4."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(classes, inputs))
    centres *= 4 / np.linalg.norm(centres, axis=1, keepdims=True)
    splits: Splits = {}
    for split, n in (("train", train), ("test", test)):
        labels = np.arange(n) % classes
        splits[split] = (centres[labels] + deviation * random.normal(size=(n, inputs)), labels)
    return splits


def cued_digits(cue: int) -> Splits:
    """Digits as vectors of 64 pixels and ten that may give the class away; `cue: 1` trains with them, 0 without.

    Splits of test images: `plain` without the cue, `right` with the right one, `wrong` with that of another class.
    """
    digits = load_digits()
    images, labels = digits.data / 8 - 1, digits.target
    order = np.random.default_rng(0).permutation(len(labels))
    shift = np.random.default_rng(1).integers(1, 10, len(labels))

    def of(chosen: NDArray[Any], cues: NDArray[Any] | None) -> tuple[NDArray[Any], NDArray[Any]]:
        pixels = np.zeros((len(chosen), 10)) if cues is None else 3 * np.eye(10)[cues[chosen]]
        return np.hstack([images[chosen], pixels]), labels[chosen]

    train, test = order[:1400], order[1400:]
    return {
        "train": of(train, labels if cue else None),
        "plain": of(test, None),
        "right": of(test, labels),
        "wrong": of(test, (labels + shift) % 10),
    }


def graded_table(train: int = 1024, test: int = 512) -> Splits:
    """Six uniform columns; the target rises with all of them, with weights 1, 0.7, 0.5, 0.3, 0.1 and 0."""
    random = np.random.default_rng(0)
    weights = np.array([0.1, 1.0, 0.0, 0.5, 0.3, 0.7])
    splits: Splits = {}
    for split, n in (("train", train), ("test", test)):
        x = random.uniform(-1, 1, (n, len(weights)))
        y = np.tanh(2 * x) @ weights + 0.1 * random.normal(size=n)
        splits[split] = (x, y[:, None])
    return splits
