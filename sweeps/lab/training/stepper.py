"""The numerics of a pack: the steps of all its models. Nothing here knows of events, nor whose a row is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from landsweep.sweeps.lab.arithmetic import wide
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.models.own import OwnNet
from landsweep.sweeps.lab.optim import Linearised, NamedClass
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.streams import stream
from landsweep.sweeps.lab.training.assembly import Assembly, dtype_of
from landsweep.sweeps.lab.training.averages import Averages
from landsweep.sweeps.lab.training.backends import Backend
from landsweep.sweeps.lab.training.class_updater import ClassUpdater
from landsweep.sweeps.lab.training.draws import counted
from landsweep.sweeps.lab.training.linearised import linearise
from landsweep.sweeps.lab.training.points import joined
from landsweep.sweeps.lab.training.rates import Rates
from landsweep.sweeps.lab.training.scaler import LossScales
from landsweep.sweeps.lab.training.stack import Stack
from landsweep.sweeps.lab.training.updater import FusedUpdater, Gradients, StackedUpdater, Updater, clip
from landsweep.sweeps.lab.trajectory import PastOutputs, TrajectoryLoss

__all__ = ["Stepper", "under"]


@dataclass(slots=True)
class _Batch:
    """One batch, or this process's part of it, and what has been computed: all [K, ...] by row, masks by name."""

    samples: int
    inputs: Tensor
    targets: Tensor
    masks: dict[str, Tensor]
    grads: Tensor
    losses: Tensor

    def take(self, keep: Tensor) -> _Batch:
        masks = {name: m[keep] for name, m in self.masks.items()}
        return _Batch(self.samples, self.inputs[keep], self.targets[keep], masks, self.grads[keep], self.losses[keep])


@dataclass(slots=True)
class _Seeds:
    """Of each model's own draws in a step. It knows no stepper: a pack in a circle would outlive its training."""

    roots: list[int]
    step: int = 0

    def __call__(self) -> list[int]:
        return [counted(root, self.step) for root in self.roots]


class Stepper:
    """K models in training, each a row of stacked tensors.

    A step has two halves, because a model whose loss is not finite must leave before the weights move: `gradients`
    computes what the next step needs, and `update` makes it. Rows may be taken out in between.

    Args:
        assembly: what the gradients are computed with.
        recipes: one per row.
        data: of all.
        total: steps of the whole training, from which schedules take their lengths.
        micro_batch: how many samples are computed at a time; None: as the recipes say.

    Attributes:
        step: how many steps have been made.
        skipped: rows that left the last step out.
    """

    def __init__(
        self, assembly: Assembly, recipes: Sequence[Recipe], data: Data, total: int, micro_batch: int | None = None
    ) -> None:
        first = recipes[0]
        self._samples, self._masks, self._stack = assembly.samples, assembly.masks, assembly.stack
        self._backend = assembly.program
        with self._stack.widened():
            self._updater = _updater_of(recipes, self._stack, data)
        self._rates = Rates(recipes, total)
        stack, updater = self._stack, self._updater
        own = (lambda: updater.evaluated(stack.weights)) if first.optimizer.averages else None
        self._averages = Averages(first.averaging, stack, own)
        limits = [float("inf") if r.clip is None else r.clip for r in recipes]
        self._limits = torch.tensor(limits, dtype=dtype_of(first), device=self._stack.weights.device).unsqueeze(1)
        self._clips = _bounds(self._limits)
        self._micro_batch, self._width = micro_batch or first.micro_batch, first.batch_size
        self._scaler = LossScales(len(recipes), self._stack.weights.device) if first.precision == "fp16" else None
        self._past: PastOutputs | None = None
        if isinstance(assembly.loss, TrajectoryLoss):
            many = len(recipes), len(self._samples.inputs), data.outputs
            self._past = PastOutputs(assembly.loss, *many, self._stack.weights)
        self.skipped: list[int] = []
        self._batch: _Batch | None = None
        # Of gradients [K, P]: to allocate it for a large model takes longer than to fill it.
        self._memory: Tensor | None = None
        self._idle: tuple[tuple[int, ...], Tensor] | None = None
        self.step = 0
        self._seeds: _Seeds | None = None
        if isinstance(first.net, OwnNet):  # only such a network may draw random numbers by itself
            self._backend.seeds = self._seeds = _Seeds([stream(r.seed, "dropout") for r in recipes])

    def __len__(self) -> int:
        return len(self._stack)

    @property
    def backend(self) -> str:
        """Name of the back-end that computes the gradients."""
        return self._backend.name

    def gradients(self) -> Tensor:
        """First half of a step: the losses [K] of the next batch; its gradients are kept for `update`."""
        if self._seeds is not None:
            self._seeds.step = self.step
        inputs, targets = self._samples.batch(self.step)
        seen = None if self._past is None else (self._samples.positions(self.step), self._epochs())
        if self._past is not None and seen is not None:
            targets = self._past.joined(targets, *seen)
        samples = self._samples.width(self.step)
        masks = self._backend.place().masks_of(self._masks.draw(self.step, samples), samples)
        grads = self._fresh() if self._memory is None else self._memory
        self._memory = grads if self._updater.forgets else None
        self._batch = _Batch(samples, inputs, targets, masks, grads, grads)
        self._batch.losses = self._computed(self._batch, grads)
        if self._past is not None and seen is not None:
            self._past.keep(*seen)
        return self._batch.losses

    def _fresh(self) -> Tensor:
        """Memory for gradients [K, P], in the type in which steps are made."""
        return torch.empty_like(self._stack.weights, dtype=self._limits.dtype)

    def _computed(self, batch: _Batch, grads: Tensor) -> Tensor:
        """Losses [K] of a batch, whose gradients go into `grads`; in parts, if the recipe says so."""
        if self._scaler is not None:
            self._backend.scales = self._scaler.scales
        return self._backend.batch_gradients(
            batch.inputs, batch.targets, batch.masks, grads, samples=batch.samples, micro_batch=self._micro_batch
        )

    def update(self, idle: Sequence[int] = (), skip: Sequence[int] = ()) -> Tensor:
        """Second half of a step: move the weights.

        Args:
            idle: rows whose weights stay as they are.
            skip: rows that leave this step out: weights and optimizer stay as they are. `skipped` also names those
                whose gradients have overflowed.

        Returns:
            losses [K] of the batch, before the step.
        """
        assert self._batch is not None, "`gradients` comes first"
        batch, self._batch = self._batch, None
        overflowed = [] if self._scaler is None else self._scaler.unscale(batch.grads)
        self.skipped = sorted({*skip, *overflowed})
        self._clip(batch.grads)
        # Every row makes the step, since all are one computation; idle ones then get their weights back.
        still = self._positions(idle) if idle else None
        gradients = Gradients(
            batch.grads, batch.losses, lambda: self._second_gradients(batch), lambda row: self._linearised(batch, row)
        )
        with self._stack.widened():
            weights = self._stack.weights
            before = None if still is None else weights[still]
            self._updater.step(self._stack, gradients, self._rates, self.step, self.skipped)
            if before is not None:
                weights[still] = before
        self.step += 1
        self._averages.update(self._stack, self.step)
        return batch.losses

    def _positions(self, rows: Sequence[int]) -> Tensor:
        """Rows as positions on the device, to which they go once."""
        if self._idle is None or self._idle[0] != tuple(rows):
            self._idle = tuple(rows), torch.tensor(rows, device=self._stack.weights.device)
        return self._idle[1]

    @property
    def losses(self) -> Tensor:
        """The losses [K] of the batch whose gradients wait for `update`; rows may have been taken out since."""
        assert self._batch is not None, "`gradients` comes first"
        return self._batch.losses

    def make_step(self) -> Tensor:
        """A whole step, whether or not losses are finite; gives them, [K]."""
        self.gradients()
        return self.update()

    def is_full(self, step: int) -> bool:
        """Whether the batch of this step is whole, not the smaller last one of an epoch."""
        return self._samples.width(step) == self._width

    def host_numbers(self, step: int) -> dict[str, Tensor]:
        """What a step takes from the host, by name, on the device.

        `positions` [K, B] of its samples, `rates` [K, 1] and, where any schedule sets it, `momenta` [K, 1].
        """
        rates, momenta = self._rates.columns(step, self._stack.weights.device)
        numbers = {"positions": self._samples.positions(step), "rates": rates}
        return numbers if momenta is None else {**numbers, "momenta": momenta}

    @contextmanager
    def given(self, numbers: Mapping[str, Tensor]) -> Iterator[None]:
        """While this lasts, each step takes these `host_numbers`, whatever its own number."""
        self._samples.given, self._rates.given = numbers["positions"], (numbers["rates"], numbers.get("momenta"))
        try:
            yield
        finally:
            self._samples.given = self._rates.given = None

    def counted(self, steps: int) -> None:
        """Note that a CUDA graph has made `steps` steps in this memory; below 0: that they were taken back."""
        self.step += steps
        self._averages.counted(self.step)

    def _second_gradients(self, batch: _Batch) -> Tensor:
        """Gradients [K, P] of a batch at what the weights are by now; buffers stay as the first pass left them."""
        buffers = {name: b.clone() for name, b in self._stack.buffers.items()}
        grads = self._fresh()
        with torch.enable_grad():
            self._computed(batch, grads)
        for name, b in buffers.items():
            self._stack.buffers[name].copy_(b)
        self._clip(grads)
        return grads

    def _linearised(self, batch: _Batch, row: int) -> Linearised:
        """The model of a row on its batch, at what the weights are by now."""
        masks = {name: mask[row] for name, mask in batch.masks.items()}
        module, loss = self._backend.modules[0], self._backend.loss
        return linearise(module, self._stack, row, loss, batch.inputs[row], batch.targets[row], masks)

    def _clip(self, grads: Tensor) -> None:
        if self._clips:
            clip(grads, self._limits, self._backend.norms(grads))

    @contextmanager
    def evaluated(self) -> Iterator[Backend]:
        """The back-end; while this lasts, the stack holds the weights that the recipes are evaluated at."""
        with self._averages.evaluated(self._stack):
            yield self._backend

    def divisor(self) -> Tensor | None:
        """What the last step divided the gradients by, [K, P], as `Updater.divisor`."""
        return self._updater.divisor()

    def learning_rates(self) -> list[float]:
        """Learning rate of each row in the last step; 0 before the first."""
        return self._rates.learning_rates(self.step - 1) if self.step else [0.0] * len(self)

    def _epochs(self) -> list[int]:
        """Which epoch each row is in, from 0."""
        return [int(self.epoch(row)) for row in range(len(self))]

    def epoch(self, row: int) -> float:
        """Passes through its training data that a row has made."""
        return self._samples.epoch(row, self.step)

    def state_dicts(self, rows: Sequence[int]) -> list[dict[str, Tensor]]:
        """State dicts of these rows as checkpoints hold them: on the CPU, views of copies that they share."""
        return self._averages.state_dicts(self._stack, rows)

    def branch_points(self, rows: Sequence[int]) -> list[dict[str, Tensor]]:
        """All that resuming from here needs, for each of these rows: on the CPU, views of copies that they share."""
        chosen = torch.tensor(rows, device=self._stack.weights.device)
        copies = {name: t[chosen].cpu() for name, t in self.tensors().items()}
        copies["step"] = torch.full((len(rows),), self.step)
        return [{name: t[i] for name, t in copies.items()} for i in range(len(rows))]

    def start_from(self, points: Sequence[Mapping[str, Tensor]]) -> None:
        """Start where other trainings were, instead of at the initial weights.

        Args:
            points: of `branch_points`, one per row.

        Raises:
            SpecError: they are of different steps, or of other networks or optimizers.
        """
        tensors = joined(points, {name: t.shape[1:] for name, t in self.tensors().items()})
        self.load(tensors, int(tensors["step"][0]))

    def take(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in the middle of a step too."""
        keep = torch.tensor(rows, device=self._stack.weights.device)
        self._backend.take(keep)
        self._updater.take(keep, self._stack)
        self._averages.take(keep)
        if self._scaler is not None:
            self._scaler.take(keep)
        self._samples.take(keep)
        if self._past is not None:
            self._past.take(keep)
        self._masks.take(rows)
        self._rates.take(rows)
        self._limits = self._limits[keep]
        self._clips = _bounds(self._limits)
        if self._seeds is not None:
            self._seeds.roots = [self._seeds.roots[row] for row in rows]
        self._memory = None
        if self._batch is not None:
            self._batch = self._batch.take(keep)

    def tensors(self) -> dict[str, Tensor]:
        """All that changes from step to step, by name; of stacked optimizers each [K, ...]."""
        return {n: wide(self._stack.gathered(t)) for n, t in self.own_tensors().items()}

    @property
    def divided(self) -> bool:
        """Whether other processes hold parts of the model."""
        return self._stack.divided

    def parts(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The same of one model: what has an entry per weight, by `NAME//PARAMETER`, and the rest, by name.

        The first may be distributed among processes. Both are in the memory that the training uses.
        """
        own = self.own_tensors()
        rows = {n: t for n, t in own.items() if t.shape == self._stack.weights.shape}
        entries = {f"{n}//{p}": t for n, row in rows.items() for p, t in self._stack.by_parameter(row).items()}
        return entries, {n: t for n, t in own.items() if n not in rows}

    def own_tensors(self) -> dict[str, Tensor]:
        """What this process holds of `tensors`, in the memory that the training uses."""
        tensors = {f"buffer/{n}": b for n, b in self._stack.buffers.items()}
        tensors |= {f"updater/{n}": t for n, t in self._updater.state().items()}
        tensors |= {f"averages/{n}": t for n, t in self._averages.state().items()}
        if self._past is not None:
            tensors |= {f"past/{n}": t for n, t in self._past.state().items()}
        if self._scaler is not None:
            tensors |= {f"scaler/{n}": t for n, t in self._scaler.state().items()}
        return {"weights": self._stack.weights, **tensors}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Restore what `tensors` gave after `step` steps."""
        tensors = {n: self._stack.own_part(t) for n, t in tensors.items()}
        self._stack.weights.copy_(tensors["weights"])
        for name, buffer in self._stack.buffers.items():
            buffer.copy_(tensors[f"buffer/{name}"])
        self._updater.load(under("updater/", tensors))
        if self._scaler is not None:
            self._scaler.load(under("scaler/", tensors))
        self._averages.load(under("averages/", tensors), step)
        if self._past is not None:
            self._past.load(under("past/", tensors))
        self.step = step


def _updater_of(recipes: Sequence[Recipe], stack: Stack, data: Data) -> Updater:
    """The updater that the recipes' optimizers need."""
    methods, seeds = [r.optimizer for r in recipes], [r.seed for r in recipes]
    if named := [m for m in methods if isinstance(m, NamedClass)]:
        return ClassUpdater(named, stack, seeds)
    made_of = FusedUpdater if recipes[0].fused_step else StackedUpdater
    return made_of(methods, stack, seeds, [r.factors(data.shape, data.outputs) for r in recipes])


def _bounds(limits: Tensor) -> bool:
    """Whether any of these limits can bind; computed once, since reading it waits for the device."""
    return bool((limits < float("inf")).any())


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
