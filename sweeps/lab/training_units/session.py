"""Trainings on one worker: units become packs, packs become files of weights, and events become rows."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.row import Metric, Outcome, Progress
from landsweep.orchestrator.unit import Unit, canonical
from landsweep.sweeps.lab.arithmetic import check_precision
from landsweep.sweeps.lab.checkpoints.stacked_file import ModelPlace, WeightFile
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.device import settle
from landsweep.sweeps.lab.models import check_fit, parameter_count
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.training import Choice, check_backend, prove_backend, suited
from landsweep.sweeps.lab.training.assembly import layers_of
from landsweep.sweeps.lab.training.backends import BACKENDS, gang_backend, single
from landsweep.sweeps.lab.training.calendar import Calendar
from landsweep.sweeps.lab.training.collective import Collective
from landsweep.sweeps.lab.training.micro_batches import cannot_split
from landsweep.sweeps.lab.training.streamed import check_stored
from landsweep.sweeps.lab.training_units.branching import Points
from landsweep.sweeps.lab.training_units.calibration import Choices
from landsweep.sweeps.lab.training_units.meters import Meters
from landsweep.sweeps.lab.training_units.pack_run import PackRun
from landsweep.sweeps.lab.training_units.recipes import Recipes
from landsweep.sweeps.lab.training_units.states import States

__all__ = ["DataSets", "TrainingSession", "check_recipes"]

Member: TypeAlias = tuple[Unit, Recipe]

FILE_BYTES = 256 * 2**20
FILE_SECONDS = 60.0  # rows wait at most this long for the file that their weights lie in to be filled


class DataSets:
    """Data sets, each loaded once."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._loaded: dict[str, Data] = {}

    def of(self, recipe: Recipe) -> Data:
        """The data of a recipe, on the worker's device."""
        source = canonical(recipe.data.model_dump(mode="json"))
        if source not in self._loaded:
            self._loaded[source] = recipe.data.load(self._bench.folder).to(self._bench.device)
        return self._loaded[source]


def check_recipes(recipes: Iterable[Recipe], declared: Collection[str], backend: str, bench: Workbench) -> None:
    """Load the data and build one network for each pack key.

    Args:
        recipes: of all units.
        declared: splits of the data whose metrics have columns.
        backend: of the spec.
        bench: of this worker.

    Raises:
        SpecError: a recipe is not valid, or its parts do not fit together.
    """
    settle(bench)
    if len(bench.devices) > 1:
        raise SpecError(
            f"site.gpus: a worker has {len(bench.devices)} GPUs, but trains its models on one; give 1, or a share"
        )
    data_sets = DataSets(bench)
    seen = set()
    for recipe in recipes:
        if (facts := (recipe.pack_key(), recipe.train_fraction)) in seen:
            continue
        seen.add(facts)
        data = data_sets.of(recipe)
        if recipe.split not in data.splits:
            raise SpecError(f"recipe.split: there is no split {recipe.split!r}; the data has {list(data.splits)}")
        evaluated = recipe.evaluate.splits or tuple(data.splits)
        if unknown := [s for s in evaluated if s not in data.splits]:
            raise SpecError(f"recipe.evaluate.splits: there is no split {unknown[0]!r}; there are {list(data.splits)}")
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
        recipe.loss_on(data)
        check_stored(recipe, data)
        check_precision(recipe.precision, bench.device)
        check_backend(backend, recipe, data, bench.folder)
        # What `auto` times is proved when it is timed, and what compiles when it is compiled: that takes seconds.
        proved = "loop" if backend == "auto" or BACKENDS[backend].compiles else backend
        prove_backend(proved, recipe, data, bench.device, bench.folder)
        metrics = [f"{s}_{m}" for s in evaluated for m in (("loss", "accuracy") if data.classes else ("loss",))]
        if (best := recipe.checkpoints.best) is not None and best not in metrics:
            raise SpecError(f"checkpoints.best: there is no metric {best!r}; there are {', '.join(metrics)}")


class TrainingSession:
    """Trains the units of a shard pack by pack.

    Args:
        backend: of the spec.
        recipes: of the sweep's units.
        bench: of this worker.
        prepared: the back-end and size chosen for each pack, by name of the preparation.
        points: the points at which branches leave main runs; None: there are no branches.
    """

    def __init__(
        self,
        backend: str,
        recipes: Recipes,
        bench: Workbench,
        prepared: Mapping[str, Arrays] = {},
        points: Points | None = None,
    ) -> None:
        settle(bench)
        self._recipes, self._points = recipes, points
        self._gang = None if bench.gang is None else Collective.of(bench.gang, bench.device)
        self._together, backend = gang_backend(backend), single(backend)
        self._data = DataSets(bench)
        self._bench = bench
        self._choices = Choices(backend, prepared, bench)
        self._auto = backend == "auto"
        self._states = States(bench.artifacts)
        self._counts: dict[str, int] = {}
        self._running: PackRun | None = None
        self._meters = Meters(bench)

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """Outcomes come when the file with their weights has been written, so that no row names a missing file."""
        file = WeightFile(self._bench.artifacts)
        waiting: list[Outcome] = []
        states: list[str] = []
        opened = time.monotonic()
        parsed = [(unit, self._recipes.of(unit.params)) for unit in units]
        for pack_key, group in itertools.groupby(parsed, key=lambda pair: pair[1].pack_key()):
            alike = list(group)
            unit, recipe = alike[0]
            data = self._data.of(recipe)
            main = recipe if self._points is None else self._points.main(unit)
            # A branch is computed as its main run.
            choice = self._choices.of(main, data, pack_key) if self._gang is None else Choice(self._together, 1)
            for pack, resume in self._packs(alike, data, choice):
                self._running = pack
                with settings_kept():  # each pack begins with the same ones, whatever its network sets
                    yield from pack.train(resume)
                self._running = None
                file.add(pack.weights)
                waiting += pack.outcomes
                states.append(pack.state)
                if file.size > FILE_BYTES or time.monotonic() - opened > FILE_SECONDS:
                    yield from self._written(file, waiting, states)
                    opened = time.monotonic()
        yield from self._written(file, waiting, states)

    def save_memory(self) -> bool:
        """Halve the packs of the kind that ran out of memory; of a single model, halve its micro-batches."""
        pack, self._running = self._running, None
        if pack is None:
            return False
        if pack.models == 1:
            # Members of a gang must stay in step. For own networks only a recipe's own `micro_batch` is proved right.
            splits = self._gang is None and not pack.recipe.net.own_code and not self._whole_batches(pack.recipe)
            return splits and self._choices.split(pack.recipe)
        self._choices.shrink(pack.pack_key, pack.models // 2)
        self._states.drop(pack.state)  # it would not fit either
        return True

    def _packs(self, alike: Sequence[Member], data: Data, choice: Choice) -> Iterator[tuple[PackRun, str | None]]:
        """Units of one pack key as packs: first those that resume from a state, with its name, then the rest."""
        unassigned = {unit.key: (unit, recipe) for unit, recipe in alike}
        pack_key, parameters = alike[0][1].pack_key(), self._parameters(alike[0][1])
        for saved in self._states.left(pack_key):
            wanted = saved.alive.intersection(unassigned)
            if wanted and self._choices.fits(pack_key, len(saved.units)):
                members = [unassigned.get(u.key) or (u, self._recipes.of(u.params)) for u in saved.units]
                for key in wanted:
                    del unassigned[key]
                yield self._pack(members, data, choice, parameters, wanted), saved.name
        rest = list(unassigned.values())
        for start in range(0, len(rest), choice.size):
            yield self._pack(rest[start : start + choice.size], data, choice, parameters), None

    def _pack(
        self,
        members: Sequence[Member],
        data: Data,
        choice: Choice,
        parameters: int,
        wanted: Collection[str] | None = None,
    ) -> PackRun:
        backend = choice.backend
        if self._auto and self._gang is None:
            recipes = [recipe for _, recipe in members]
            backend = suited(backend, recipes, data, self._bench.device, self._bench.folder)
        return PackRun(
            self._bench,
            self._states,
            members,
            data,
            parameters=parameters,
            backend=backend,
            note=choice.note,
            micro_batch=self._choices.micro_batch(members[0][1]),
            auto=self._auto and self._gang is None,
            wanted=wanted,
            points=self._points,
            gang=self._gang,
            meters=self._meters,
        )

    def _written(self, file: WeightFile, waiting: list[Outcome], states: list[str]) -> Iterator[Outcome]:
        places = file.write()
        for outcome in waiting:
            place = _place_metrics(places.get(outcome.key))
            yield Outcome(
                outcome.key, {**outcome.metrics, **place}, outcome.status, outcome.error, seconds=outcome.seconds
            )
        for name in states:
            self._states.drop(name)
        waiting.clear()
        states.clear()

    def _whole_batches(self, recipe: Recipe) -> bool:
        """Whether a batch of the recipe can't be computed in parts."""
        return cannot_split(layers_of(recipe, self._data.of(recipe), self._bench.folder)) is not None

    def _parameters(self, recipe: Recipe) -> int:
        key = recipe.pack_key()
        if key not in self._counts:
            data = self._data.of(recipe)
            self._counts[key] = parameter_count(layers_of(recipe, data, self._bench.folder))
        return self._counts[key]


def _place_metrics(place: ModelPlace | None) -> dict[str, Metric]:
    if place is None:
        return {}
    return {
        "weights_file": place.file,
        "weights_pack": place.pack,
        "weights_slot": place.slot,
        "weights_checksum": place.checksum,
    }
