"""Which back-end, and how many models in a pack: timed on the device that will train, not guessed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from landsweep.orchestrator.accelerators import device_failure, free_memory
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.optim import NamedClass
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.training.assembly import assemble, layers_of
from landsweep.sweeps.lab.training.backends import BACKENDS, Backend, Loop
from landsweep.sweeps.lab.training.calendar import Calendar
from landsweep.sweeps.lab.training.evaluation import CHUNK
from landsweep.sweeps.lab.training.proof import PackFacts, disagreement, exact_rows, facts
from landsweep.sweeps.lab.training.stepper import Stepper

__all__ = ["FEW", "LARGEST", "SIZES", "Choice", "calibrate", "choose", "shortest_step", "suited"]

FEW = 4  # fewer models than this train in the loop, where another back-end would add rows that nobody asked for
LARGEST = {"cpu": 128, "cuda": 512}  # models in a pack, by class of device
SIZES = (8, 16, 32, 64, 128, 256, 512)
_STEPS = 4  # timed for each candidate, after one that warms up
_MARGIN = 0.95  # a pack must take less than this share of the loop's time: timings are noisy, and the loop is simple
_HOPELESS = 1.3  # times the time of the loop, or of a smaller pack: beyond it no larger pack is tried
_NEAR = 1.05  # of sizes that differ by no more than this the smallest is taken: it leaves room in the caches
_ROUNDS = 3  # in which candidates that may be the fastest are timed once more, in turn
_LONG = 0.02  # seconds: a step that takes longer is not timed again, since others hardly disturb the whole of it
_SLOW = 0.1  # seconds per step: networks so large fill a device alone, and trying packs of them would take minutes


@dataclass(frozen=True, slots=True)
class Choice:
    """How recipes of one pack key are trained.

    Attributes:
        backend: name of the back-end.
        size: most models in one pack.
        seconds: for each candidate, such as `bmm@32`, seconds per step of one model; empty where nothing was timed.
        note: which back-ends were passed over because they compute something else, and what; empty: none.
    """

    backend: str
    size: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def label(self) -> str:
        """For a row: `bmm@32`."""
        return f"{self.backend}@{self.size}"


def calibrate(backends: Sequence[str], time_steps: Callable[[str, int, int], float], largest: int) -> Choice:
    """The fastest way to train.

    On a crowded machine a step can take half as long again, all the more a short one. So no size is given up for one
    slow timing, and those that may be the fastest are timed in several rounds, of which the least counts. What a pack
    does between steps is not timed; it costs small packs most, so a size must be close to the fastest to be preferred.

    Args:
        backends: candidates beside the loop.
        time_steps: of a back-end, a pack size and a number of steps: seconds of the shortest of these steps.
        largest: pack size.
    """
    timings = _Timings(time_steps)
    seconds = timings.seconds
    loop = timings.of("loop", 1)
    if loop > _SLOW:
        return Choice("loop", 1, seconds)
    for backend in backends:
        best = float("inf")
        for size in (s for s in SIZES if s <= largest):
            taken = timings.of(backend, size)
            if taken > _HOPELESS * min(best, loop) and size * taken < _LONG:
                taken = timings.of(backend, size)
            if taken > _HOPELESS * min(best, loop):
                break
            best = min(best, taken)
    for _ in range(_ROUNDS):
        timings.repeat_fastest()
    least = min(seconds.values())
    if least > _MARGIN * seconds["loop@1"]:
        return Choice("loop", 1, seconds)
    first = next(name for name, s in seconds.items() if s <= _NEAR * least)  # they are in order of size
    name, _, models = first.partition("@")
    return Choice(name, int(models), seconds)


class _Timings:
    """Seconds per step of one model, by candidate: the least that was seen of each.

    Args:
        time_steps: as of `calibrate`.
    """

    def __init__(self, time_steps: Callable[[str, int, int], float]) -> None:
        self._time_steps = time_steps
        self.seconds: dict[str, float] = {}

    def of(self, backend: str, size: int) -> float:
        """Time a candidate, maybe once more; the least of all its timings."""
        name, taken = f"{backend}@{size}", self._time_steps(backend, size, _STEPS) / size
        self.seconds[name] = min(taken, self.seconds.get(name, taken))
        return self.seconds[name]

    def repeat_fastest(self) -> None:
        """Time those once more that may be the fastest, unless their steps are long."""
        least = min(self.seconds.values())
        for name, taken in list(self.seconds.items()):
            backend, _, models = name.partition("@")
            if taken <= _HOPELESS * least and int(models) * taken < _LONG:
                self.of(backend, int(models))


_CHOICES: dict[PackFacts, Choice] = {}
"""Choices of this process. Timing takes seconds, and two timings may not agree, so that whoever asks twice in one run
must get the first answer: it has to be one memory for all who ask, whichever session they belong to."""


@settings_kept()
def choose(recipe: Recipe, data: Data, *, device: str = "cpu", base: Path = Path()) -> Choice:
    """The fastest back-end and pack size for recipes with this one's pack key, timed once per process and device.

    The answer does not depend on how many recipes there are; for a pack of very few, `train_pack` may take the loop.

    Args:
        recipe: any with the pack key.
        data: what its `data` loads, on `device`.
        device: `cpu` or `cuda:0`.
        base: folder that relative paths start from.
    """
    if isinstance(recipe.optimizer, NamedClass):
        return Choice("loop", 1)
    key = facts(recipe, data, device, base)
    if key not in _CHOICES:
        _CHOICES[key] = _timed(recipe, data, device, base)
    return _CHOICES[key]


def suited(backend: str, recipes: Sequence[Recipe], data: Data, device: str = "cpu", base: Path = Path()) -> str:
    """The back-end for a pack of just these recipes, `backend` being the fastest for many: few may want the loop."""
    if backend != "loop" and len(recipes) < FEW:
        return backend if exact_rows(BACKENDS[backend], recipes[0], data, device, base) else "loop"
    return backend


def _timed(recipe: Recipe, data: Data, device: str, base: Path) -> Choice:
    """The first choice that computes what the network itself does, of the most special back-end that serves it."""
    recipe = recipe.model_copy(update={"grad_init": None})  # where the weights begin takes long to find, and no matter
    layers = layers_of(recipe, data, base)
    passed_over: dict[str, str] = {}

    def time_steps(name: str, size: int, steps: int) -> float:
        if size == SIZES[0] and (reason := disagreement(BACKENDS[name], recipe, data, device, base)):
            passed_over[name] = reason
            return float("inf")
        try:
            return shortest_step(BACKENDS[name], [recipe] * size, data, device=device, base=base, steps=steps)
        except RuntimeError as e:  # too large for the device
            if name == "loop" or device_failure(e):
                raise
        free_memory()
        return float("inf")

    choice, kind = Choice("loop", 1), device.split(":")[0]
    for backend in (b for b in reversed(BACKENDS.values()) if b is not Loop and not b.compiles):
        if kind not in backend.automatic_on or backend.lacks(recipe) is not None or backend.serves(layers) is not None:
            continue
        choice = calibrate([backend.name], time_steps, LARGEST[kind])
        if backend.name not in passed_over:
            break
    return replace(choice, note="; ".join(f"not {name}: {reason}" for name, reason in passed_over.items()))


def shortest_step(
    backend: type[Backend], recipes: Sequence[Recipe], data: Data, *, device: str, base: Path, steps: int
) -> float:
    """Seconds of the shortest of some steps of a pack, after one that warms up.

    Args:
        backend: to be timed.
        recipes: one per model.
        data: of the recipes, on the device.
        device: `cpu` or `cuda:0`.
        base: folder that relative paths start from.
        steps: how many are timed.
    """
    assembly = assemble(recipes, data, backend, device, base)
    assembly.program.outputs(assembly.samples.inputs[:CHUNK])  # evaluations need their memory too
    total = Calendar.of(recipes[0], assembly.samples.counts[0]).total
    stepper = Stepper(assembly, recipes, data, total)
    seconds = []
    # On one processor only its own time counts: on a crowded machine the long steps of packs would seem slower than the
    # short ones of the loop, which mostly end before somebody else's turn.
    clock = time.thread_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(steps + 1):
        began = clock()
        math.isfinite(float(stepper.make_step().sum()))  # as training asks after each step; it waits for the device
        seconds.append(clock() - began)
    return min(seconds[1:])
