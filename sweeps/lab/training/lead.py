"""One model trained by a gang: the first member decides what is trained and when it is saved or stopped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.faults import text_of
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.data.stored import Unreadable, reading
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.training.collective import Collective
from landsweep.sweeps.lab.training.events import Beat, TrainingEvent
from landsweep.sweeps.lab.training.state import Arrays
from landsweep.sweeps.lab.training.state_parts import Parts
from landsweep.sweeps.lab.training.train import train_pack
from landsweep.sweeps.lab.training.trainer import Trainer
from landsweep.sweeps.lab.training.training import Training

__all__ = ["follow", "lead"]

_GO_ON, _STOP, _STATE = "go on", "stop", "state"


def lead(
    gang: Collective,
    recipe: Recipe,
    data: Data,
    *,
    device: str,
    backend: str,
    resume: Arrays | None = None,
    base: Path = Path(),
    branch_steps: Collection[int] = (),
    start_from: Sequence[Mapping[str, Tensor]] | None = None,
    parts: Parts | None = None,
) -> Trainer:
    """Train a model together with the others, who follow; arguments as of `train_pack`.

    Raises:
        Unreadable: a member can't read the data.
        SpecError: a member can't train it.
        GangBroken: a member is gone.
    """
    settings: dict[str, Any] = {"backend": backend, "branch_steps": sorted(branch_steps)}
    stem = None if parts is None else parts.stem
    gang.tell_task({"recipe": recipe.model_dump(mode="json"), "stem": stem, **settings})
    tensors = None if resume is None else {name: torch.from_numpy(array) for name, array in resume.items()}
    gang.same((tensors, start_from))
    settings |= {"resume": resume, "start_from": start_from, "parts": parts}
    return _Lead(_together(gang, recipe, lambda: data, device, base, settings), gang)


def follow(
    gang: Collective, data_of: Callable[[Recipe], Data], device: str, base: Path, artifacts: Artifacts | None = None
) -> None:
    """Train what the first member leads, one model after the other, until it has ended.

    Args:
        gang: of this process.
        data_of: loads a recipe's data on this member's device.
        device: of this member.
        base: folder that relative paths start from.
        artifacts: where states lie; None: nothing is saved.

    Raises:
        GangBroken: the first member, or another one, is gone.
    """
    while True:
        task = gang.next_task()
        recipe = Recipe.model_validate(task.pop("recipe"))
        tensors, start_from = gang.same()
        resume = None if tensors is None else {name: tensor.numpy() for name, tensor in tensors.items()}
        stem = task.pop("stem")
        parts = None if artifacts is None or stem is None else Parts(artifacts, stem, gang)
        settings = {**task, "resume": resume, "start_from": start_from, "parts": parts}
        with settings_kept():
            try:
                training = _together(gang, recipe, partial(data_of, recipe), device, base, settings)
            except SpecError:  # which the first member reports
                continue
            for event in training:
                if isinstance(event, Beat):
                    _obey(gang, training)
            training.written()


def _together(
    gang: Collective,
    recipe: Recipe,
    data: Callable[[], Data],
    device: str,
    base: Path,
    settings: Mapping[str, Any],
) -> Training:
    """This member's training, once all members have theirs.

    Raises:
        Unreadable: some member can't read the data.
        SpecError: some member can't train it; says which, and for another one with the traceback from there.
    """
    training: Training | None = None
    error: SpecError | None = None
    problem: tuple[bool, str] | None = None
    who = f"member {gang.rank} of {gang.size}"
    try:
        with reading():
            loaded = data()
        training = train_pack([recipe], loaded, device=device, base=base, gang=gang, **settings)
    except Unreadable as e:
        error, problem = e, (True, f"{who}: {e}")
    except SpecError as e:
        error, problem = e, (False, f"{who}: {text_of(e, e.__traceback__)}")
    if (found := gang.settle(problem)) is None:
        assert training is not None, "members without one have a problem"
        return training
    unreadable, text = found
    mine = found == problem
    raise (Unreadable if unreadable else SpecError)(f"{who}: {error}" if mine else text) from (error if mine else None)


def _obey(gang: Collective, training: Training) -> None:
    """Do what the first member asks for at a beat."""
    while (asked := gang.same()) != (_GO_ON,):
        if asked[0] == _STOP:
            training.stop(asked[1])
        else:
            training.state()


class _Lead(Trainer):
    """The training of the first member: whatever it is asked for, the others are.

    Args:
        training: of the first member.
        gang: of this process.
    """

    def __init__(self, training: Training, gang: Collective) -> None:
        self._training, self._gang = training, gang
        self._at_beat = False
        self.started_at = training.started_at

    @property
    def backend(self) -> str:
        return self._training.backend

    def __next__(self) -> TrainingEvent:
        if self._at_beat:
            self._at_beat = False
            self._gang.same((_GO_ON,))
        event = next(self._training)
        self._at_beat = isinstance(event, Beat)
        return event

    def stop(self, index: int) -> None:
        self._tell(_STOP, index)
        self._training.stop(index)

    def drop(self, indices: Sequence[int]) -> None:
        if indices:
            raise SpecError("a gang trains one model, which is wanted")

    def state(self) -> dict[str, NDArray[Any]]:
        self._tell(_STATE)
        return self._training.state()

    def written(self) -> None:
        self._training.written()

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        raise SpecError("resume: a gang begins with the state that `lead` was given")

    def _tell(self, *command: object) -> None:
        if not self._at_beat:
            raise RuntimeError("a gang listens at its beats only")
        self._gang.same(command)
