"""One pack in training on a worker: from units and recipes to outcomes and weights."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from orchestrator.errors import SpecError
from orchestrator.kind import Workbench
from orchestrator.row import Metric, Outcome, Progress, Status
from orchestrator.unit import Unit
from sweeps.lab.data import Data
from sweeps.lab.packs import Beat, Ended, Evaluated, Point, Snapshot, Training, train_pack
from sweeps.lab.recipe import Recipe
from sweeps.lab.zoo.branches import BEGUN, Points
from sweeps.lab.zoo.split import split_of
from sweeps.lab.zoo.states import States
from sweeps.lab.zoo.weights import Packed

__all__ = ["Pack"]


class _Best:
    """The best of a model's evaluations on each split but those it is trained on."""

    def __init__(self) -> None:
        self._reached: dict[str, float] = {"test_accuracy": -math.inf, "test_loss": math.inf}
        self._step: int | None = None

    def hear(self, step: int, metrics: Mapping[str, float]) -> None:
        accuracy, loss = metrics.get("test_accuracy", math.nan), metrics.get("test_loss", math.nan)
        if accuracy > self._reached["test_accuracy"] or (math.isnan(accuracy) and loss < self._reached["test_loss"]):
            self._step = step
        for name, value in metrics.items():
            if name.startswith(("train_", "batch_")) or not math.isfinite(value):
                continue
            if name.endswith("_accuracy"):
                self._reached[name] = max(self._reached.get(name, -math.inf), value)
            elif name.endswith("_loss"):
                self._reached[name] = min(self._reached.get(name, math.inf), value)

    def metrics(self) -> dict[str, Metric]:
        best: dict[str, Metric] = {f"best_{n}": v if math.isfinite(v) else None for n, v in self._reached.items()}
        return best | {"best_step": self._step}


class Pack:
    """One pack in training.

    Args:
        bench: of this worker.
        states: where its state is kept.
        members: its units and their recipes, which have equal pack keys.
        data: of the recipes.
        parameters: how many numbers one network has.
        backend: that trains.
        note: why no faster one does, for the rows.
        auto: whether a state of another back-end may be gone on from.
        wanted: keys of the units that were asked for; others only stand in the state that is restored.
        points: where branches leave main runs; none: there are no branches.

    Attributes:
        outcomes: of its wanted models, once it has ended; without the place of the weights.
        weights: their checkpoints.
        state: name of its state.
    """

    def __init__(
        self,
        bench: Workbench,
        states: States,
        members: Sequence[tuple[Unit, Recipe]],
        data: Data,
        *,
        parameters: int,
        backend: str,
        note: str = "",
        auto: bool,
        wanted: Collection[str] | None = None,
        points: Points | None = None,
    ) -> None:
        self._points = points
        self._units = [unit for unit, _ in members]
        self._recipes = [recipe for _, recipe in members]
        self._wanted = frozenset(u.key for u in self._units) if wanted is None else frozenset(wanted)
        self._places = {i: n for n, i in enumerate(i for i, u in enumerate(self._units) if u.key in self._wanted)}
        self.outcomes: list[Outcome] = []
        self.weights = Packed([self._units[i].key for i in self._places], data.shape, data.outputs)
        self.state = States.name(self._recipes[0].pack_key(), self._units, self._wanted)
        self._bench, self._states = bench, states
        self._data, self._parameters = data, parameters
        self._best = [_Best() for _ in members]
        self._backend, self._note, self._auto = backend, note, auto
        self._can_keep = True

    def train(self, resume: str | None = None) -> Iterator[Progress]:
        """Train to the end; gives the evaluations on the way.

        Args:
            resume: name of the state to go on from; by default the pack's own, if there is one.
        """
        bench, training, kept = self._bench, self._begun(resume or self.state), time.monotonic()
        training.drop([i for i in range(len(self._units)) if i not in self._places])
        stopped: set[int] = set()
        for event in training:
            if not isinstance(event, Beat) and event.index not in self._places:
                continue
            match event:
                case Evaluated():
                    self._best[event.index].hear(event.step, event.metrics)
                    yield Progress(self._units[event.index].key, event.step, event.metrics)
                case Snapshot() | Point() | Ended():
                    self._hear(event, training)
                case Beat():
                    for i in self._places:
                        if i not in stopped and bench.stopped(self._units[i].key):
                            stopped.add(i)
                            training.stop(i)
                    if time.monotonic() - kept > bench.state_seconds:
                        self._keep(training)
                        kept = time.monotonic()

    def _hear(self, event: Snapshot | Point | Ended, training: Training) -> None:
        match event:
            case Snapshot():
                self.weights.add(self._places[event.index], event.label, event.step, event.state)
            case Point():
                if self._points is not None:
                    self._points.keep(self._units[event.index], event.step, event.state)
            case Ended():
                self.outcomes.append(self._outcome(event, training))

    def _begun(self, name: str) -> Training:
        """The training, from a kept state if one fits; what was done is lost where it does not, but not the sweep."""
        state = self._states.load(name)
        if state is not None:
            try:
                return self._training("auto" if self._auto else self._backend, state)
            except SpecError:
                self._states.drop(name)
        return self._training(self._backend, None)

    def _training(self, backend: str, resume: Mapping[str, NDArray[Any]] | None) -> Training:
        device, base = self._bench.device, self._bench.folder
        begin = None if resume is not None or self._points is None else self._points.begin(self._units)
        return train_pack(
            self._recipes,
            self._data,
            device=device,
            backend=backend,
            resume=resume,
            base=base,
            points=() if self._points is None else self._points.steps(self._units[0]),
            begin=begin,
        )

    def _keep(self, training: Training) -> None:
        if not self._can_keep:
            return
        try:
            state = training.state()
        except SpecError:  # an optimizer class with something that can't be kept: it trains all the same
            self._can_keep = False
        else:
            self._states.save(self.state, self._units, self._wanted, state)

    def _outcome(self, event: Ended, training: Training) -> Outcome:
        unit, recipe = self._units[event.index], self._recipes[event.index]
        diverged = event.status == "diverged"
        final = {k: v for k, v in event.metrics.items() if k.endswith(("_loss", "_accuracy"))}
        final = {k: v for k, v in final.items() if not k.startswith(("best_", "batch_"))}
        metrics: dict[str, Metric] = {
            **final,
            **{name: event.metrics.get(name) for name in recipe.evaluate.measured()},
            **self._best[event.index].metrics(),
            "steps_done": event.step,
            "epochs_done": event.epoch,
            "gradient_evaluations": event.step * recipe.optimizer.gradients,
            "diverged_step": event.step if diverged else None,
            "parameters": self._parameters,
            "split": split_of(recipe.seed),
            "checkpoints": " ".join(self.weights.labels(self._places[event.index])),
            "backend": training.backend,
            "backend_note": self._note or None,
            "pack_size": len(self._units),
        }
        if self._points is not None and self._points.used:
            metrics[BEGUN.name] = training.began
        status = {"ok": Status.ok, "diverged": Status.diverged, "stopped": Status.pruned}[event.status]
        error = f"stopped after step {event.step}" if event.status == "stopped" else event.error
        return Outcome(unit.key, metrics, status, error, seconds=event.seconds)
