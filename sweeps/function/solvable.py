"""Solvable systems of papers: stability of SGD, convex bounds, known minima, random features; and a timed step."""

from __future__ import annotations

import math
import time

import numpy as np
import torch

from landsweep.sweeps.lab.schedule_bound import bound
from landsweep.sweeps.lab.schedules import Constant, Cosine, Linear, WarmupStableDecay
from landsweep.sweeps.laws.random_features import compute_optimal, phase
from landsweep.sweeps.laws.random_features_model import draw_model

__all__ = ["linear_stability", "phase_exponents", "schedule", "separable_minima", "step_time"]


def linear_stability(
    coherent: int, rate: float, batch: int, samples: int = 16, draw: int = 0
) -> dict[str, float | bool]:
    """Whether SGD near an interpolating minimum is stable, exactly and by two conditions.

    The loss of sample i is (g_i w)^2 / 2 with |g_i| = 1. The g_i lie in groups of `coherent` equal ones, which are
    orthogonal between groups, turned a little at random. Each sample is in a batch with probability batch / samples.

    Returns:
        stable: whether E|w|^2 goes to 0, from the spectral radius of the map of second moments; gradient_descent:
        whether full-batch descent is; coherence: sigma, the largest eigenvalue of the matrix of |H_i^(1/2) H_j^(1/2)|
        over the largest of its diagonal; told_unstable: by arXiv 2401.12332, largest eigenvalue of the mean Hessian
        above sigma / rate / sqrt(samples / batch - 1); sharpness: that eigenvalue.
    """
    random = np.random.default_rng(draw)
    groups = samples // coherent
    g = np.repeat(np.eye(groups), coherent, axis=0) + 0.05 * random.normal(size=(groups * coherent, groups))
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    n, d = g.shape
    h = np.einsum("ni,nj->nij", g, g)
    mean = h.mean(0)
    sharpness = float(np.linalg.eigvalsh(mean)[-1])
    between = (g @ g.T) ** 2  # |H_i^(1/2) H_j^(1/2)|_F of Hessians of rank 1 is |g_i g_j|; its square is tr(H_i H_j)
    sigma = float(np.linalg.eigvalsh(np.sqrt(between))[-1])
    step = np.eye(d) - rate * mean
    noise = rate**2 * (n / batch - 1) / n**2 * np.einsum("nij,nkl->ikjl", h, h).reshape(d * d, d * d)
    second = np.kron(step, step) + noise
    radius = float(np.abs(np.linalg.eigvalsh(second)).max())
    unstable = n > batch and sharpness > sigma / rate / math.sqrt(n / batch - 1)
    return {
        "stable": radius < 1,
        "gradient_descent": rate * sharpness < 2,
        "coherence": sigma,
        "sharpness": sharpness,
        "told_unstable": unstable,
        "radius": radius,
    }


def separable_minima(start: int, dimensions: int, rate: float, steps: int = 400) -> dict[str, int | float | bool]:
    """Gradient descent on sum_i of (x_i^2 - 1)^2 / 4 + x_i / 10, which has 2^dimensions minima, from a normal point.

    Returns:
        minimum: the number of the minimum that was found, by the signs of its coordinates; global_minimum: whether all
        are negative; value: of the function there.
    """
    x = np.random.default_rng(start).normal(0, 1.5, dimensions)
    for _ in range(steps):
        x = x - rate * (x**3 - x + 0.1)
        if not np.all(np.abs(x) < 1e6):
            return {"status": "diverged", "error": "left the box"}  # type: ignore[dict-item]
    return {
        "minimum": int(sum(int(sign) << i for i, sign in enumerate(x > 0))),
        "global_minimum": bool((x < 0).all()),
        "value": float(((x**2 - 1) ** 2 / 4 + x / 10).sum()),
        "converged": float(np.abs(x**3 - x + 0.1).max()) < 1e-6,
    }


def phase_exponents(alpha: float, beta: float, ambient: int = 2048, draw: int = 0) -> dict[str, float | str]:
    """The compute-optimal loss of the random-feature model: its measured exponent beside that of theory.

    Expected risk of one-pass SGD for 16 to 256 features; at each budget features x steps the lowest loss over the
    sizes; the exponent is the slope of its logarithm over the last decade of budgets that all sizes bracket.

    Returns:
        phase: of arXiv 2405.15074; theory, measured: exponent of the loss; size_theory: of the best size.
    """
    sizes = np.array([16, 23, 32, 45, 64, 91, 128, 181, 256])
    budgets = np.geomspace(3e3, 3e5, 21)
    losses = np.full((len(sizes), len(budgets)), np.inf)
    for i, size in enumerate(sizes):
        model = draw_model(alpha, beta, int(size), ambient, draw)
        curve = model.curve(int(budgets[-1] // size), 0.5 * model.largest_rate)
        steps = (budgets // size).astype(int)
        losses[i] = curve[np.minimum(steps, len(curve) - 1)]
    lowest = losses.min(0)
    inner = (losses.argmin(0) > 0) & (losses.argmin(0) < len(sizes) - 1)
    slope = float(-np.polyfit(np.log(budgets[inner]), np.log(lowest[inner]), 1)[0]) if inner.sum() > 3 else math.nan
    theory, size_theory = compute_optimal(alpha, beta)
    return {"phase": phase(alpha, beta), "theory": theory, "measured": slope, "size_theory": size_theory}


_SCHEDULES = {
    "constant": Constant(shape="constant"),
    "linear": Linear(shape="linear"),
    "cosine": Cosine(shape="cosine"),
    "wsd": WarmupStableDecay(shape="wsd", cooldown=0.2, decay="linear"),
}


def schedule(shape: str, horizon: int) -> dict[str, float]:
    """The convex bound of a schedule at its best rate, times sqrt(horizon), and that best rate, likewise."""
    best = bound(_SCHEDULES[shape], horizon)
    return {"scaled_bound": best.least * horizon**0.5, "scaled_rate": best.best_rate * horizon**0.5}


def step_time(width: int, depth: int, batch: int, repeat: int, steps: int = 10) -> dict[str, float]:
    """Processor time of a step of SGD on a perceptron, the least of several, with its FLOPs and elements moved."""
    del repeat
    layers: list[torch.nn.Module] = []
    for _ in range(depth):
        layers += [torch.nn.Linear(width, width), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    inputs, times = torch.randn(batch, width), []
    for _ in range(steps):
        start = time.process_time()
        optimizer.zero_grad()
        net(inputs).square().mean().backward()
        optimizer.step()
        times.append(time.process_time() - start)
    flops = 3 * 2 * batch * width * width * depth
    moved = 3 * depth * (width * width + 2 * batch * width)
    return {"step_seconds": min(times), "flops": float(flops), "moved": float(moved)}
