"""Optimizers of one model, written straight from their papers on torch's own class.

For methods without a reference implementation, or with one that departs from the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from landsweep.sweeps.lab.streams import counted, stream
from tests.sweeps.lab.optim.slow import Settings


class CriticalAdam(torch.optim.Optimizer):
    """Adam with critical momenta (arXiv 2307.09638): a list of (priority, momenta) of one model."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        fading: float,
        kept: int,
    ) -> None:
        super().__init__(params, {"lr": lr})
        self._s = (*betas, eps, weight_decay, fading, kept)
        self._params: list[nn.Parameter] = self.param_groups[0]["params"]
        self._m = [torch.zeros_like(p) for p in self._params]
        self._v = [torch.zeros_like(p) for p in self._params]
        self._buffer: list[tuple[float, list[torch.Tensor]]] = []
        self._t = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        b1, b2, eps, decay, fading, kept = self._s
        self._t += 1
        lr = self.param_groups[0]["lr"]
        grads = [p.grad.clone() for p in self._params if p.grad is not None]
        size = sum(float(g.norm()) for g in grads)
        if self._t == 1:
            along, new = [torch.zeros_like(g) for g in grads], grads
        else:
            self._m = new = [b1 * m + (1 - b1) * g for m, g in zip(self._m, grads, strict=True)]
            sums = [sum(tensors) for tensors in zip(*(momenta for _, momenta in self._buffer), strict=True)]
            along = [m + s / len(self._buffer) for m, s in zip(new, sums, strict=True)]
        if len(self._buffer) == kept:
            lowest = min(range(kept), key=lambda i: self._buffer[i][0])
            if size > self._buffer[lowest][0]:
                self._buffer[lowest] = (size, new)
        else:
            self._buffer.append((size, new))
        self._buffer = [(fading * priority, momenta) for priority, momenta in self._buffer]
        for p, a, v in zip(self._params, along, self._v, strict=True):
            v.mul_(b2).add_((1 - b2) * a * a)
            p.mul_(1 - lr * decay)
            p.sub_(lr / (1 - b1**self._t) * a / ((v / (1 - b2**self._t)).sqrt() + eps))


class _OneModel(torch.optim.Optimizer):
    """What the next ones share: the settings of one model, the seed of its draws, and how many steps it has made."""

    def __init__(self, params: Iterable[nn.Parameter], s: Settings) -> None:
        super().__init__(params, {"lr": s["learning_rate"]})
        self._s, self._t, self.seed = s, 0, 0
        self._params: list[nn.Parameter] = self.param_groups[0]["params"]
        self._m = [torch.zeros_like(p) for p in self._params]
        self._v = [torch.zeros_like(p) for p in self._params]

    @property
    def _rate(self) -> float:
        return float(self.param_groups[0]["lr"])

    def _adam(self, i: int, g: torch.Tensor, t: int, where: Any = ...) -> torch.Tensor:
        """Adam's step along, in learning rates, in a part of the parameter i."""
        b1, b2 = self._s["beta1"], self._s["beta2"]
        self._m[i][where] = b1 * self._m[i][where] + (1 - b1) * g
        self._v[i][where] = b2 * self._v[i][where] + (1 - b2) * g * g
        return self._m[i][where] / (1 - b1**t) / ((self._v[i][where] / (1 - b2**t)).sqrt() + self._s["eps"])

    def _base(self, grads: Sequence[torch.Tensor]) -> None:
        """SGD's or AdamW's step with these gradients."""
        s, lr = self._s, self._rate
        for i, (p, g) in enumerate(zip(self._params, grads, strict=True)):
            if s.get("base", "sgd") == "adamw":
                p.mul_(1 - lr * s["weight_decay"]).sub_(lr * self._adam(i, g, self._t))
                continue
            g = g + s["weight_decay"] * p
            self._m[i] = s["momentum"] * self._m[i] + g
            p.sub_(lr * (g + s["momentum"] * self._m[i] if s["nesterov"] else self._m[i]))

    def _inner(self) -> list[int]:
        wide = [i for i, p in enumerate(self._params) if p.ndim >= 2]
        return wide if self._s.get("ends") else wide[1:-1]


class Swan(_OneModel):
    """arXiv 2412.13148: whitening through the singular values, to which Newton-Schulz iterations are applied."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self._t += 1
        for i, p in enumerate(self._params):
            assert p.grad is not None
            p.mul_(1 - self._rate * self._s["weight_decay"])
            if i not in self._inner():
                p.sub_(self._rate * self._adam(i, p.grad, self._t))
                continue
            g = p.grad.reshape(len(p), -1)
            n = torch.stack([(row - row.mean()) / row.std(correction=0) for row in g])
            u, values, vt = torch.linalg.svd(n, full_matrices=False)
            values = values / values.norm()
            for _ in range(self._s["rounds"]):
                values = 1.5 * values - 0.5 * values**3
            white = (u * values) @ vt
            p.sub_((self._rate * n.norm() / white.norm() * white).reshape(p.shape))


class Frugal(_OneModel):
    """arXiv 2411.07837: AdamW in columns that are drawn anew, signSGD in the others."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        s, inner = self._s, self._inner()
        if self._t % s["every"] == 0:
            source = torch.Generator().manual_seed(counted(stream(self.seed, "columns"), self._t // s["every"]))
            widths = {i: self._params[i].numel() // len(self._params[i]) for i in inner}
            orders = {i: torch.randperm(n, generator=source) for i, n in widths.items()}
            self._columns = {i: order[: round(s["density"] * len(order))] for i, order in orders.items()}
            for i in inner:
                self._m[i] = torch.zeros_like(self._params[i]).reshape(len(self._params[i]), -1)
                self._v[i] = torch.zeros_like(self._m[i])
        self._t += 1
        for i, p in enumerate(self._params):
            assert p.grad is not None
            if i in inner:
                g, where = p.grad.reshape(len(p), -1), (slice(None), self._columns[i])
                along = s["free_factor"] * g.sign()
                along[where] = self._adam(i, g[where], (self._t - 1) % s["every"] + 1, where)
            else:
                along = self._adam(i, p.grad, self._t)
            p.mul_(1 - self._rate * s["weight_decay"]).sub_(self._rate * along.reshape(p.shape))


class _Again(_OneModel):
    """One that asks for more gradients: its `step` takes a closure that gives those at the weights of by then."""

    def _slope(self, closure: Any) -> torch.Tensor:
        closure()
        return torch.cat([p.grad.flatten() for p in self._params if p.grad is not None])

    def _whole(self) -> torch.Tensor:
        return torch.cat([p.flatten() for p in self._params])

    def _put(self, row: torch.Tensor) -> None:
        for p, part in zip(self._params, self._parts(row), strict=True):
            p.copy_(part)

    def _parts(self, row: torch.Tensor) -> list[torch.Tensor]:
        parts = row.split([p.numel() for p in self._params])
        return [part.reshape(p.shape) for p, part in zip(self._params, parts, strict=True)]


class Gam(_Again):
    """arXiv 2303.03108, algorithm of the authors' code."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        s, w = self._s, self._whole()
        self._t += 1
        g0 = self._slope(closure)
        self._put(w + s["rho"] * g0 / g0.norm())
        g1 = self._slope(closure)
        near = w + s["rho_norm"] * (g1 - g0) / (g1 - g0).norm()
        self._put(near)
        g2 = self._slope(closure)
        self._put(near + s["rho"] * g2 / g2.norm())
        g3 = self._slope(closure)
        h, p = g1 + g3, g0 + g2
        cosine = (h @ p) / (h.norm() * p.norm())
        self._put(w)
        self._base(self._parts(h - s["gamma"] * (p - cosine * p.norm() * h / h.norm())))


class EntropySgd(_Again):
    """arXiv 1611.01838, algorithm 1, with gradients of one batch."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        s, w = self._s, self._whole()
        x, mean, scope = w.clone(), w.clone(), s["scope"] * (1 + s["scope_growth"]) ** self._t
        for i in range(s["walk"]):
            self._put(x)
            slope = self._slope(closure) + s["weight_decay"] * x - scope * (w - x)
            source = torch.Generator().manual_seed(counted(stream(self.seed, "walk"), self._t * s["walk"] + i))
            noise = torch.randn(len(w), generator=source, dtype=w.dtype)
            x = x - s["walk_rate"] * slope + s["walk_rate"] ** 0.5 * s["noise"] * noise
            mean = s["memory"] * mean + (1 - s["memory"]) * x
        self._t += 1
        self._put(w)
        self._base(self._parts(w - mean))


class UDog(_Again):
    """arXiv 2404.00666 with the sums that the rule's docstring names, from lists of all points and gradients so far."""

    def __init__(self, params: Iterable[nn.Parameter], s: Settings) -> None:
        super().__init__(params, s)
        self._origin = self._whole().detach().double()
        self._x, self._y = [self._origin], [self._origin]
        self._r: list[float] = []
        self._slopes: list[tuple[float, torch.Tensor, torch.Tensor]] = []

    def average(self, last: torch.Tensor) -> torch.Tensor:
        """The average whose last point is this one, of the step that goes on."""
        shares = [sum(self._r[: k + 1]) for k in range(len(self._r))]
        points = [*self._x[1 : len(self._r)], last]
        return sum((a * p for a, p in zip(shares, points, strict=True)), torch.zeros_like(last)) / sum(shares)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        s = self._s
        far = max(float((p - self._origin).norm()) for p in (*self._x, *self._y))
        self._r.append(max(s["first_step"] * (1 + float(self._origin.norm())), far))
        a, r = sum(self._r) / self._r[-1], self._r[-1]

        def slope(point: torch.Tensor) -> torch.Tensor:
            self._put(point.to(self._params[0].dtype))
            return self._slope(closure).double() + s["weight_decay"] * point

        y = self._y[-1]
        m = slope(self.average(y))
        changes = sum(b**2 * float((g - n).norm()) ** 2 for b, g, n in self._slopes)
        largest = max(b**2 * float(n.norm()) ** 2 for b, n in [(a, m), *((b, n) for b, _, n in self._slopes)])
        self._x.append(y - self._rate * a * r / (s["eps"] + changes + largest) ** 0.5 * m)
        g = slope(self.average(self._x[-1]))
        self._slopes.append((a, g, m))
        changes += a**2 * float((g - m).norm()) ** 2
        self._y.append(y - self._rate * a * r / (s["eps"] + changes + largest) ** 0.5 * g)

    def last(self) -> torch.Tensor:
        """Where the next gradient would be taken, in the type of the parameters."""
        far = max(float((p - self._origin).norm()) for p in (*self._x, *self._y))
        self._r.append(max(self._s["first_step"] * (1 + float(self._origin.norm())), far))
        point = self.average(self._y[-1])
        self._r.pop()
        return point.to(self._params[0].dtype)


class InducedMetric(_OneModel):
    """arXiv 2509.03594: the metric 1 + v v^T itself is inverted, v being sqrt(xi) times an average of gradients' sizes.

    Its inverse along the gradient is what the authors' factor stands for; their averages make it that of a vector with
    the averaged norm.
    """

    trace, loss = 0.0, 0.0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        s = self._s
        self._t += 1
        grads = [p.grad.double() for p in self._params if p.grad is not None]
        b, a, root = s["beta"], s["momentum"], [torch.ones_like(g) for g in grads]
        if s["surface"] == "rms":
            self._v = [s["beta2"] * v + (1 - s["beta2"]) * g * g for v, g in zip(self._v, grads, strict=True)]
            root = [(v / (1 - s["beta2"] ** self._t)).sqrt() + s["eps"] for v in self._v]
        size = sum(float((g * g / r).sum()) for g, r in zip(grads, root, strict=True))
        self.trace = b * self.trace + (1 - b) * s["xi"] * size
        height = (self.trace / (1 - b**self._t)) ** 0.5 / (self.loss if s["surface"] == "log_loss" else 1.0)
        unit = torch.ones(3, dtype=torch.float64) / 3**0.5  # any direction will do
        metric = torch.eye(3, dtype=torch.float64) + height**2 * torch.outer(unit, unit)
        factor = float(unit @ torch.linalg.solve(metric, unit)) / (self.loss if s["surface"] == "log_loss" else 1.0)
        for i, (p, g) in enumerate(zip(self._params, grads, strict=True)):
            self._m[i] = a * self._m[i].double() + (1 - a) * g
            step = self._m[i] / (1 - a**self._t) / root[i]
            p.copy_(p.double() * (1 - self._rate * s["weight_decay"]) - self._rate * factor * step)


SAMPLES, OUTPUTS = 3, 2


def outputs(row: torch.Tensor) -> torch.Tensor:
    """Outputs [samples, outputs] of a small model of weights [P], for EGN."""
    source = torch.Generator().manual_seed(5)
    mixed = torch.randn(len(row), SAMPLES * OUTPUTS, generator=source, dtype=torch.float64)
    return torch.sin(row @ mixed.to(row.dtype)).view(SAMPLES, OUTPUTS)


class Egn(_OneModel):
    """arXiv 2405.14402 by the Gauss-Newton matrix [P, P] itself, of the losses (f_0 - 1)^2 + (f_1 - 1)^2 + f_0 f_1."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        s = self._s
        self._t += 1
        row = torch.cat([p.flatten() for p in self._params]).double()
        jacobian = torch.autograd.functional.jacobian(outputs, row).reshape(-1, len(row))
        found = outputs(row)
        slopes = 2 * (found - 1) + found.flip(1)
        bends = torch.block_diag(*[torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)] * SAMPLES)
        matrix = jacobian.T @ bends @ jacobian / SAMPLES + s["damping"] * torch.eye(len(row), dtype=torch.float64)
        along = torch.linalg.solve(matrix, -jacobian.T @ slopes.flatten() / SAMPLES)
        parts = along.split([p.numel() for p in self._params])
        for i, (p, d) in enumerate(zip(self._params, parts, strict=True)):
            self._m[i] = s["momentum"] * self._m[i].double() + (1 - s["momentum"]) * d.reshape(p.shape)
            step = self._rate * self._m[i] / (1 - s["momentum"] ** self._t)
            p.copy_(p.double() * (1 - self._rate * s["weight_decay"]) + step)
