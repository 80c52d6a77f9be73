"""Optimizers written straight from their papers, in NumPy and float64, one tensor after the other.

For the methods whose reference implementation departs from the paper, or computes in less than the type of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Arrays: TypeAlias = list[Array]
Settings: TypeAlias = dict[str, Any]
Slope: TypeAlias = Callable[[Array], Array]


def flat(tensors: Sequence[Array]) -> Array:
    return np.concatenate([t.ravel() for t in tensors])


def swats(w: Arrays, slope: Slope, rates: Sequence[float], s: Settings) -> tuple[Arrays, int]:
    """Algorithm 1 of arXiv 1712.07628; also the step of the change, 0 if there is none."""
    b1, b2 = s["beta1"], s["beta2"]
    x, shapes = flat(w), [t.shape for t in w]
    m, v, u, mean, final, changed = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x), 0.0, 0.0, 0
    for t, lr in enumerate(rates, 1):
        g = slope(x) + s["weight_decay"] * x
        if changed:
            u = b1 * u + g
            x = x - (1 - b1) * final * lr / rates[changed - 1] * u
            continue
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        p = -lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + s["eps"])
        x = x + p
        if p @ g != 0:
            r = p @ p / -(p @ g)
            mean = b2 * mean + (1 - b2) * r
            guess = mean / (1 - b2**t)
            if t > 1 and guess > 0 and abs(guess - r) < s["tolerance"]:
                changed, final = t, guess
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(x, ends), shapes, strict=True)], changed


def sam(w: Arrays, slope: Slope, rates: Sequence[float], s: Settings) -> Arrays:
    """arXiv 2010.01412 and, adaptive, equation 7 of arXiv 2102.11600, over SGD with momentum."""
    velocity = [np.zeros_like(t) for t in w]
    for lr in rates:
        scale = [np.abs(t) + s["eta"] if s["adaptive"] else np.ones_like(t) for t in w]
        g = [slope(t) for t in w]
        norm = np.linalg.norm(flat([a * b for a, b in zip(scale, g, strict=True)]))
        moved = [t + s["rho"] * a**2 * b / norm for t, a, b in zip(w, scale, g, strict=True)]
        g = [slope(m) + s["weight_decay"] * t for m, t in zip(moved, w, strict=True)]
        velocity = [s["momentum"] * v + b for v, b in zip(velocity, g, strict=True)]
        w = [t - lr * v for t, v in zip(w, velocity, strict=True)]
    return w


def polar(g: Array, rounds: int) -> Array:
    """What Newton-Schulz iterations make of a matrix, through its singular values."""
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    s = s / np.linalg.norm(g)
    for _ in range(rounds):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    made: Array = (u * s) @ vt
    return made


def muon(w: Arrays, slope: Slope, rates: Sequence[float], s: Settings) -> Arrays:
    """Jordan et al. 2024 for the matrices between the first and the last, AdamW for all else."""
    wide = [i for i, t in enumerate(w) if t.ndim >= 2]
    served = wide if s["ends"] else wide[1:-1]
    m, v = [np.zeros_like(t) for t in w], [np.zeros_like(t) for t in w]
    b1, b2, mu = s["beta1"], s["beta2"], s["momentum"]
    w = list(w)
    for t, lr in enumerate(rates, 1):
        other = lr * s["adamw_learning_rate"] / s["learning_rate"]
        for i, x in enumerate(w):
            g = slope(x)
            if i in served:
                m[i] = mu * m[i] + (1 - mu) * g
                along = (1 - mu) * g + mu * m[i] if s["nesterov"] else m[i]
                rows, columns = len(g), g.size // len(g)
                length = 0.2 * max(rows, columns) ** 0.5 if s["match"] else max(1, rows / columns) ** 0.5
                step = polar(along.reshape(rows, columns), s["rounds"]).reshape(g.shape) * length
                w[i] = x * (1 - lr * s["weight_decay"]) - lr * step
            else:
                m[i], v[i] = b1 * m[i] + (1 - b1) * g, b2 * v[i] + (1 - b2) * g * g
                step = m[i] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t)) + s["eps"])
                w[i] = x * (1 - other * s["adamw_weight_decay"]) - other * step
    return w


def soap(w: Arrays, slope: Slope, rates: Sequence[float], s: Settings) -> Arrays:
    """Algorithm 3 of arXiv 2409.11321 with a basis for each axis, as its authors' code."""
    return [_soap(t, slope, rates, s) for t in w]


def _turn(x: Array, bases: Sequence[Array | None], back: bool) -> Array:
    for axis, q in enumerate(bases):
        if q is not None:
            x = np.moveaxis(np.tensordot(x, q, axes=(axis, 1 if back else 0)), -1, axis)
    return x


def _gram(g: Array, axis: int) -> Array:
    others = [i for i in range(g.ndim) if i != axis]
    return np.tensordot(g, g, axes=(others, others))


def _soap(w: Array, slope: Slope, rates: Sequence[float], s: Settings) -> Array:
    b1, b2, b = s["beta1"], s["beta2"], s["shampoo_beta"]
    axes = [i for i, n in enumerate(w.shape) if w.ndim > 1 and n <= s["max_axis"]]
    bases: list[Array | None] = [None] * w.ndim
    grams: dict[int, Array] = {}
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, lr in enumerate(rates):
        g = slope(w)
        if t == 0:
            for i in axes:
                grams[i] = (1 - b) * _gram(g, i)
                bases[i] = np.linalg.eigh(grams[i])[1][:, ::-1]
            continue
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * _turn(g, bases, False) ** 2
        along = _turn(_turn(m, bases, False) / (np.sqrt(v) + s["eps"]), bases, True)
        w = w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * along
        w = w * (1 - lr * s["weight_decay"])
        for i in axes:
            grams[i] = b * grams[i] + (1 - b) * _gram(g, i)
            q = bases[i]
            if t % s["every"] == 0 and q is not None:
                product = grams[i] @ q
                order = np.argsort(-(q * product).sum(0))
                bases[i] = np.linalg.qr(product[:, order])[0]
                v = np.take(v, order, axis=i)
    return w
