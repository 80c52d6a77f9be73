"""The entry to training: recipes with equal pack keys become one stacked training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.optim import NamedClass
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.backends import BACKENDS, GANG_BACKENDS, Backend, kin
from landsweep.sweeps.lab.training.calibrate import choose, suited
from landsweep.sweeps.lab.training.collective import Collective
from landsweep.sweeps.lab.training.proof import check_name, exact_rows, prove_backend
from landsweep.sweeps.lab.training.state import Arrays, read_header
from landsweep.sweeps.lab.training.state_parts import Parts
from landsweep.sweeps.lab.training.training import Training

__all__ = ["train_pack"]


def train_pack(
    recipes: Sequence[Recipe],
    data: Data,
    *,
    device: str = "cpu",
    backend: str = "auto",
    resume: Arrays | None = None,
    base: Path = Path(),
    branch_steps: Collection[int] = (),
    start_from: Sequence[Mapping[str, Tensor]] | None = None,
    gang: Collective | None = None,
    parts: Parts | None = None,
    micro_batch: int | None = None,
    graphs: bool = False,
) -> Training:
    """Train all recipes, which must have equal pack keys, as one stacked computation.

    Args:
        recipes: one per model.
        data: what their common `data` loads, on `device`.
        device: `cpu` or `cuda:0`.
        backend: a name in `BACKENDS`, or `auto`: the one that is fastest for these recipes here.
        resume: what `Training.state` gave for the same recipes; training resumes from there. Earlier events are emitted
            again first, so a new consumer misses none. With `auto`, the state's back-end is used.
        base: folder that relative paths start from.
        branch_steps: steps after which a `BranchPoint` of each model is emitted, for other runs to start from.
        start_from: the state of a branch point for each model, to start from;
            see `landsweep.sweeps.lab.training_units.cooldown`.
        gang: the processes that all call this together, each with its own device; see `lead`.
        micro_batch: samples computed at a time, fewer than the recipes say; None: as they say.
        graphs: whether steps on a GPU may be CUDA graphs; they give the same bits, which is checked when they begin.
        parts: stores the parts of a state that a gang has divided; None: states are whole.

    Raises:
        SpecError: recipes differ in what a pack shares, don't fit the data, or the back-end does not serve them, or
            computes something else than their network.
    """
    _check_pack(recipes, branches=bool(branch_steps) or start_from is not None)
    chosen = _backend_for(recipes, data, backend, resume, device, base)
    prove_backend(chosen.name, recipes[0], data, device, base)
    exact = exact_rows(chosen, recipes[0], data, device, base)
    more: dict[str, Any] = {"exact": exact, "gang": gang, "parts": parts, "micro_batch": micro_batch, "graphs": graphs}
    training = Training(recipes, data, chosen, device, base, branch_steps, **more)
    if resume is not None:
        training.restore(resume)
    elif start_from is not None:
        training.start_from(start_from)
    return training


def _check_pack(recipes: Sequence[Recipe], *, branches: bool) -> None:
    """Refuse recipes that do not make a pack, or not one of which runs branch off or that starts at branch points."""
    if not recipes:
        raise SpecError("a pack needs at least one recipe")
    if len({r.pack_key() for r in recipes}) > 1:
        raise SpecError("these recipes can't train as one pack: group them by Recipe.pack_key() first")
    if branches and isinstance(recipes[0].optimizer, NamedClass):
        raise SpecError("optimizer.method: runs with `class` can't branch; take one of the stacked methods")


def _backend_for(
    recipes: Sequence[Recipe], data: Data, name: str, resume: Arrays | None, device: str, base: Path
) -> type[Backend]:
    """The back-end of this name; for `auto` the state's own, or else the fastest."""
    if name in GANG_BACKENDS:
        return GANG_BACKENDS[name]
    if name == "auto" and resume is not None:
        name = kin(read_header(resume)["backend"])
    check_name(name, recipes[0])
    if name == "auto":
        name = suited(choose(recipes[0], data, device=device, base=base).backend, recipes, data, device, base)
    return BACKENDS[name]
