"""Steps of the optimizers of a pack: each model with its own coefficients, schedule and clipping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landsweep.sweeps.lab.optim import Linearised, Method, Step
from landsweep.sweeps.lab.optim.fused import LARGE, fused_step, fused_steps
from landsweep.sweeps.lab.parametrization import Factors
from landsweep.sweeps.lab.training.rates import AT_ONCE, Rates
from landsweep.sweeps.lab.training.segments import segments
from landsweep.sweeps.lab.training.stack import Stack

__all__ = ["FusedUpdater", "Gradients", "StackedUpdater", "Updater", "clip"]


def clip(grads: Tensor, largest: Tensor, norms: Tensor | None = None) -> None:
    """Scale each row [P] of the gradients [K, P] to a norm of at most its limit, as torch's clip_grad_norm_ does.

    Args:
        grads: [K, P], in place.
        largest: [K, 1]; inf leaves a row's bits as they are.
        norms: [K, 1], of the whole rows where these are only parts of them.
    """
    if norms is None:
        norms = torch.linalg.vector_norm(grads, dim=1, keepdim=True)
    grads.mul_((largest / (norms + 1e-6)).clamp_(max=1.0))


def _absent(row: int) -> Linearised:
    raise RuntimeError(f"the model of row {row} is asked for on its batch, but there is none")


@dataclass(frozen=True, slots=True)
class Gradients:
    """What a batch says of the weights of K models.

    Attributes:
        rows: [K, P], clipped; a step may overwrite them.
        losses: [K].
        again: gives the gradients [K, P] of the same batch at the current weights, clipped; `Step.again` (SAM).
        linearised: gives the model of a row on the same batch; `Step.linearised` (EGN).
    """

    rows: Tensor
    losses: Tensor
    again: Callable[[], Tensor]
    linearised: Callable[[int], Linearised] = _absent


class Updater(ABC):
    """Makes the steps of all models of a stack.

    Attributes:
        forgets: whether it keeps no reference to the gradients that it was given, so that their memory serves again.
    """

    forgets: ClassVar[bool] = True

    @abstractmethod
    def step(self, stack: Stack, gradients: Gradients, rates: Rates, step: int, skip: Sequence[int] = ()) -> None:
        """One step of all models.

        Args:
            stack: of the models.
            gradients: of the next batch.
            rates: what the schedules say.
            step: number of the step, from 0.
            skip: rows that make no step: all that belongs to them stays as it is.
        """

    def divisor(self) -> Tensor | None:
        """What the last step divided by, `Method.divisor`, [K, P]; nan before a first step. None: it is not known."""
        return None

    def evaluated(self, weights: Tensor) -> Tensor:
        """The weights [K, P] that models are evaluated and kept at, where the optimizer averages by itself."""
        return weights

    @abstractmethod
    def take(self, keep: Tensor, stack: Stack) -> None:
        """Keep only these rows; the stack has been cut already."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """All that it keeps from step to step, by name."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""


@dataclass(frozen=True, slots=True)
class _Coming:
    """Columns of a step and some that follow, by segment and name, [steps, K, 1] each.

    Attributes:
        first: the step.
        steps: how many.
        changing: coefficients that schedules set; a learning rate may be [steps, K, columns].
        ready: of `Method.ready`.
    """

    first: int
    steps: int
    changing: list[dict[str, Tensor]]
    ready: list[dict[str, Tensor]]


class StackedUpdater(Updater):
    """The stacked rule of one method.

    Args:
        methods: settings of each model, all of one class.
        stack: of the models.
        seeds: of the models; None: 0 for all.
        factors: of each model's parametrization; None: no model has one.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        stack: Stack,
        seeds: Sequence[int] | None = None,
        factors: Sequence[Factors | None] | None = None,
    ) -> None:
        k, like = len(methods), stack.weights
        self._method = methods[0]
        whole = not self._method.elementwise
        self._segments = segments(stack.layout, factors or [None] * k, like.device, whole=whole)
        self._slots = self._method.fresh(like)
        for name in self._method.columns:  # a column for each segment, since each makes a step of its own
            self._slots[name] = self._slots[name].repeat(1, len(self._segments))
        rows = zip(methods, like, seeds or [0] * k, strict=True)
        starts = [m.start(row, stack.layout, seed) for m, row, seed in rows]
        self._slots |= {name: torch.stack([s[name] for s in starts]) for name in starts[0]}
        self._t = torch.zeros(k, 1, dtype=torch.float64, device=like.device)
        each = [m.coefficients() for m in methods]
        self._coefficients = {
            n: torch.tensor([c[n] for c in each], dtype=torch.float64).unsqueeze(1).to(like.device) for n in each[0]
        }
        self._coming: _Coming | None = None
        self._next = 0  # the step that follows on the last one
        self._cast(like.dtype)

    def _cast(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._c = [
            {n: (c * s.factors.get(n, 1.0)).to(dtype) for n, c in self._coefficients.items()} for s in self._segments
        ]
        on_cpu = self._t.device.type == "cpu"
        self._shared = [
            {n: float(v[0]) for n, v in c.items() if on_cpu and v.shape == self._t.shape and bool((v == v[0]).all())}
            for c in self._c
        ]
        self._coming = None

    @torch.no_grad()
    def step(self, stack: Stack, gradients: Gradients, rates: Rates, step: int, skip: Sequence[int] = ()) -> None:
        if len(skip) == len(stack):
            return
        if skip:  # every row makes the step, since all are one computation; these get back what they had
            rows = torch.tensor(skip, device=stack.weights.device)
            before = {name: tensor[rows] for name, tensor in self.state().items()}, stack.weights[rows]
            self._step_all(stack, gradients, rates, step)
            for name, tensor in self.state().items():
                tensor[rows] = before[0][name]
            stack.weights[rows] = before[1]
            self._coming = None  # from here on these rows are a step behind
        else:
            self._step_all(stack, gradients, rates, step)

    def _step_all(self, stack: Stack, gradients: Gradients, rates: Rates, step: int) -> None:
        self._t += 1
        column = gradients.losses.to(self._dtype).unsqueeze(1)
        follows = self._coming is not None and step == self._next < self._coming.first + self._coming.steps
        if self._coming is None or not follows or rates.given is not None:
            self._coming = self._prepared(rates, step)
        self._next = step + 1
        i = step - self._coming.first
        for s, segment in enumerate(self._segments):
            changing, ready = self._coming.changing[s], self._coming.ready[s]
            here = segment.columns
            slots, weights, grads = self._slots, stack.weights, gradients.rows
            if len(self._segments) > 1:  # views, since the rule changes the slots in place
                single = {n: slots[n][:, s : s + 1] for n in self._method.columns}
                slots = {n: slot[:, here] for n, slot in slots.items()} | single
                weights, grads = weights[:, here], grads[:, here]
            now = {n: c[i] for n, c in changing.items()}
            shared = {n: value for n, value in self._shared[s].items() if n not in now}
            self._method.update(
                Step(
                    *(weights, grads, slots, {**self._c[s], **now}, self._t, stack.layout, column),
                    *(gradients.again, step, gradients.linearised, {n: c[i] for n, c in ready.items()}, shared),
                )
            )

    def _prepared(self, rates: Rates, step: int) -> _Coming:
        """Of this step and some that follow; what is computed for many at once costs hardly more than for one."""
        wide = any(f.shape[1] > 1 for s in self._segments for f in s.factors.values())
        learning, momenta = rates.table(step, self._t.device, 1 if wide else AT_ONCE)
        set_to: dict[str, Tensor] = {}
        if momenta is not None:
            name = "momentum" if "momentum" in self._coefficients else "beta1"
            columns = momenta.unsqueeze(2)
            set_to[name] = torch.where(columns.isnan(), self._coefficients[name], columns).to(self._dtype)
        t = self._t + torch.arange(len(learning), dtype=self._t.dtype, device=self._t.device)[:, None, None]
        coming = _Coming(step, len(learning), [], [])
        for segment, c in zip(self._segments, self._c, strict=True):
            rate = (learning.unsqueeze(2) * segment.factors.get("learning_rate", 1.0)).to(self._dtype)
            changing = {**set_to, "learning_rate": rate}
            ready = self._method.ready({**c, **changing}, t)
            coming.changing.append(changing)
            coming.ready.append({n: v.expand(len(t), -1, -1) for n, v in ready.items()})
        return coming

    @torch.no_grad()
    def divisor(self) -> Tensor | None:
        if not self._method.preconditioned:
            return None
        parts = [
            self._method.divisor({n: s[:, segment.columns] for n, s in self._slots.items()}, c, self._t)
            for segment, c in zip(self._segments, self._c, strict=True)
        ]
        return torch.where(self._t > 0, torch.cat(parts, 1), torch.nan)

    @torch.no_grad()
    def evaluated(self, weights: Tensor) -> Tensor:
        c = {n: value.to(self._dtype) for n, value in self._coefficients.items()}
        return self._method.evaluated(weights, self._slots, c)

    def take(self, keep: Tensor, stack: Stack) -> None:
        del stack
        self._t = self._t[keep]
        self._slots = {n: s[keep].contiguous() for n, s in self._slots.items()}
        self._coefficients = {n: c[keep] for n, c in self._coefficients.items()}
        self._segments = [s.take(keep) for s in self._segments]
        self._cast(self._dtype)

    def state(self) -> dict[str, Tensor]:
        return {"t": self._t, **{f"slot/{n}": s for n, s in self._slots.items()}}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._t.copy_(state["t"])  # in place: captured steps work in this memory
        for name, slot in self._slots.items():
            slot.copy_(state[f"slot/{name}"])
        self._coming = None


class FusedUpdater(StackedUpdater):
    """Torch's kernel of the same rule: on packs of small models that differ in rate and decay only; else on each."""

    def _step_all(self, stack: Stack, gradients: Gradients, rates: Rates, step: int) -> None:
        self._t += 1
        momenta = rates.momenta(step) if rates.sets_momentum else [None] * len(stack)
        if self._alike and len(set(momenta)) == 1 and stack.weights.shape[1] <= LARGE:
            c = {n: v[0] for n, v in self._own.items()} | ({} if momenta[0] is None else {"beta1": momenta[0]})
            columns = rates.columns(step, self._t.device)[0], self._coefficients["weight_decay"]
            fused_steps(self._name, stack.weights, gradients.rows, self._slots, c, self._t[0, 0], *columns)
        else:
            self._step_each(stack, gradients, rates, step)

    def _step_each(self, stack: Stack, gradients: Gradients, rates: Rates, step: int) -> None:
        """One model and one segment after the other."""
        times, momenta = self._t.float(), rates.momenta(step)
        for k, rate in enumerate(rates.learning_rates(step)):
            own = {name: values[k] for name, values in self._own.items()} | {"learning_rate": rate}
            if (momentum := momenta[k]) is not None:
                own["beta1"] = momentum
            for segment, factors in zip(self._segments, self._factors, strict=True):
                here = segment.columns
                c = {name: value * factors.get(name, [1.0] * (k + 1))[k] for name, value in own.items()}
                slots = {name: slot[k, here] for name, slot in self._slots.items()}
                fused_step(self._name, stack.weights[k, here], gradients.rows[k, here], slots, c, times[k, 0])

    def step(self, stack: Stack, gradients: Gradients, rates: Rates, step: int, skip: Sequence[int] = ()) -> None:
        super().step(stack, gradients, rates, step, skip)
        if skip:
            self._compare()  # the steps of those rows are fewer now

    def load(self, state: Mapping[str, Tensor]) -> None:
        super().load(state)
        self._compare()

    def _cast(self, dtype: torch.dtype) -> None:
        super()._cast(dtype)
        self._name = str(getattr(self._method, "method"))  # noqa: B009 - a field of every method
        self._factors = [{n: f[:, 0].tolist() for n, f in s.factors.items()} for s in self._segments]
        self._own = {n: c[:, 0].tolist() for n, c in self._coefficients.items()}
        self._compare()

    def _compare(self) -> None:
        """Note whether several models have made as many steps, and differ in nothing but rate and decay."""
        others = [values for n, values in self._own.items() if n not in ("learning_rate", "weight_decay")]
        same = len(self._t) > 1 and all(len(set(values)) == 1 for values in (*others, self._t[:, 0].tolist()))
        self._alike = same and len(self._segments) == 1 and not self._segments[0].factors
