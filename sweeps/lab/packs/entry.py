"""Where packs begin: which back-end trains these recipes, how many in a pack, and the training itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray
from torch import Tensor

from orchestrator.errors import SpecError
from sweeps.lab.data import Data
from sweeps.lab.optim import NamedClass
from sweeps.lab.packs.backends import BACKENDS, Unserved
from sweeps.lab.packs.calibrate import SIZES, Choice, calibrate
from sweeps.lab.packs.dropout import with_masks
from sweeps.lab.packs.history import about_state
from sweeps.lab.packs.proof import disagreement, exact_rows
from sweeps.lab.packs.training import Training
from sweeps.lab.recipe import Recipe

__all__ = ["FEW", "LARGEST", "check_backend", "choose", "prove_backend", "suited", "train_pack"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
LARGEST = {"cpu": 128, "cuda": 512}  # models in a pack, by class of device
FEW = 4  # fewer models than this train in the loop, where another back-end would add rows that nobody asked for
_KNOWN: dict[tuple[str, str], Choice] = {}


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
    known = (recipe.pack_key(), device)
    if known not in _KNOWN:
        _KNOWN[known] = _timed(recipe, data, device, base)
    return _KNOWN[known]


def _timed(recipe: Recipe, data: Data, device: str, base: Path) -> Choice:
    module = with_masks(recipe.net.build(data.shape, data.outputs, recipe.seed, base))
    passed_over: dict[str, str] = {}

    def time_steps(backend: str, size: int, steps: int) -> float:
        if size == SIZES[0] and (reason := disagreement(BACKENDS[backend], recipe, data, device, base)):
            passed_over[backend] = reason
            return float("inf")
        try:
            trial = Training([recipe] * size, data, BACKENDS[backend], device, base)
            trial.time_step()
            return min(trial.time_step() for _ in range(steps))
        except RuntimeError:  # too large for the device
            if backend == "loop":
                raise
            return float("inf")

    choice = Choice("loop", 1)
    for name in (n for n in ("bmm", "vmap") if BACKENDS[n].serves(module) is None):
        choice = calibrate([name], time_steps, LARGEST[device.split(":")[0]])
        if name not in passed_over:
            break
    return replace(choice, note="; ".join(f"not {name}: {reason}" for name, reason in passed_over.items()))


def check_backend(backend: str, recipe: Recipe, data: Data, base: Path = Path()) -> None:
    """Whether a back-end, or `auto`, can train a recipe.

    Raises:
        SpecError: there is none of this name, or it serves another optimizer or network.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise SpecError(f"backend: there is no back-end {backend!r}; there are auto, {', '.join(BACKENDS)}")
    if backend in ("auto", "loop"):
        return
    if isinstance(recipe.optimizer, NamedClass):
        raise SpecError(f"optimizer.method: class trains in the back-end loop only, not in {backend}; use loop or auto")
    module = with_masks(recipe.net.build(data.shape, data.outputs, recipe.seed, base))
    if reason := BACKENDS[backend].serves(module):
        raise Unserved(backend, reason)


def prove_backend(backend: str, recipe: Recipe, data: Data, device: str = "cpu", base: Path = Path()) -> None:
    """Refuse a back-end that computes something else than the recipe's network; asked once for each pack key.

    Raises:
        SpecError: it does; says what differs.
    """
    if reason := disagreement(BACKENDS[backend], recipe, data, device, base):
        raise Unserved(backend, reason)


def suited(backend: str, recipes: Sequence[Recipe], data: Data, device: str = "cpu", base: Path = Path()) -> str:
    """The back-end for a pack of just these recipes, `backend` being the fastest for many: few may want the loop."""
    if backend != "loop" and len(recipes) < FEW:
        return backend if exact_rows(BACKENDS[backend], recipes[0], data, device, base) else "loop"
    return backend


def train_pack(
    recipes: Sequence[Recipe],
    data: Data,
    *,
    device: str = "cpu",
    backend: str = "auto",
    resume: Arrays | None = None,
    base: Path = Path(),
    points: Collection[int] = (),
    begin: Sequence[Mapping[str, Tensor]] | None = None,
) -> Training:
    """Train all recipes, which must have equal pack keys, as one stacked computation.

    Args:
        recipes: one per model.
        data: what their common `data` loads, on `device`.
        device: `cpu` or `cuda:0`.
        backend: `loop`, `vmap`, `bmm`, `compiled`, or `auto`: the one that is fastest for these recipes here.
        resume: what `Training.state` gave for the same recipes. Training goes on from there; the events before it come
            again first, so that a consumer that starts with nothing ends with everything. With `auto`, in the back-end
            of the state.
        base: folder that relative paths start from.
        points: after which steps a `Point` of each model is told, from which other runs can branch off.
        begin: the points that these models start from, instead of their initial weights; see `sweeps.lab.branch`.

    Raises:
        SpecError: recipes differ in what a pack shares, don't fit the data, or the back-end does not serve them, or
            computes something else than their network.
    """
    if not recipes:
        raise SpecError("a pack needs at least one recipe")
    if len({r.pack_key() for r in recipes}) > 1:
        raise SpecError("these recipes can't train as one pack: group them by Recipe.pack_key() first")
    if backend != "auto" and backend not in BACKENDS:
        raise SpecError(f"backend: there is no back-end {backend!r}; there are auto, {', '.join(BACKENDS)}")
    if isinstance(recipes[0].optimizer, NamedClass):
        check_backend(backend, recipes[0], data, base)
        backend = "loop"
    if backend == "auto" and resume is not None:
        backend = about_state(resume)["backend"]
    if backend == "auto":
        fastest = choose(recipes[0], data, device=device, base=base).backend
        backend = suited(fastest, recipes, data, device, base)
    if (points or begin is not None) and isinstance(recipes[0].optimizer, NamedClass):
        raise SpecError("optimizer.method: runs with `class` can't branch; take one of the stacked methods")
    prove_backend(backend, recipes[0], data, device, base)
    training = Training(recipes, data, BACKENDS[backend], device, base, points)
    if resume is not None:
        training.restore(resume)
    elif begin is not None:
        training.begin(begin)
    return training
