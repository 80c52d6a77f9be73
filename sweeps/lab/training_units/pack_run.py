"""One pack in training on a worker: from units and recipes to outcomes and weights."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Metric, Outcome, Progress, Status
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.checkpoints.stacked_file import Packed
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.data.stored import Unreadable
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Beat, Best, BranchPoint, Checkpoint, Ended, Evaluated, Trainer, train_pack
from landsweep.sweeps.lab.training.collective import Collective
from landsweep.sweeps.lab.training.lead import lead
from landsweep.sweeps.lab.training.state import read_header
from landsweep.sweeps.lab.training.state_parts import Parts
from landsweep.sweeps.lab.training_units.branching import BEGUN, Points
from landsweep.sweeps.lab.training_units.meters import Meters
from landsweep.sweeps.lab.training_units.saver import Saver
from landsweep.sweeps.lab.training_units.split import split_of
from landsweep.sweeps.lab.training_units.states import States

__all__ = ["PackRun"]

_TURN = 0.05  # s; how often training lets the worker send what has been reported


class PackRun:
    """Trains the models of one pack, and turns the events of its trainer into outcomes and weights.

    Args:
        bench: of this worker.
        states: stores the state of this pack as it trains.
        members: units and their recipes, which have equal pack keys.
        data: of the recipes.
        parameters: how many numbers one network has.
        backend: name of the back-end.
        note: why no faster back-end trains them, for the rows; empty if there is no reason to give.
        micro_batch: samples computed at a time; None: a whole batch.
        auto: whether the back-end was chosen by timing; then a saved state of another one will do as well.
        wanted: keys of the units to return; the others are only in the saved state, and are dropped after restoring it.
            None: all.
        points: the points at which branches leave main runs; None: there are no branches.
        gang: the processes that train the model together, of which this is the first; None: it trains alone.
        meters: of this worker; None: new ones.

    Attributes:
        recipe: of the first model.
        models: how many train, unwanted ones included.
        pack_key: of the recipes.
        outcomes: of the wanted models that have ended; they lack the place of the weights.
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
        micro_batch: int | None = None,
        auto: bool,
        wanted: Collection[str] | None = None,
        points: Points | None = None,
        gang: Collective | None = None,
        meters: Meters | None = None,
    ) -> None:
        self._units = [unit for unit, _ in members]
        self._recipes = [recipe for _, recipe in members]
        self._wanted = frozenset(u.key for u in self._units) if wanted is None else frozenset(wanted)
        wanted_indices = [i for i, unit in enumerate(self._units) if unit.key in self._wanted]
        self._slots = {index: slot for slot, index in enumerate(wanted_indices)}  # place among the weights, by index
        self.recipe, self.models = self._recipes[0], len(members)
        self.pack_key, self._micro_batch = self.recipe.pack_key(), micro_batch
        if micro_batch != self.recipe.micro_batch:
            note = "; ".join(
                filter(None, (note, f"{micro_batch} samples at a time, since more did not fit into memory"))
            )
        self.outcomes: list[Outcome] = []
        self.weights = Packed([self._units[i].key for i in self._slots], data.shape, data.outputs)
        self.state = States.name(self.pack_key, self._units, self._wanted)
        self._states, self._files = states, states.files(self.state, bench.states_kept)
        self._bench, self._data, self._points = bench, data, points
        self._backend, self._auto, self._gang, self._note = backend, auto, gang, note
        self._facts: dict[str, Metric] = {
            "parameters": parameters,
            "pack_size": len(members),
            "devices": 1 if gang is None else gang.size,
            "resumed_at": None,
        }
        self._saver, self._saves = Saver(self._files), True
        self._meters = Meters(bench) if meters is None else meters

    def train(self, resume: str | None = None) -> Iterator[Progress | None]:
        """Train to the end; yields evaluations on the way, and None as of `Session.evaluate`.

        Args:
            resume: name of the state to train on from; None: the pack's own, if there is one.

        Raises:
            Unreadable: the data can't be read, which holds for all units.
            RuntimeError: these models can't be trained as their recipes say.
        """
        self._meters.begin()
        try:
            trainer, saved = self._trainer(resume or self.state), time.monotonic()
            trainer.drop([i for i in range(len(self._units)) if i not in self._slots])
            try:
                yield from self._events(trainer, saved)
            finally:
                self._saver.finish()
        except Unreadable:
            raise
        except SpecError as e:  # of these models; as what it is, it would end the whole sweep
            raise RuntimeError(str(e)).with_traceback(e.__traceback__) from e.__cause__

    def _events(self, trainer: Trainer, saved: float) -> Iterator[Progress | None]:
        """Handle the trainer's events; the last state is from the monotonic time `saved`."""
        stopped: set[int] = set()
        turn = saved
        for event in trainer:
            if isinstance(event, Beat):
                if time.monotonic() - turn > _TURN:
                    yield None
                    turn = time.monotonic()
                for index in self._to_stop(stopped):
                    stopped.add(index)
                    trainer.stop(index)
                if time.monotonic() - saved > self._bench.state_seconds:
                    self._save(trainer)
                    saved = time.monotonic()
            elif event.index in self._slots:  # a restored state also repeats events of models that were dropped
                if isinstance(event, Evaluated):
                    yield Progress(self._units[event.index].key, event.step, event.metrics)
                else:
                    self._take(event, trainer)

    def _take(self, event: Checkpoint | BranchPoint | Ended, trainer: Trainer) -> None:
        match event:
            case Checkpoint():
                self.weights.add(self._slots[event.index], event.label, event.step, event.state)
            case BranchPoint():
                if self._points is not None:
                    self._points.keep(self._units[event.index], event.step, event.state)
            case Ended():
                self.outcomes.append(self._outcome(event, trainer))

    def _to_stop(self, stopped: Collection[int]) -> list[int]:
        return [i for i in self._slots if i not in stopped and self._bench.stopped(self._units[i].key)]

    def _trainer(self, name: str) -> Trainer:
        """The trainer, restored from the state of this name if that fits; else a new one."""
        files = self._files if name == self.state else self._states.files(name, self._bench.states_kept)
        misfits = False
        for state in files.all():
            try:
                trainer = self._new_trainer("auto" if self._auto else self._backend, state)
                self._facts["resumed_at"] = read_header(state)["step"]
                return trainer
            except Unreadable:
                raise
            except SpecError:
                misfits = True
        if misfits:
            files.drop()
        return self._new_trainer(self._backend, None)

    def _new_trainer(self, backend: str, resume: Mapping[str, NDArray[Any]] | None) -> Trainer:
        artifacts = self._bench.artifacts
        settings: dict[str, Any] = {
            "parts": None if artifacts is None else Parts(artifacts, self._files.stem, self._gang),
            "device": self._bench.device,
            "backend": backend,
            "resume": resume,
            "base": self._bench.folder,
            "branch_steps": () if self._points is None else self._points.steps(self._units[0]),
            "start_from": None if resume is not None or self._points is None else self._points.begin(self._units),
        }
        if self._gang is not None:
            return lead(self._gang, self._recipes[0], self._data, **settings)
        settings |= {"micro_batch": self._micro_batch, "graphs": self._bench.shortcuts}
        return train_pack(self._recipes, self._data, **settings)

    def _save(self, trainer: Trainer) -> None:
        if not self._saves:
            return
        self._saver.finish()  # before this one takes its memory
        try:
            state = trainer.state()
        except SpecError:  # an optimizer class holds something that can't be saved: train without states
            self._saves = False
        else:
            self._saver.save(self._units, self._wanted, state, trainer.written)

    def _outcome(self, event: Ended, trainer: Trainer) -> Outcome:
        unit, recipe = self._units[event.index], self._recipes[event.index]
        labels = self.weights.labels(self._slots[event.index])
        devices = 1 if self._gang is None else self._gang.size
        speed = self._meters.of(event, recipe, self._data, started_at=trainer.started_at, devices=devices)
        note = "; ".join(filter(None, (self._note, trainer.note)))
        speed |= {"backend_note": note or None}
        metrics = self._facts | speed | {"checkpoints": " ".join(labels), "backend": trainer.backend}
        if self._points is not None:
            metrics[BEGUN.name] = trainer.started_at
        return _outcome(unit.key, recipe, event, metrics)


def _outcome(key: str, recipe: Recipe, event: Ended, metrics: Mapping[str, Metric]) -> Outcome:
    """The outcome of a model that has ended.

    Args:
        key: of the unit.
        recipe: of the model.
        event: its end.
        metrics: those that say how it was trained.
    """
    last = {n: v for n, v in event.metrics.items() if n.endswith(("_loss", "_accuracy"))}
    columns: dict[str, Metric] = {
        **{n: v for n, v in last.items() if not n.startswith(("best_", "batch_"))},
        **{name: event.metrics.get(name) for name in recipe.evaluate.measured()},
        **_best_metrics(event.best),
        "steps_done": event.step,
        "epochs_done": event.epoch,
        "gradient_evaluations": event.step * recipe.optimizer.gradients,
        "diverged_step": event.step if event.status == "diverged" else None,
        **({"skipped_steps": int(event.metrics["skipped_steps"])} if "skipped_steps" in event.metrics else {}),
        "split": split_of(recipe.seed),
        **metrics,
    }
    status = {"ok": Status.ok, "diverged": Status.diverged, "stopped": Status.pruned}[event.status]
    error = f"stopped after step {event.step}" if event.status == "stopped" else event.error
    return Outcome(key, columns, status, error, seconds=event.seconds)


def _best_metrics(best: Mapping[str, Best]) -> dict[str, Metric]:
    """The best values on each split that is not trained on, and the step of the best one on the test split."""
    reached = {n: b for n, b in best.items() if not n.startswith(("train_", "batch_"))}
    values: dict[str, Metric] = {"best_test_accuracy": None, "best_test_loss": None}
    values |= {f"best_{name}": b.value for name, b in reached.items()}
    test = reached.get("test_accuracy", reached.get("test_loss"))
    return {**values, "best_step": None if test is None else test.step}
