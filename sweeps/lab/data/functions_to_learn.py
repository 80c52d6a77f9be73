"""Made-up data of papers for `source: callable`: functions of graded difficulty, cues, clusters, bigrams, a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from landsweep.sweeps.lab.data.digits import Digits

__all__ = [
    "bigrams",
    "clusters",
    "composed",
    "cued_digits",
    "graded_table",
    "next_digits",
    "next_pixels",
    "next_tokens",
    "noisy_digits",
    "random_features",
    "square",
    "token_odds",
    "wrong_digits",
]

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


def token_odds(domain: int, tokens: int = 12, shared: float = 0.5) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of a domain, the probabilities of two tokens [tokens, tokens] and of the next one [tokens, tokens, tokens].

    Both are softmaxes of normal logits of variance 4; of those of the next token a share `shared` of the variance is
    the same in all domains.
    """
    common, own = np.random.default_rng([0, tokens]), np.random.default_rng([1, domain, tokens])
    sizes = (tokens,) * 3
    logits = 2 * (np.sqrt(shared) * common.normal(size=sizes) + np.sqrt(1 - shared) * own.normal(size=sizes))
    pairs, after = np.exp(own.normal(size=(tokens, tokens))), np.exp(logits)
    return pairs / pairs.sum(), after / after.sum(-1, keepdims=True)


def next_tokens(domain: int, tokens: int = 12, shared: float = 0.5, train: int = 8192, test: int = 2048) -> Splits:
    """The token after two others, which are one-hot, by the probabilities of `token_odds`."""
    pairs, after = token_odds(domain, tokens, shared)
    splits: Splits = {}
    for number, (split, n) in enumerate((("train", train), ("test", test))):
        random = np.random.default_rng([2, domain, number])
        chosen = random.choice(tokens * tokens, size=n, p=pairs.ravel())
        first, second = np.divmod(chosen, tokens)
        bounds = after[first, second].cumsum(1)
        target = np.minimum((bounds < random.random((n, 1))).sum(1), tokens - 1)
        splits[split] = (np.hstack([np.eye(tokens)[first], np.eye(tokens)[second]]), target)
    return splits


def next_pixels(levels: int = 8) -> Splits:
    """A pixel of a digit, as one of `levels` greys, from the four before it in raster order, one-hot."""
    greys = np.minimum(load_digits().images.reshape(-1, 64) * levels / 17, levels - 1).astype(int)
    windows = np.stack([greys[:, i : i - 4 or None][:, :60] for i in range(5)], 2)  # [images, places, 5]
    order = np.random.default_rng(0).permutation(len(windows))
    parts = {"train": windows[order[:1400]], "test": windows[order[1400:]]}
    return {
        split: (np.eye(levels)[part.reshape(-1, 5)[:, :4]].reshape(-1, 4 * levels), part.reshape(-1, 5)[:, 4])
        for split, part in parts.items()
    }


def next_digits(train: int = 65536, test: int = 4096) -> Splits:
    """A digit of the sum of two numbers below 100, from both numbers and the digits of the sum so far, one-hot.

    The sum is written from its last digit on; each sample is one of its three digits, and digits that are not written
    yet are 0 in all their ten places.
    """
    splits: Splits = {}
    for split, n in (("train", train), ("test", test)):
        random = np.random.default_rng([3, split == "test"])
        a, b, place = random.integers(100, size=n), random.integers(100, size=n), random.integers(3, size=n)
        total = a + b
        written = np.stack([np.eye(10)[total // 10**i % 10] * (place > i)[:, None] for i in range(2)], 1)
        numbers = np.stack([np.eye(10)[v] for v in (a % 10, a // 10, b % 10, b // 10)], 1)
        inputs = np.hstack([numbers.reshape(n, -1), written.reshape(n, -1), np.eye(3)[place]])
        splits[split] = (inputs, total // 10**place % 10)
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


def noisy_digits() -> Splits:
    """The digits as the source `digits` gives them, and test digits with Gaussian noise.

    The splits `noise05` to `noise20` have noise of 0.5 to 2 deviations of a pixel.
    """
    splits = {
        name: (s.inputs.numpy(), s.targets.numpy()) for name, s in Digits(source="digits").load(Path()).splits.items()
    }
    images, labels = splits["test"]
    noise = np.random.default_rng(0).normal(size=images.shape)
    noisy = {f"noise{round(10 * size):02d}": (images + size * noise, labels) for size in (0.5, 1.0, 1.5, 2.0)}
    return {**splits, **{name: (x.astype(images.dtype), y) for name, (x, y) in noisy.items()}}


def wrong_digits(share: float) -> Splits:
    """Digits as vectors of 64 pixels; of the training labels a share is replaced by random ones, whatever the seed."""
    digits = load_digits()
    random = np.random.default_rng(0)
    order = random.permutation(len(digits.target))
    images, labels = digits.data[order] / 8 - 1, digits.target[order].copy()
    labels[:1400] = np.where(random.random(1400) < share, random.integers(10, size=1400), labels[:1400])
    return {"train": (images[:1400], labels[:1400]), "test": (images[1400:], labels[1400:])}


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
