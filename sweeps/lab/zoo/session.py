"""A zoo on one worker: units into packs, packs into files of weights, events into rows."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from orchestrator.errors import SpecError
from orchestrator.kind import Workbench
from orchestrator.row import Metric, Outcome, Progress, Status
from orchestrator.unit import Unit, canonical, digest
from sweeps.lab.data import Data
from sweeps.lab.models import check_fit, parameter_count
from sweeps.lab.packs import Beat, Ended, Evaluated, Snapshot, Training, check_backend, choose, train_pack
from sweeps.lab.packs.calendar import Calendar
from sweeps.lab.packs.calibrate import Choice
from sweeps.lab.recipe import Recipe
from sweeps.lab.zoo.plan import Grid, Recipes, Swept
from sweeps.lab.zoo.split import split_of
from sweeps.lab.zoo.weights import Packed, Place, WeightFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DataSets", "Trained", "ZooSession", "check_recipes"]

STATE_SECONDS = 60.0  # a pack that trains for longer keeps its state so often
FILE_BYTES = 256 * 2**20
_LARGEST = {"cpu": 128, "cuda": 512}  # models in a pack whose back-end is pinned, so that nothing is timed
FILE_SECONDS = 60.0  # rows wait at most so long for the file that their weights lie in to be filled


class DataSets:
    """Data sets by what their spec says, each loaded once."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._known: dict[str, Data] = {}

    def of(self, recipe: Recipe) -> Data:
        """The data of a recipe, on the worker's device."""
        mark = canonical(recipe.data.model_dump(mode="json"))
        if mark not in self._known:
            self._known[mark] = recipe.data.load(self._bench.folder).to(self._bench.device)
        return self._known[mark]


class Trained(Swept, Protocol):
    """A zoo's spec as a session needs it."""

    @property
    def backend(self) -> str: ...


def check_recipes(spec: Trained, bench: Workbench) -> None:
    """Load the data and build one network for each pack key.

    Raises:
        SpecError: a recipe is not valid, or its parts do not fit together.
    """
    torch.set_num_threads(bench.threads)
    recipes, data_sets = Recipes(spec), DataSets(bench)
    seen = set()
    for params in Grid(spec):
        recipe = recipes.of(params, f"the recipe with {dict(params)}")
        if (mark := recipe.pack_key()) in seen:
            continue
        seen.add(mark)
        data = data_sets.of(recipe)
        if recipe.split not in data.splits:
            raise SpecError(f"recipe.split: there is no split {recipe.split!r}; the data has {list(data.splits)}")
        evaluated = recipe.evaluate.splits or tuple(data.splits)
        if unknown := [s for s in evaluated if s not in data.splits]:
            raise SpecError(f"recipe.evaluate.splits: there is no split {unknown[0]!r}; there are {list(data.splits)}")
        declared = {"train", "test", *(spec.recipe.evaluate.splits or ())}
        if extra := [s for s in evaluated if s not in declared]:
            raise SpecError(
                f"recipe.evaluate.splits: the data has a split {extra[0]!r}, which has no columns; "
                f"list the splits to evaluate, of {list(data.splits)}"
            )
        samples = max(1, round(len(data.splits[recipe.split]) * recipe.train_fraction))
        if recipe.batch_size > samples:
            raise SpecError(f"recipe.batch_size: {recipe.batch_size} is more than the {samples} samples of training")
        check_fit(recipe.net, data, bench.folder, "recipe.net")
        Calendar.of(recipe, samples)
        check_backend(spec.backend, recipe, data, bench.folder)
        metrics = [f"{s}_{m}" for s in evaluated for m in (("loss", "accuracy") if data.classes else ("loss",))]
        if (best := recipe.checkpoints.best) is not None and best not in metrics:
            raise SpecError(f"checkpoints.best: there is no metric {best!r}; there are {', '.join(metrics)}")


@dataclass(slots=True)
class _Best:
    """The best of a model's evaluations on the test split."""

    accuracy: float = -math.inf
    loss: float = math.inf
    step: int | None = None

    def hear(self, step: int, metrics: Mapping[str, float]) -> None:
        accuracy, loss = metrics.get("test_accuracy", math.nan), metrics.get("test_loss", math.nan)
        if accuracy > self.accuracy or (math.isnan(accuracy) and loss < self.loss):
            self.step = step
        self.accuracy = max(self.accuracy, accuracy) if math.isfinite(accuracy) else self.accuracy
        self.loss = min(self.loss, loss) if math.isfinite(loss) else self.loss

    def metrics(self) -> dict[str, Metric]:
        return {
            "best_test_accuracy": self.accuracy if math.isfinite(self.accuracy) else None,
            "best_test_loss": self.loss if math.isfinite(self.loss) else None,
            "best_step": self.step,
        }


class ZooSession:
    """Trains the units of a shard pack by pack.

    Args:
        spec: of the sweep.
        bench: of this worker.
    """

    def __init__(self, spec: Trained, bench: Workbench) -> None:
        torch.set_num_threads(bench.threads)
        self._recipes = Recipes(spec)
        self._data = DataSets(bench)
        self._bench = bench
        self._pinned = spec.backend
        self._counts: dict[str, int] = {}

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress]:
        """Outcomes come when the file with their weights has been written, so that no row names a missing file."""
        file = WeightFile(self._bench.artifacts)
        waiting: list[Outcome] = []
        states: list[str] = []
        opened = time.monotonic()
        parsed = [(unit, self._recipes.of(unit.params)) for unit in units]
        for _, group in itertools.groupby(parsed, key=lambda pair: pair[1].pack_key()):
            for members in self._packs(list(group)):
                recipe = members[0][1]
                pack = _Pack(self._bench, members, self._data.of(recipe), self._parameters(recipe), self._pinned)
                yield from pack.train()
                file.add(pack.weights)
                waiting += pack.outcomes
                states.append(pack.state_file)
                if file.size > FILE_BYTES or time.monotonic() - opened > FILE_SECONDS:
                    yield from self._written(file, waiting, states)
                    opened = time.monotonic()
        yield from self._written(file, waiting, states)

    def _choice(self, recipe: Recipe) -> Choice:
        return choose(recipe, self._data.of(recipe), device=self._bench.device, base=self._bench.folder)

    def _packs(self, members: list[tuple[Unit, Recipe]]) -> Iterator[list[tuple[Unit, Recipe]]]:
        """Units of equal pack key in packs of the size that is fastest here."""
        if self._pinned == "auto":
            size = self._choice(members[0][1]).size
        else:
            size = 1 if self._pinned == "loop" else _LARGEST[self._bench.device.split(":")[0]]
        return (members[i : i + size] for i in range(0, len(members), size))

    def _written(self, file: WeightFile, waiting: list[Outcome], states: list[str]) -> Iterator[Outcome]:
        places = file.write()
        for outcome in waiting:
            found = _place_metrics(places.get(outcome.key))
            yield Outcome(
                outcome.key, {**outcome.metrics, **found}, outcome.status, outcome.error, seconds=outcome.seconds
            )
        if self._bench.artifacts is not None:
            for name in states:
                self._bench.artifacts.drop(name)
        waiting.clear()
        states.clear()

    def _parameters(self, recipe: Recipe) -> int:
        key = recipe.pack_key()
        if key not in self._counts:
            data = self._data.of(recipe)
            module = recipe.net.build(data.shape, data.outputs, recipe.seed, self._bench.folder)
            self._counts[key] = parameter_count(module)
        return self._counts[key]


def _place_metrics(place: Place | None) -> dict[str, Metric]:
    if place is None:
        return {}
    return {
        "weights_file": place.file,
        "weights_pack": place.pack,
        "weights_slot": place.slot,
        "weights_checksum": place.checksum,
    }


class _Pack:
    """One pack in training.

    Attributes:
        outcomes: of its models, once it has ended; without the place of the weights.
        weights: its checkpoints.
        state_file: where its state is kept while it trains.
    """

    def __init__(
        self, bench: Workbench, members: Sequence[tuple[Unit, Recipe]], data: Data, parameters: int, backend: str
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.weights = Packed([unit.key for unit, _ in members], data.shape, data.outputs)
        self.state_file = f"states/pack-{digest([unit.key for unit, _ in members], size=8)}.safetensors"
        self._bench = bench
        self._units = [unit for unit, _ in members]
        self._recipes = [recipe for _, recipe in members]
        self._data = data
        self._parameters = parameters
        self._best = [_Best() for _ in members]
        self._backend = backend
        self._can_keep = True

    def train(self) -> Iterator[Progress]:
        """Train to the end; gives the evaluations on the way."""
        bench, training, kept = self._bench, self._begun(), time.monotonic()
        stopped: set[int] = set()
        for event in training:
            match event:
                case Evaluated():
                    self._best[event.index].hear(event.step, event.metrics)
                    yield Progress(self._units[event.index].key, event.step, event.metrics)
                case Snapshot():
                    self.weights.add(event.index, event.label, event.step, event.state)
                case Ended():
                    self.outcomes.append(self._outcome(event, training.backend))
                case Beat():
                    for i, unit in enumerate(self._units):
                        if i not in stopped and bench.stopped(unit.key):
                            stopped.add(i)
                            training.stop(i)
                    if time.monotonic() - kept > STATE_SECONDS:
                        self._keep(training)
                        kept = time.monotonic()

    def _begun(self) -> Training:
        """The training, from the state that was kept, if one fits: its back-end may be another than would be chosen."""
        artifacts = self._bench.artifacts
        resume = artifacts.load(self.state_file) if artifacts else None
        if artifacts is not None and resume is not None:
            try:
                return self._training(resume)
            except SpecError:  # of another back-end than the pinned one: what was done is lost, but not the sweep
                artifacts.drop(self.state_file)
        return self._training(None)

    def _training(self, resume: dict[str, NDArray[Any]] | None) -> Training:
        return train_pack(
            self._recipes,
            self._data,
            device=self._bench.device,
            backend=self._backend,
            resume=resume,
            base=self._bench.folder,
        )

    def _keep(self, training: Training) -> None:
        if self._bench.artifacts is None or not self._can_keep:
            return
        try:
            state = training.state()
        except SpecError:  # an optimizer class with something that can't be kept: it trains all the same
            self._can_keep = False
        else:
            self._bench.artifacts.save(self.state_file, state)

    def _outcome(self, event: Ended, backend: str) -> Outcome:
        unit, recipe = self._units[event.index], self._recipes[event.index]
        diverged = event.status == "diverged"
        final = {k: v for k, v in event.metrics.items() if k.endswith(("_loss", "_accuracy"))}
        final = {k: v for k, v in final.items() if not k.startswith(("best_", "batch_"))}
        metrics: dict[str, Metric] = {
            **final,
            **self._best[event.index].metrics(),
            "steps_done": event.step,
            "epochs_done": event.epoch,
            "gradient_evaluations": event.step * recipe.optimizer.gradients,
            "diverged_step": event.step if diverged else None,
            "parameters": self._parameters,
            "split": split_of(recipe.seed),
            "checkpoints": " ".join(self.weights.labels(event.index)),
            "backend": backend,
            "pack_size": len(self._units),
        }
        status = Status.diverged if diverged else Status.ok
        return Outcome(unit.key, metrics, status, event.error, seconds=event.seconds)
