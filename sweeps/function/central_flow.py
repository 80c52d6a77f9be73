"""The central flow of gradient descent (arXiv 2410.24206): the path that its oscillations are about.

At the edge of stability gradient descent oscillates with some covariance S along the k eigenvectors U of the Hessian H
whose eigenvalues are near 2 / rate. On average over the oscillations it moves as

    dw/dt = -rate (grad L + grad <H, S> / 2),     S = U X U',   t in steps,

X [k, k] being the smallest that keeps those eigenvalues at or below 2 / rate: X and Y = U'(2 / rate - H)U, after the
step, are positive semi-definite, and <X, Y> = 0. That is a convex quadratic program over the positive semi-definite
matrices. Below the edge S is 0, and this is gradient flow.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import grad, jacrev, vjp

from landsweep.orchestrator.row import Metric

__all__ = ["FlowPoint", "central_flow", "complementary", "follow"]

Loss: TypeAlias = Callable[[Tensor], Tensor]
_WINDOW = 10  # steps before and after that losses are averaged over
_NEAR = 0.975  # eigenvalues above this share of 2 / rate may reach it in the next substep


@dataclass(frozen=True, slots=True)
class FlowPoint:
    """Where the flow is.

    Attributes:
        weights: [P].
        loss: at the weights.
        predicted: mean loss of gradient descent there: loss + <H, S> / 2.
        sharpness: largest eigenvalue of the Hessian.
        oscillating: along how many directions.
    """

    weights: Tensor
    loss: float
    predicted: float
    sharpness: float
    oscillating: int


@torch.no_grad()
def central_flow(loss: Loss, weights: Tensor, rate: float, steps: int, substeps: int = 4) -> Iterator[FlowPoint]:
    """The flow, by Euler's method.

    Args:
        loss: of weights [P]; three times differentiable.
        weights: [P] of float64, where it starts.
        rate: of gradient descent.
        steps: of gradient descent to follow.
        substeps: of Euler's method in each of them.

    Yields:
        The flow at step 0, 1, ..., `steps`.
    """
    slope = grad(loss)
    matrix = jacrev(slope)
    w, dt = weights.clone(), 1 / substeps
    for number in range(steps * substeps + 1):
        g = slope(w)
        values, vectors = torch.linalg.eigh(matrix(w))
        near = vectors[:, values > _NEAR * 2 / rate]
        k = near.shape[1]
        high = values[len(values) - k :]
        pull, spread = torch.zeros_like(w), torch.zeros(k, k, dtype=w.dtype)
        if k:
            turns = [[_turn(slope, w, near[:, i], near[:, j]) for j in range(i + 1)] for i in range(k)]
            pairs = torch.stack([turns[max(i, j)][min(i, j)] for i in range(k) for j in range(k)])
            room = torch.diag(2 / rate - high).reshape(-1) + dt * rate * pairs @ g
            spread = complementary(room, dt * rate / 2 * pairs @ pairs.T).view(k, k)
            pull = spread.reshape(-1) @ pairs / 2
        if number % substeps == 0:
            here = float(loss(w))
            mean = here + float(spread.diag() @ high) / 2
            directions = int(torch.linalg.matrix_rank(spread)) if k else 0
            yield FlowPoint(w.clone(), here, mean, float(values[-1]), directions)
        w = w - dt * rate * (g + pull)


def _turn(slope: Callable[[Tensor], Tensor], w: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Gradient of u'H v by the weights, [P]."""
    turn: Tensor = grad(lambda x: vjp(slope, x)[1](v)[0] @ u)(w)
    return turn


def complementary(c: Tensor, b: Tensor, rounds: int = 500) -> Tensor:
    """The positive semi-definite X with Y = c + b X positive semi-definite and <X, Y> = 0, as a vector [k k].

    It minimises x'b x / 2 + c'x over such X; by accelerated projected gradients.

    Args:
        c: [k k], a symmetric matrix.
        b: [k k, k k], positive semi-definite, taking symmetric matrices to such.
        rounds: of the iteration; one eigenvalue needs none.
    """
    if len(c) == 1:
        return torch.where(b[0] > 0, -c / b[0], 0.0).clamp(min=0)
    length = float(torch.linalg.eigvalsh(b)[-1])
    if length <= 0:
        return torch.zeros_like(c)
    x, y, momentum = torch.zeros_like(c), torch.zeros_like(c), 1.0
    for _ in range(rounds):
        before, x = x, _semi_definite(y - (c + b @ y) / length)
        momentum, old = (1 + math.sqrt(1 + 4 * momentum**2)) / 2, momentum
        y = x + (old - 1) / momentum * (x - before)
        if float((x - before).abs().max()) <= 1e-12 * float(x.abs().max()):
            break
    return x


def _semi_definite(x: Tensor) -> Tensor:
    """The nearest positive semi-definite matrix, [k k]."""
    k = math.isqrt(len(x))
    values, vectors = torch.linalg.eigh((x.view(k, k) + x.view(k, k).T) / 2)
    nearest: Tensor = (vectors * values.clamp(min=0) @ vectors.T).reshape(-1)
    return nearest


def _descended(slope: Loss, w: Tensor, rate: float, steps: int, substeps: int) -> list[Tensor]:
    """Weights after 0, 1, ..., `steps` steps of gradient descent; with several substeps, of Euler's gradient flow."""
    points = [w]
    for _ in range(steps):
        for _ in range(substeps):
            w = w - rate / substeps * slope(w)
        points.append(w)
    return points


def _network(seed: int, width: int, samples: int) -> tuple[Loss, Tensor]:
    """Mean squared error of a tanh network with two hidden layers on a wave with noise, and its first weights."""
    source = torch.Generator().manual_seed(seed)
    x = torch.linspace(-1, 1, samples, dtype=torch.float64)[:, None]
    y = torch.sin(4 * x) + 0.1 * torch.randn(x.shape, generator=source, dtype=torch.float64)
    shapes = [(width, 1), (width,), (width, width), (width,), (1, width)]
    drawn = [
        torch.randn(s, generator=source, dtype=torch.float64) * (s[-1] ** -0.5 if len(s) == 2 else 0) for s in shapes
    ]

    def loss(w: Tensor) -> Tensor:
        parts = torch.split(w, [t.numel() for t in drawn])
        w1, b1, w2, b2, w3 = (part.view(shape) for part, shape in zip(parts, shapes, strict=True))
        hidden = torch.tanh(torch.tanh(x @ w1.T + b1) @ w2.T + b2)
        error: Tensor = (hidden @ w3.T - y).square().mean()
        return error

    return loss, torch.cat([t.reshape(-1) for t in drawn])


def follow(
    rate: float, seed: int = 0, steps: int = 400, width: int = 6, samples: int = 16, substeps: int = 2
) -> Generator[dict[str, Metric], None, dict[str, Metric]]:
    """Gradient descent on a small network, beside its central flow and its gradient flow from the same weights.

    Args:
        rate: learning rate.
        seed: of data and weights.
        steps: of gradient descent.
        width: of both hidden layers of the network.
        samples: in the data.
        substeps: of the flows, in each step.

    Yields:
        step; loss of gradient descent, its mean over 21 steps, and what the central flow predicts for it; sharpness of
        gradient descent's weights, smoothed over three steps, and of the central flow; how far each flow is from them.

    Returns:
        central_error, gradient_error: that distance at the end, over the way that descent has made; loss_error: of the
        predicted mean loss, relative, root mean square over the second half of the steps; loss_rises: steps at which
        the loss rose; top_sharpness: the highest of the central flow, times rate / 2; oscillating: most directions.
    """
    loss, start = _network(seed, width, samples)
    slope = grad(loss)
    matrix = jacrev(slope)
    path = _descended(slope, start, rate, steps + 1, 1)
    plain = _descended(slope, start, rate, steps, substeps)
    if not all(bool(torch.isfinite(w).all()) for w in (path[-1], plain[-1])):
        return {"status": "diverged", "error": "gradient descent or the flow left for infinity; lower the rate"}
    losses = [float(loss(w)) for w in path]
    central = list(central_flow(loss, start, rate, steps, substeps))
    squares = []
    for step in range(1, steps):
        window = slice(max(0, step - _WINDOW), step + _WINDOW + 1)
        mean, predicted = statistics.fmean(losses[window]), statistics.fmean(p.predicted for p in central[window])
        if 2 * step >= steps:
            squares.append((predicted / mean - 1) ** 2)
        if step % 5 == 0 or step == steps - 1:
            middle = (path[step - 1] + 2 * path[step] + path[step + 1]) / 4
            yield {
                "step": step,
                "loss": losses[step],
                "mean_loss": mean,
                "predicted_loss": predicted,
                "sharpness": float(torch.linalg.eigvalsh(matrix(middle))[-1]),
                "central_sharpness": central[step].sharpness,
                "central_distance": float((central[step].weights - middle).norm()),
                "gradient_distance": float((plain[step] - middle).norm()),
            }
    middle = (path[-4] + 2 * path[-3] + path[-2]) / 4
    way = float((middle - start).norm())
    return {
        "central_error": float((central[steps - 1].weights - middle).norm()) / way,
        "gradient_error": float((plain[steps - 1] - middle).norm()) / way,
        "loss_error": math.sqrt(sum(squares) / len(squares)),
        "loss_rises": sum(b > a for a, b in itertools.pairwise(losses)),
        "top_sharpness": max(p.sharpness for p in central) * rate / 2,
        "oscillating": max(p.oscillating for p in central),
    }
