"""Paths between two networks in weight space: the straight line, Bezier curves and polygons, and walking along them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.weight_space.batch_norm import running_layers
from landsweep.sweeps.lab.weight_space.space import Space

__all__ = ["Path", "PathShape", "PathTraining", "Walk", "train_path"]

PathShape: TypeAlias = Literal["bezier", "polygon"]
State: TypeAlias = Mapping[str, Tensor]
_NODES = 64  # of the quadrature of a curve's length


@dataclass(frozen=True, slots=True)
class Path:
    """A curve through weight space from t = 0 to t = 1.

    Attributes:
        shape: bezier or polygon; with two points both are the straight line.
        points: state dicts: the first and the last are the ends, those between are bends.
    """

    shape: PathShape
    points: tuple[State, ...]

    @classmethod
    def straight(cls, a: State, b: State, shape: PathShape = "polygon", bends: int = 0) -> Self:
        """The straight line, with bends at equal distances on it; tensors of whole numbers are those of A."""

        def mixed(t: float) -> State:
            return {k: ((1 - t) * v + t * b[k]).to(v.dtype) if v.is_floating_point() else v for k, v in a.items()}

        return cls(shape, (a, *(mixed(j / (bends + 1)) for j in range(1, bends + 1)), b))

    def coefficients(self, t: float) -> list[float]:
        """The share of each point in the weights at `t`; at the ends exactly 1 and 0.

        Bezier: of Bernstein. Polygon: max(0, 1 - |t (k - 1) - j|), so that bend j is passed at j / (k - 1).
        """
        last = len(self.points) - 1
        if self.shape == "bezier":
            return [math.comb(last, j) * t**j * (1 - t) ** (last - j) for j in range(last + 1)]
        return [max(0.0, 1 - abs(t * last - j)) for j in range(last + 1)]

    def length(self, names: Sequence[str]) -> float:
        """Euclidean length in the space of these tensors."""
        vectors = [torch.cat([p[name].double().reshape(-1) for name in names]) for p in self.points]
        steps = torch.stack([b - a for a, b in itertools.pairwise(vectors)])
        if self.shape == "polygon":
            return float(steps.norm(dim=1).sum())
        gram = (steps @ steps.T).numpy()
        last = len(steps)
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        total = 0.0
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            speed = np.array(
                [last * math.comb(last - 1, j) * node**j * (1 - node) ** (last - 1 - j) for j in range(last)]
            )
            total += weight * math.sqrt(max(speed @ gram @ speed, 0.0))
        return float(total)


class Walk:
    """A module that moves along a path. Its own weights are lost.

    Args:
        module: of the path's architecture, on its device; it is put into evaluation mode.
        path: its state dicts hold the module's parameters and buffers; buffers of floating point move with the weights,
            others are those of the start.
    """

    def __init__(self, module: nn.Module, path: Path) -> None:
        self.module, self.path = module.eval(), path
        stored = module.state_dict(keep_vars=True)
        tensors: dict[str, Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        moving = {name: t for name, t in tensors.items() if t.is_floating_point() and name in stored}
        with torch.no_grad():
            for name, t in tensors.items():
                if name in moving:
                    t.zero_()
                elif name in stored:
                    t.copy_(path.points[0][name])
        self._space = Space(moving, {f"{j}": {n: p[n] for n in moving} for j, p in enumerate(path.points)})

    def move(self, t: float) -> None:
        """To the weights at `t`."""
        coefficients = self.path.coefficients(t)
        self._space.move({f"{j}": c for j, c in enumerate(coefficients) if c})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._space.close()


@dataclass(frozen=True, slots=True)
class PathTraining:
    """How the bends of a path are trained: SGD with momentum.

    Attributes:
        steps: of the optimizer.
        learning_rate: at first; from half of the steps it falls linearly, to a hundredth at nine tenths.
        momentum: of SGD.
        weight_decay: of the weights on the curve, not of the bends.
    """

    steps: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 0.0

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        done = step / self.steps
        share = 1.0 if done <= 0.5 else max(0.01, 1 - 0.99 * (done - 0.5) / 0.4)
        return self.learning_rate * share


def train_path(
    module: nn.Module,
    path: Path,
    batches: Iterator[tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    training: PathTraining,
    generator: torch.Generator,
) -> Path:
    """Lower the mean loss along a path, whose ends stay (arXiv 1802.10026): one t from U(0, 1) for each batch.

    Batch normalisation uses the statistics of the batch; dropout is off.

    Args:
        module: of the architecture, on its device; its weights are lost.
        path: where the bends begin.
        batches: inputs and targets, without end.
        loss: outputs and targets to the loss of each sample.
        training: how long, how fast.
        generator: of t.
    """
    names = [name for name, _ in module.named_parameters()]
    device = next(module.parameters()).device
    points = [{k: t.to(device) for k, t in p.items()} for p in path.points]
    bends = [{k: points[j][k].clone().requires_grad_() for k in names} for j in range(1, len(points) - 1)]
    optimizer = torch.optim.SGD(
        [t for bend in bends for t in bend.values()], lr=training.learning_rate, momentum=training.momentum
    )
    parameters = dict(module.eval().requires_grad_().named_parameters())
    for layer in running_layers(module):
        layer.train()
    for step in range(training.steps):
        t = float(torch.rand((), generator=generator))
        shares = path.coefficients(t)
        inputs, targets = next(batches)
        with torch.no_grad():
            for name, p in parameters.items():
                terms = [points[0][name], *(bend[name] for bend in bends), points[-1][name]]
                p.copy_(sum((c * term for c, term in zip(shares, terms, strict=True)), torch.zeros_like(p)))
        gradients = torch.autograd.grad(
            loss(module(inputs), targets).mean(), list(parameters.values()), materialize_grads=True
        )
        for share, bend in zip(shares[1:-1], bends, strict=True):
            for name, g in zip(parameters, gradients, strict=True):
                bend[name].grad = share * (g + training.weight_decay * parameters[name].detach())
        for group in optimizer.param_groups:
            group["lr"] = training.rate(step)
        optimizer.step()
    module.eval()
    trained = [
        {**path.points[j + 1], **{k: t.detach().to(path.points[0][k].device) for k, t in bend.items()}}
        for j, bend in enumerate(bends)
    ]
    return Path(path.shape, (path.points[0], *trained, path.points[-1]))
