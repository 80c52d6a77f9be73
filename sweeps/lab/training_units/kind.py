"""Kinds whose units are trainings: what each says of its recipes, and all that follows from it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import Field

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Ganged, Preparation, ShowsTensors, SweepKind, Workbench
from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.spec import IsLabel, Spec
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.device import settle
from landsweep.sweeps.lab.identity import without_processes
from landsweep.sweeps.lab.models import OwnNet
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.backends import BACKENDS, GANG_BACKENDS, BackendName, single
from landsweep.sweeps.lab.training.collective import Collective
from landsweep.sweeps.lab.training.lead import follow
from landsweep.sweeps.lab.training_units.calibration import calibrated, calibrations, pack_named
from landsweep.sweeps.lab.training_units.devices import Devices, DevicesSpec, check_devices, devices_of, takes_several
from landsweep.sweeps.lab.training_units.recipes import Recipes
from landsweep.sweeps.lab.training_units.session import DataSets, check_recipes
from landsweep.sweeps.lab.training_units.tensor_tables import tensor_tables

__all__ = ["PlannedPack", "TrainedKind", "TrainedSpec"]


class TrainedSpec(Spec):
    """What the specs of all trained kinds have: a recipe, from which units are made, and how packs are computed."""

    recipe: Recipe | None = Field(None, description="what all units share")
    backend: Annotated[BackendName, IsLabel()] = Field(
        "auto",
        description=f"how packs are computed: {', '.join(BACKENDS)}, or auto: the fastest of those that one worker "
        "times, which the rows name. Back-ends agree within 1e-5 on stable runs; pin one for the same bits on every "
        f"machine. {' and '.join(GANG_BACKENDS)} are for models on several devices; all others train as with auto",
    )
    devices: Annotated[DevicesSpec, IsLabel()] = Field(
        Devices(),
        exclude_if=lambda v: v == Devices(),
        description="how many devices train one model together: a number, {per_parameters: 1e9} or {by_parameters: "
        "{'1e9': 8}}; rows say how many did, see docs/training.md",
    )

    def pinned(self, folder: Path) -> Self:
        """This spec with data files pinned by digest. Where they are absent it can still be planned, not run."""
        return self if self.recipe is None else self.model_copy(update={"recipe": self.recipe.pinned(folder)})

    def context(self) -> dict[str, Any]:
        """All that rows depend on beside the params; not how many processes read files."""
        context: dict[str, Any] = without_processes(super().context())
        return context

    def definitions(self) -> dict[str, dict[str, Any]]:
        """Those of the named axes, likewise."""
        definitions: dict[str, dict[str, Any]] = without_processes(super().definitions())
        return definitions


@dataclass(frozen=True, slots=True)
class PlannedPack:
    """Units of a plan that can train as one stacked computation.

    Attributes:
        recipe: of one of them.
        units: how many there are; 0 where they are trained alone all the same.
    """

    recipe: Recipe
    units: int


T = TypeVar("T", bound=TrainedSpec)


class TrainedKind(SweepKind[T], ShowsTensors[T], Ganged[T]):
    """A family of sweeps whose units are trainings; of a spec without a recipe, none are."""

    leaves_weights: ClassVar[bool] = True

    @abstractmethod
    def recipes(self, spec: T) -> Recipes:
        """The recipes of the units of a spec with a recipe."""

    @abstractmethod
    def packs(self, spec: T) -> Mapping[str, PlannedPack]:
        """The packs of the plan that are known before the run, by pack key; none without a recipe."""

    def planned_recipes(self, spec: T) -> Iterable[Recipe]:
        """Recipes that stand for all of the plan in a check: by default one for each pack."""
        return (pack.recipe for pack in self.packs(spec).values())

    def in_words(self, spec: T) -> list[str]:
        if (recipe := spec.recipe) is None:
            return []
        length = "for as long as the plan says"
        if recipe.epochs:
            length = f"for {recipe.epochs:,} passes through the training data"
        elif recipe.steps:
            length = f"for {recipe.steps:,} steps"
        net = recipe.net.function if isinstance(recipe.net, OwnNet) else recipe.net.family
        data, method = recipe.data.source, recipe.optimizer.method
        return [
            f"Each unit trains a network: unless an axis says otherwise, {net} on {data} by {method}, {length}, "
            f"{recipe.batch_size:,} samples a step.",
        ]

    def deterministic(self, spec: T) -> bool:
        """False: to check it by training the first model twice could take hours."""
        del spec
        return False

    def check(self, spec: T, bench: Workbench) -> None:
        """Load the data and build every network once.

        Raises:
            SpecError: parts of a recipe do not fit; the message names the field.
        """
        if spec.recipe is not None:
            recipes, declared = list(self.planned_recipes(spec)), spec.recipe.evaluate.columns()
            check_recipes(recipes, declared, single(spec.backend), bench)
            check_devices(spec.devices, recipes, spec.backend, bench.folder)

    def devices(self, spec: T, folder: Path) -> Callable[[Unit], int] | None:
        """By the rule of the spec; None where every model takes one."""
        return devices_of(spec.devices, None if spec.recipe is None else self.recipes(spec), folder)

    def assist(self, spec: T, bench: Workbench) -> None:
        """Train what the first member of the gang leads."""
        del spec
        assert bench.gang is not None, "only members of a gang assist"
        settle(bench)
        follow(Collective.of(bench.gang, bench.device), DataSets(bench).of, bench.device, bench.folder, bench.artifacts)

    def preparations(self, spec: T) -> tuple[Preparation, ...]:
        """One for each pack with enough units to gain from training together: it times the back-ends."""
        packs = self.packs(spec)
        alone = {key: pack.units for key, pack in packs.items() if not takes_several(spec.devices, pack.recipe)}
        return calibrations(single(spec.backend), alone)

    def prepare(self, spec: T, name: str, have: Mapping[str, Arrays], bench: Workbench) -> Arrays:
        """Time the back-ends for one pack."""
        del have
        return calibrated(single(spec.backend), self.packs(spec)[pack_named(name)].recipe, bench)

    def tensors(self, spec: T, bench: Workbench) -> Sequence[Table]:
        """How each tensor is drawn and trained, a table for each network of the plan."""
        if spec.recipe is None:
            raise SpecError(f"--tensors: {spec.name} has no recipe, so no networks whose tensors could be shown")
        return tensor_tables(self.planned_recipes(spec), bench)
