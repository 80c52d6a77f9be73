"""One pack in training on a worker: from units and recipes to outcomes and weights."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from orchestrator.errors import SpecError
from orchestrator.kind import Workbench
from orchestrator.row import Metric, Outcome, Progress, Status
from orchestrator.unit import Unit
from sweeps.lab.data import Data
from sweeps.lab.packs import Beat, Best, BranchPoint, Checkpoint, Ended, Evaluated, Training, train_pack
from sweeps.lab.recipe import Recipe
from sweeps.lab.zoo.branching import BEGUN, Points
from sweeps.lab.zoo.split import split_of
from sweeps.lab.zoo.states import States
from sweeps.lab.zoo.weights import Packed

__all__ = ["Pack"]


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
        points: where branches leave main runs; None: there are no branches.

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
                    yield Progress(self._units[event.index].key, event.step, event.metrics)
                case Checkpoint() | BranchPoint() | Ended():
                    self._hear(event, training)
                case Beat():
                    for i in self._places:
                        if i not in stopped and bench.stopped(self._units[i].key):
                            stopped.add(i)
                            training.stop(i)
                    if time.monotonic() - kept > bench.state_seconds:
                        self._keep(training)
                        kept = time.monotonic()

    def _hear(self, event: Checkpoint | BranchPoint | Ended, training: Training) -> None:
        match event:
            case Checkpoint():
                self.weights.add(self._places[event.index], event.label, event.step, event.state)
            case BranchPoint():
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
            branch_steps=() if self._points is None else self._points.steps(self._units[0]),
            start_from=begin,
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
            **_best_metrics(event.best),
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
        if self._points is not None:
            metrics[BEGUN.name] = training.started_at
        status = {"ok": Status.ok, "diverged": Status.diverged, "stopped": Status.pruned}[event.status]
        error = f"stopped after step {event.step}" if event.status == "stopped" else event.error
        return Outcome(unit.key, metrics, status, error, seconds=event.seconds)


def _best_metrics(best: Mapping[str, Best]) -> dict[str, Metric]:
    """The best values on each split but those that are trained on, and the step of the best on the test split."""
    reached = {n: b for n, b in best.items() if not n.startswith(("train_", "batch_"))}
    values: dict[str, Metric] = {"best_test_accuracy": None, "best_test_loss": None}
    values |= {f"best_{name}": b.value for name, b in reached.items()}
    test = reached.get("test_accuracy", reached.get("test_loss"))
    return {**values, "best_step": None if test is None else test.step}
