"""The training of a pack in this process: a calendar of steps becomes events."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.assembly import assemble
from landsweep.sweeps.lab.training.backends import Backend, backend_named, kin
from landsweep.sweeps.lab.training.blocks import Blocks, may_be_judged_together
from landsweep.sweeps.lab.training.calendar import Calendar
from landsweep.sweeps.lab.training.collective import Collective
from landsweep.sweeps.lab.training.evaluation import Evaluator
from landsweep.sweeps.lab.training.events import (
    Beat,
    BranchPoint,
    Checkpoint,
    Ended,
    Evaluated,
    ModelEvent,
    TrainingEvent,
)
from landsweep.sweeps.lab.training.graphs import Graphs, cannot_capture
from landsweep.sweeps.lab.training.roster import Roster
from landsweep.sweeps.lab.training.scores import Scores
from landsweep.sweeps.lab.training.spikes import Spikes
from landsweep.sweeps.lab.training.state import Arrays, as_arrays, read_state, recipes_digest
from landsweep.sweeps.lab.training.state_parts import Parts
from landsweep.sweeps.lab.training.stepper import Stepper
from landsweep.sweeps.lab.training.trainer import Trainer

__all__ = ["Training"]

_BEAT = 0.5  # seconds between events, at most; more only if a single step takes longer


class Training(Trainer):
    """A pack in training, made by `train_pack`. It decides when something happens; its parts do the work.

    The stepper and the scores work on rows of stacked tensors. Events name recipes by index. The roster maps one to the
    other.

    Args:
        recipes: of the models, with equal pack keys.
        data: of the recipes.
        backend: that trains.
        device: `cpu` or `cuda:0`.
        base: folder that relative paths start from.
        branch_steps: after which steps a `BranchPoint` of each model is emitted.
        exact: whether a model's bits do not depend on the number of rows; if they do, idle rows may pad the pack.
        gang: the processes that all run this training together; None: it is the only one.
        parts: stores the parts of a state that the gang has divided; None: states are whole.
        micro_batch: samples computed at a time; None: as the recipes say.
        graphs: whether steps on a GPU may be CUDA graphs.

    Attributes:
        calendar: when something happens.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        data: Data,
        backend: type[Backend],
        device: str,
        base: Path,
        branch_steps: Collection[int] = (),
        *,
        exact: bool,
        gang: Collective | None = None,
        parts: Parts | None = None,
        micro_batch: int | None = None,
        graphs: bool = False,
    ) -> None:
        self._gang, self._parts = gang, parts
        first = recipes[0]
        self._roster = Roster(len(recipes), exact=exact)
        rows = [*recipes, *[first] * (len(self._roster.rows) - len(recipes))]
        assembly = assemble(rows, data, backend, device, base)
        self.calendar = Calendar.of(first, assembly.samples.counts[0], branch_steps)
        evaluator = Evaluator(first, data, assembly.samples, assembly.loss.name)
        self._scores = Scores(first, evaluator, len(rows), assembly.stack.weights.device)
        self._stepper = Stepper(assembly, rows, data, self.calendar.total, micro_batch)
        together = gang is None and may_be_judged_together(
            first, assembly.samples, assembly.stack.weights.numel(), device
        )
        self._graphs: Graphs | None = None
        if graphs and torch.device(device).type == "cuda":
            reason = cannot_capture(first, assembly, together=together)
            self._graphs = Graphs(self._stepper, self.calendar.total, reason)
        self._blocks = Blocks(self._stepper, self._graphs) if together else None
        self._spikes, self._counts_skips = Spikes(first, len(rows)), first.skips
        self._skips: Counter[int] = Counter()  # steps left out, by model
        self._policy, self._recipes = first.checkpoints, rows
        self.started_at = 0
        self._at_start = True  # nothing has been emitted yet of the step at which it starts
        self._clock = time.perf_counter()  # up to when time has been charged to models
        self._queue: deque[TrainingEvent] = deque()
        self._emitted: list[ModelEvent] = []

    @property
    def backend(self) -> str:
        return self._stepper.backend

    @property
    def note(self) -> str:
        return "" if self._graphs is None else self._graphs.note

    @cached_property
    def _digest(self) -> str:
        """Of the recipes; only states need it, and it takes as long as some steps of a large pack."""
        return recipes_digest(self._recipes)

    @property
    def step(self) -> int:
        """How many steps have been made."""
        return self._stepper.step

    def __next__(self) -> TrainingEvent:
        while not self._queue:
            if not self._roster.active:
                raise StopIteration
            self._advance()
        return self._queue.popleft()

    def stop(self, index: int) -> None:
        self._roster.ask_to_stop(index)

    def drop(self, indices: Sequence[int]) -> None:
        if indices:
            self._leave(indices)

    def _advance(self) -> None:
        """Train until there is an event; a `Beat` comes after half a second at the latest."""
        began = self._clock = time.perf_counter()
        if rows := self._roster.to_stop():
            self._evaluate(rows)
            self._end(rows, "stopped")
        if self._at_start:
            self._at_start = False
            self._follow_calendar()
        goal = self.calendar.next_stop(self.step)
        while self.step < goal and self._roster.active and not self._is_time(began):
            self._make_steps(goal)
        if self.step == goal and self._roster.active:
            self._follow_calendar()
        self._charge()
        self._queue.append(Beat(self.step, self.calendar.total))

    def _is_time(self, began: float) -> bool:
        """Whether a beat is due; all members of a gang make it after the same step."""
        late = time.perf_counter() - began >= _BEAT
        return late if self._gang is None else self._gang.agree(late)

    def _make_steps(self, goal: int) -> None:
        """One step or more, up to a goal."""
        blocks = self._blocks
        losses = [] if blocks is None else blocks.make(goal, self._roster.active, self._roster.idle)
        for each in losses:
            self._scores.add(each)
        if not losses:
            self._make_step()

    def _make_step(self) -> None:
        losses = self._stepper.gradients()
        if not math.isfinite(float(losses.sum())):  # huge losses overflow too: then none is broken
            self._end_broken(losses)
            if not self._roster.active:
                return
            losses = self._stepper.losses
        skip = self._spiked(losses) if self._spikes.watches else []
        if not self._roster.active:
            return
        self._scores.add(self._stepper.update(self._roster.idle, skip))
        for row in set(self._stepper.skipped).intersection(self._roster.active):
            self._skips[self._roster.rows[row]] += 1

    def _spiked(self, losses: Tensor) -> list[int]:
        """Rows to leave out of this step, since their losses [K] are spikes; with `on_spike: stop` their models end."""
        spikes = {row: text for row, text in self._spikes.seen(losses.tolist()).items() if row in self._roster.active}
        if self._spikes.action == "skip":
            return list(spikes)
        if spikes:
            step, index = self.step + 1, self._roster.rows
            errors = {index[row]: f"the loss was {text} before it, at step {step}" for row, text in spikes.items()}
            self._end(list(spikes), "diverged", errors)
        return []

    def _end_broken(self, losses: Tensor) -> None:
        """End the models whose losses [K] are not finite, with the weights that they had before this step."""
        values = losses.tolist()
        broken = [row for row in self._roster.active if not math.isfinite(values[row])]
        if broken:
            errors = {self._roster.rows[row]: f"the loss was {values[row]} at step {self.step + 1}" for row in broken}
            self._end(broken, "diverged", errors)

    def _follow_calendar(self) -> None:
        """Do what the calendar has for this step."""
        over = self.step == self.calendar.total
        if self.step in self.calendar.evaluations:
            self._evaluate(self._roster.active)
        if self.step in self.calendar.snapshots and not (over and self._policy.last):
            for checkpoint in self._checkpoints(self._roster.active, f"step-{self.step:06d}"):
                self._emit(checkpoint)
        if self.step in self.calendar.branch_steps:
            rows = self._roster.active
            for row, point in zip(rows, self._stepper.branch_points(rows), strict=True):
                self._emit(BranchPoint(self._roster.rows[row], self.step, point))
        if self.step == self.calendar.branched_at:
            self._scores.start_batch_loss()
        if over:
            self._end_all()

    def _end_all(self) -> None:
        """After the last step: models whose last metrics are not finite have diverged too."""
        errors: dict[int, str | None] = {}
        diverged = []
        for row in self._roster.active:
            metrics = self._scores.last(self._roster.rows[row])
            odd = [f"{n} was {v}" for n, v in metrics.items() if n.endswith("_loss") and not math.isfinite(v)]
            if odd:
                errors[self._roster.rows[row]] = f"{', '.join(odd)} after the last step, {self.step}"
                diverged.append(row)
        self._end(diverged, "diverged", errors)
        self._end(self._roster.active, "ok")

    def _evaluate(self, rows: Sequence[int]) -> None:
        """Emit the metrics of these rows, and keep weights that are the best so far."""
        with self._stepper.evaluated() as backend:
            metrics = self._scores.measure(backend, self._stepper.learning_rates(), self._stepper.divisor)
        if self._gang is not None:
            metrics = self._gang.same(metrics)  # what follows from them must be the same on other devices too
        better = []
        for row in rows:
            event = Evaluated(self._roster.rows[row], self.step, self._stepper.epoch(row), metrics[row])
            self._emit(event)
            if self._scores.report(event):
                better.append(row)
        for checkpoint in self._checkpoints(better, "best"):
            self._scores.keep(checkpoint)

    def _checkpoints(self, rows: Sequence[int], label: str) -> list[Checkpoint]:
        """One for each of these rows."""
        if not rows:
            return []
        states = self._stepper.state_dicts(rows)
        return [
            Checkpoint(self._roster.rows[row], self.step, self._stepper.epoch(row), label, state)
            for row, state in zip(rows, states, strict=True)
        ]

    def _end(
        self,
        rows: Sequence[int],
        status: Literal["ok", "diverged", "stopped"],
        errors: Mapping[int, str | None] = {},
    ) -> None:
        """End the models of these rows: emit their last checkpoints and their `Ended`.

        Args:
            rows: of the models.
            status: as in `Ended`.
            errors: by index.
        """
        ending = [self._roster.rows[row] for row in rows]
        last = self._checkpoints(rows, "last") if self._policy.last else []
        for i, (row, index) in enumerate(zip(rows, ending, strict=True)):
            metrics, best = self._scores.last(index), self._scores.best(index)
            if (weights := self._scores.best_weights(index)) is not None:
                name = str(self._policy.best)
                metrics |= {"best_step": float(weights.step), f"best_{name}": best[name].value}
                self._emit(weights)
            if last:
                self._emit(last[i])
            if self._counts_skips:
                metrics |= {"skipped_steps": float(self._skips[index])}
            self._charge()
            seconds, epoch = self._roster.seconds(index), self._stepper.epoch(row)
            self._emit(Ended(index, status, self.step, epoch, metrics, errors.get(index), seconds, best))
            self._roster.end([index])
        self._leave(ending)

    def _leave(self, indices: Collection[int]) -> None:
        """Stop training these models, and remove rows that are no longer needed."""
        self._roster.end(indices)
        rows = self._roster.worth_keeping()
        if len(rows) < len(self._roster.rows):
            self._keep(rows)

    def _keep(self, rows: Sequence[int]) -> None:
        self._stepper.take(rows)
        self._scores.take(rows)
        self._spikes.take(rows)
        self._roster.take(rows)

    def _charge(self) -> None:
        """Share the time since the last charge among the models that train: of steps, evaluations and all."""
        now = time.perf_counter()
        self._roster.charge(now - self._clock)
        self._clock = now

    def _emit(self, event: ModelEvent) -> None:
        self._queue.append(event)
        self._emitted.append(event)

    def start_from(self, points: Sequence[Mapping[str, Tensor]]) -> None:
        """Start where other runs were, instead of at the initial weights.

        Args:
            points: states of `BranchPoint`s, one for each recipe.

        Raises:
            SpecError: they are of different steps, or of other networks or optimizers.
        """
        spare = len(self._roster.rows) - len(points)
        self._stepper.start_from([*points, *[points[0]] * spare])
        self.started_at = self.step

    def state(self) -> dict[str, NDArray[Any]]:
        """All that resuming needs, by name: a header, tensors, and all events so far.

        Events include the weights of checkpoints, since it is not known here whether they were stored. These are not
        copied; `FIXED_ARRAYS` says which arrays they are, so they need to be written only once.
        """
        header = {
            "recipes": self._digest,
            "backend": self.backend,
            "step": self.step,
            "began": self.started_at,
            "fresh": self._at_start,
            **self._roster.header(),
            **self._scores.header(),
            **self._spikes.header(),
            **({"skips": self._skips} if self._counts_skips else {}),
        }
        if self._parts is None or not self._stepper.divided:
            return as_arrays(header, {**self._stepper.tensors(), **self._scores.tensors()}, self._emitted)
        divided, rest = self._stepper.parts()
        return as_arrays(
            header, {**rest, **self._scores.tensors()}, self._emitted, self._parts.write(divided, self.step)
        )

    def written(self) -> None:
        if self._parts is not None:
            self._parts.wait()

    def restore(self, arrays: Arrays) -> None:
        saved = read_state(arrays)
        header = saved.header
        # A gang rounds otherwise than any back-end of one device, so it need not be a certain one that it goes on from.
        strange = not backend_named(self.backend).gang and kin(header["backend"]) != kin(self.backend)
        if header["recipes"] != self._digest or strange:
            raise SpecError(
                f"resume: the state is of {header['backend']} with recipes {header['recipes']}, but this training is "
                f"of {self.backend} with {self._digest}; give the same recipes in order, and that back-end"
            )
        if len(header["rows"]) < len(self._roster.rows):
            self._keep([self._roster.rows.index(index) for index in header["rows"]])
        tensors = saved.tensors
        if saved.parts is not None:
            if self._parts is None:
                raise SpecError("resume: parts of this state lie in other files, which can't be read from here")
            divided, rest = self._stepper.parts()
            self._parts.read(saved.parts, divided)
            tensors = {**self._stepper.own_tensors(), **{n: tensors[n] for n in rest}}
        self._stepper.load(tensors, header["step"])
        self._roster.load(header)
        self._scores.load(header, saved.tensors, saved.events)
        self._spikes.load(header)
        self._skips = Counter({int(index): count for index, count in header.get("skips", {}).items()})
        self.started_at, self._at_start = header["began"], header["fresh"]
        self._emitted = list(saved.events)
        self._queue.extend(saved.events)
