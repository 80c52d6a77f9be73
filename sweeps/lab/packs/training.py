"""The training of a pack: an iterator of events whose whole state can be kept and gone on from."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator.errors import SpecError
from orchestrator.unit import digest
from sweeps.lab.data import Data
from sweeps.lab.identity import by_content
from sweeps.lab.models.own import OwnNet
from sweeps.lab.packs.assembly import assemble, dtype_of
from sweeps.lab.packs.averages import Averages
from sweeps.lab.packs.backends import Backend
from sweeps.lab.packs.calendar import Calendar
from sweeps.lab.packs.draws import counted
from sweeps.lab.packs.evaluation import Evaluator
from sweeps.lab.packs.events import Beat, Ended, Evaluated, PackEvent, Point, Snapshot
from sweeps.lab.packs.history import about_state, entries, pack_events, unpack_events
from sweeps.lab.packs.points import joined
from sweeps.lab.packs.proof import exact_rows
from sweeps.lab.packs.updater import Rates, clip, updater_of
from sweeps.lab.recipe import Recipe
from sweeps.lab.streams import stream

__all__ = ["Training"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
_BEAT = 0.5  # seconds between events, at most, as far as single steps are shorter
_SMALLEST = 8  # rows of a back-end that is not row-exact: from here on a model's bits do not depend on their number


class Training(Iterator[PackEvent]):
    """A pack in training: an iterator of events. Made by `train_pack`.

    Attributes:
        backend: the back-end that trains.
        step: how many steps have been made.
        began: of these, those that were made before it began: of a branch, by its main run.
        calendar: when something happens.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        data: Data,
        backend: type[Backend],
        device: str,
        base: Path,
        points: Collection[int] = (),
    ) -> None:
        first, given, recipes = recipes[0], len(recipes), list(recipes)
        self._exact = exact_rows(backend, first, data, device, base)
        if not self._exact:
            recipes += [first] * (_SMALLEST - given)
        self._recipes = recipes
        made = assemble(recipes, data, backend, device, base)
        self._samples, self._masks, self._stack, self._program = made.samples, made.masks, made.stack, made.program
        self.step = self.began = 0
        self.calendar = Calendar.of(first, self._samples.counts[0], points)
        self._evaluator = Evaluator(first, data, self._samples, made.loss)
        self._updater = updater_of(recipes, self._stack, [r.factors(data.shape, data.outputs) for r in recipes])
        self._rates = Rates(recipes, self.calendar.total)
        self._averages = Averages(first.averaging, self._stack)
        limits = [float("inf") if r.clip is None else r.clip for r in recipes]
        self._clip = torch.tensor(limits, dtype=dtype_of(first), device=device).unsqueeze(1)
        self._rows = list(range(len(recipes)))  # which recipe a row of the stack belongs to
        if isinstance(first.net, OwnNet):
            self._roots = [stream(r.seed, "dropout") for r in recipes]
            self._program.seeds = lambda: [counted(self._roots[index], self.step) for index in self._rows]
        self._dead = set(range(given, len(recipes)))  # recipes that have ended, but whose rows are still there
        self._last: dict[int, dict[str, float]] = {}
        self._best: dict[int, tuple[float, int, float, dict[str, Tensor]]] = {}
        self._sums = torch.zeros(len(recipes), dtype=torch.float64, device=device)
        self._summed = 0
        self._seconds = [0.0] * len(recipes)
        self._clock = time.perf_counter()  # up to when time has been charged to models
        self._stops: set[int] = set()
        self._queue: deque[PackEvent] = deque()
        self._told: list[PackEvent] = []
        self._fresh = True

    @property
    def backend(self) -> str:
        """Name of the back-end that trains."""
        return self._program.name

    def __next__(self) -> PackEvent:
        while not self._queue:
            if not self._alive():
                raise StopIteration
            self._advance()
        return self._queue.popleft()

    def stop(self, index: int) -> None:
        """Let the model of this recipe end now: it is evaluated, its `last` weights come, and it ends as `stopped`."""
        self._stops.add(index)

    def drop(self, indices: Sequence[int]) -> None:
        """Models of these recipes leave without a word: nothing more is told of them."""
        if indices:
            self._dead.update(indices)
            self._compact()

    def time_step(self) -> float:
        """Make one step as a trial, of all models, and give the seconds it took."""
        began = time.perf_counter()
        self._one_step()
        if self._stack.weights.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def _alive(self) -> list[int]:
        """Rows whose models have not ended."""
        return [row for row, index in enumerate(self._rows) if index not in self._dead]

    def _tell(self, event: PackEvent) -> None:
        self._queue.append(event)
        if not isinstance(event, Beat):
            self._told.append(event)

    def _advance(self) -> None:
        """Train until something happens, or for as long as a beat."""
        began = self._clock = time.perf_counter()
        if self._stops:
            self._end([row for row in self._alive() if self._rows[row] in self._stops], "stopped")
            self._stops.clear()
        if self._fresh:
            self._fresh = False
            self._mark()
        goal = self.calendar.next_stop(self.step)
        while self.step < goal and self._alive() and time.perf_counter() - began < _BEAT:
            self._one_step()
        if self.step == goal and self._alive():
            self._mark()
        self._charge()
        self._tell(Beat(self.step, self.calendar.total))

    def _charge(self) -> None:
        """Share the time since the last charge among the models that have not ended: of steps, evaluations and all."""
        now, alive = time.perf_counter(), self._alive()
        for row in alive:
            self._seconds[self._rows[row]] += (now - self._clock) / len(alive)
        self._clock = now

    def _one_step(self) -> None:
        inputs, targets = self._samples.batch(self.step)
        masks = self._masks.draw(self.step, inputs.shape[1])
        grads = torch.empty_like(self._stack.weights)
        losses = self._program.gradients(inputs, targets, masks, grads)
        if not bool(torch.isfinite(losses).all()):
            bad = ~torch.isfinite(losses)
            broken = [row for row in self._alive() if bad[row]]
            if broken:
                said = {self._rows[row]: f"the loss was {losses[row].item()} at step {self.step + 1}" for row in broken}
                kept = self._end(broken, "diverged", said)
                if not kept:
                    return
                rows = torch.tensor(kept, device=losses.device)
                grads, losses, inputs, targets = grads[rows], losses[rows], inputs[rows], targets[rows]
                masks = {name: m[rows] for name, m in masks.items()}
        self._clip_each(grads)
        frozen = [row for row, index in enumerate(self._rows) if index in self._dead]
        still = self._stack.weights[frozen] if frozen else None
        again = partial(self._again, inputs, targets, masks)
        self._updater.step(self._stack, grads, self._rates, self.step, losses, again)
        if still is not None:
            self._stack.weights[frozen] = still
        self._sums += losses
        self._summed += 1
        self.step += 1
        self._averages.hear(self._stack, self.step)

    def _again(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
        """Gradients of a batch at what the weights are by now; buffers stay as the first pass left them."""
        buffers = {name: b.clone() for name, b in self._stack.buffers.items()}
        grads = torch.empty_like(self._stack.weights)
        with torch.enable_grad():
            self._program.gradients(inputs, targets, masks, grads)
        for name, b in buffers.items():
            self._stack.buffers[name].copy_(b)
        self._clip_each(grads)
        return grads

    def _clip_each(self, grads: Tensor) -> None:
        if bool((self._clip < float("inf")).any()):
            clip(grads, self._clip)

    def _mark(self) -> None:
        """What the calendar asks for at this step."""
        alive = self._alive()
        over = self.step == self.calendar.total
        if self.step in self.calendar.evaluations:
            self._evaluate(alive)
        if self.step in self.calendar.snapshots and not (over and self._recipes[0].checkpoints.last):
            for row in alive:
                self._snapshot(row, f"step-{self.step:06d}")
        if self.step in self.calendar.points:
            marked = {**self._tensors(), "step": torch.full((len(self._rows),), self.step)}
            for row in alive:
                self._tell(Point(self._rows[row], self.step, {n: t[row].cpu().clone() for n, t in marked.items()}))
        if self.step == self._recipes[0].branched_at:
            self._sums.zero_()
            self._summed = 0
        if over:
            bad = {self._rows[row]: self._blown(row) for row in alive}
            self._end([row for row in alive if bad[self._rows[row]]], "diverged", bad)
            self._end(self._alive(), "ok")

    def _blown(self, row: int) -> str | None:
        """What is not finite at the end of training, if anything."""
        metrics = self._last.get(self._rows[row], {})
        bad = [f"{n} was {v}" for n, v in metrics.items() if n.endswith("_loss") and not np.isfinite(v)]
        return f"{', '.join(bad)} after the last step, {self.step}" if bad else None

    def _evaluate(self, rows: Sequence[int]) -> None:
        """Metrics of these rows, told and remembered; the best weights so far are set aside."""
        with self._averages.evaluated(self._stack):
            found = self._evaluator(self._program)
        means = (self._sums / max(self._summed, 1)).tolist()
        rates = self._rates.learning_rates(self.step - 1) if self.step else [0.0] * len(self._rows)
        best = self._recipes[0].checkpoints.best
        for row in rows:
            index, epoch = self._rows[row], self._samples.epoch(row, self.step)
            metrics = dict(found[row])
            if self._summed:
                metrics |= {"batch_loss": means[row], "learning_rate": rates[row]}
            self._last[index] = metrics
            self._tell(Evaluated(index, self.step, epoch, metrics))
            if best is None:
                continue
            if best not in metrics:
                raise SpecError(f"checkpoints.best: there is no metric {best!r}; there are {', '.join(metrics)}")
            value, sign = metrics[best], -1 if best.endswith("_loss") else 1
            if np.isfinite(value) and (index not in self._best or sign * value > sign * self._best[index][0]):
                self._best[index] = (value, self.step, epoch, self._averages.kept(self._stack, row))
        self._sums.zero_()
        self._summed = 0

    def _snapshot(self, row: int, label: str) -> None:
        epoch = self._samples.epoch(row, self.step)
        self._tell(Snapshot(self._rows[row], self.step, epoch, label, self._averages.kept(self._stack, row)))

    def _end(
        self, rows: Sequence[int], status: Literal["ok", "diverged", "stopped"], said: Mapping[int, str | None] = {}
    ) -> list[int]:
        """Models end; gives the rows that are left in the stack, by their old numbers."""
        if status == "stopped" and rows:
            self._evaluate(rows)
        policy = self._recipes[0].checkpoints
        for row in rows:
            index = self._rows[row]
            metrics = dict(self._last.get(index, {}))
            if index in self._best:
                value, step, epoch, state = self._best.pop(index)
                metrics |= {"best_step": float(step), f"best_{policy.best}": value}
                self._tell(Snapshot(index, step, epoch, "best", state))
            if policy.last:
                self._snapshot(row, "last")
            epoch = self._samples.epoch(row, self.step)
            self._charge()
            self._tell(Ended(index, status, self.step, epoch, metrics, said.get(index), self._seconds[index]))
            self._dead.add(index)
        return self._compact()

    def _compact(self) -> list[int]:
        """Take out rows of models that have ended, as far as no other row's bits change by it."""
        alive, everyone = self._alive(), list(range(len(self._rows)))
        keep = alive
        if not self._exact:
            spare = [row for row in everyone if row not in alive]
            keep = sorted(alive + spare[: max(_SMALLEST - len(alive), 0)])
            if len(keep) > len(everyone) // 2:  # copying costs, and so does a smaller stack at first
                keep = everyone
        if alive and len(keep) < len(everyone):
            self._keep(keep)
            return keep
        return everyone if alive else []

    def _keep(self, rows: Sequence[int]) -> None:
        keep = torch.tensor(rows, device=self._stack.weights.device)
        self._program.take(keep)
        self._updater.take(keep, self._stack)
        self._averages.take(keep)
        self._samples.take(keep)
        self._masks.take(rows)
        self._rates.take(rows)
        self._clip, self._sums = self._clip[keep], self._sums[keep]
        self._rows = [self._rows[row] for row in rows]

    def _tensors(self) -> dict[str, Tensor]:
        """What training changes from step to step, but for sums of losses; of stacked optimizers all [K, ...]."""
        tensors = {f"buffer/{n}": b for n, b in self._stack.buffers.items()}
        tensors |= {f"updater/{n}": t for n, t in self._updater.state().items()}
        tensors |= {f"averages/{n}": t for n, t in self._averages.state().items()}
        return {"weights": self._stack.weights, **tensors}

    @torch.no_grad()
    def _go_on(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Take on what `_tensors` gave after so many steps."""
        self._stack.weights.copy_(tensors["weights"])
        for name, buffer in self._stack.buffers.items():
            buffer.copy_(tensors[f"buffer/{name}"])
        self._updater.load(_part(tensors, "updater/"))
        self._averages.load(_part(tensors, "averages/"), step)
        self.step = step

    def begin(self, points: Sequence[Mapping[str, Tensor]]) -> None:
        """Start where other runs were, one for each recipe, instead of at the initial weights.

        Raises:
            SpecError: they are of different steps, or of other networks or optimizers.
        """
        rows = [*points, *[points[0]] * (len(self._recipes) - len(points))]
        tensors = joined(rows, {name: t.shape[1:] for name, t in self._tensors().items()})
        self._go_on(tensors, int(tensors["step"][0]))
        self.began = self.step

    def state(self) -> dict[str, NDArray[Any]]:
        """All that going on needs, between two events: weights, buffers, optimizer, position, and what was told so far.

        Snapshots that were told are part of it: with a policy that keeps many, a state is as large as they are.
        """
        best = {str(i): [value, step, epoch] for i, (value, step, epoch, _) in self._best.items()}
        about = {
            "recipes": _digest(self._recipes),
            "backend": self.backend,
            "step": self.step,
            "began": self.began,
            "rows": self._rows,
            "dead": sorted(self._dead),
            "fresh": self._fresh,
            "summed": self._summed,
            "seconds": self._seconds,
            "last": {str(i): m for i, m in self._last.items()},
            "best": best,
        }
        tensors = {**self._tensors(), "sums": self._sums}
        tensors |= {f"best/{i}/{n}": t for i, (*_, state) in self._best.items() for n, t in state.items()}
        arrays = {name: t.detach().cpu().numpy().copy() for name, t in tensors.items()} | pack_events(self._told)
        about["entries"] = entries(arrays)
        return {"about": np.frombuffer(json.dumps(about).encode(), np.uint8).copy(), **arrays}

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `state` gave; what was told before is told again first.

        Raises:
            SpecError: the state is of other recipes, or of another back-end, or not whole.
        """
        about = about_state(arrays)
        if about["recipes"] != _digest(self._recipes) or about["backend"] != self.backend:
            raise SpecError(
                f"resume: the state is of {about['backend']} with recipes {about['recipes']}, but this training is of "
                f"{self.backend} with {_digest(self._recipes)}; give the same recipes in order, and that back-end"
            )
        if len(about["rows"]) < len(self._rows):
            self._keep([self._rows.index(index) for index in about["rows"]])
        tensors = {n: torch.from_numpy(np.array(a)) for n, a in arrays.items()}
        self._go_on(tensors, about["step"])
        self._sums = tensors["sums"].to(self._stack.weights.device)
        self.began, self._fresh, self._summed = about["began"], about["fresh"], about["summed"]
        self._dead, self._seconds = set(about["dead"]), about["seconds"]
        self._last = {int(i): m for i, m in about["last"].items()}
        for i, (value, step, epoch) in about["best"].items():
            self._best[int(i)] = (value, step, epoch, _part(tensors, f"best/{i}/"))
        self._told = unpack_events(arrays)
        self._queue.extend(self._told)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _digest(recipes: Sequence[Recipe]) -> str:
    return digest([by_content(r.model_dump(mode="json")) for r in recipes], size=8)
