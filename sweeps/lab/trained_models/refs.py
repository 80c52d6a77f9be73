"""Refs: stored models as inputs of a spec. Of another sweep, of a published zoo, or from a file of weights.

A ref is pinned when the spec is read: the models that it stands for, each with its checkpoint and the checksum of its
weights. The plan follows from what is pinned alone, so reports need the other sweep no more. Its path is no identity.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator
from torch import Tensor

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.schema import FLAT
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.trust import may_grant
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.checkpoints.state_dict import Checkpoint
from landsweep.sweeps.lab.data import DataSpec
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.catalogue import NetSpec
from landsweep.sweeps.lab.trained_models.pinned import (
    PinnedModel,
    PinnedModels,
    content,
    shapes_of,
    values_of,
    weights_digest,
)

if TYPE_CHECKING:
    from landsweep.sweeps.lab.trained_models.member import Member
    from landsweep.sweeps.lab.trained_models.reader import Zoo

__all__ = ["FileRef", "Ref", "SweepRef", "changed", "place_of", "zoo_of"]

_ALL = "all"
_SHOWN = 3  # models in a message
_CARRIED = ("_loss", "_accuracy")  # ends of names of the metrics that are taken along

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class SweepRef(Section):
    """Models that another sweep has kept: a zoo, search, transfer or scaling sweep, an exported or a published zoo."""

    sweep: str = Field(description="results folder, relative to the spec file or absolute, or a URL")
    where: str | None = Field(
        None, description="rule over the columns of its rows, such as `status == ok and width > 8`; none: all models"
    )
    key: str | None = Field(None, description="or one model, by its key; the first digits are enough")
    checkpoints: tuple[Label, ...] = Field(
        ("last",), min_length=1, description="labels, such as last, best or step-000100; all: each that a model has"
    )
    trust: bool = Field(False, description="code that this sweep names (networks, data) may run; of your own it may")
    pinned_models: PinnedModels | None = Field(None, description="filled in when the spec is read")

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if self.key is not None and self.where is not None:
            raise ValueError("give `where` for the models that a rule chooses, or `key` for one of them, not both")
        if len(set(self.checkpoints)) < len(self.checkpoints) or (_ALL in self.checkpoints and self.checkpoints[1:]):
            raise ValueError(f"checkpoints: each label once, and `{_ALL}` alone; got {list(self.checkpoints)}")
        return self

    def models(self) -> PinnedModels:
        """What it stands for.

        Raises:
            SpecError: it is not pinned.
        """
        if self.pinned_models is None:
            raise SpecError(f"the models of {self.sweep} are not pinned; `Spec.pinned(folder)` reads them")
        return self.pinned_models

    def single(self) -> PinnedModel:
        """The one model at one checkpoint that it stands for, where only one will do.

        Raises:
            SpecError: it stands for several.
        """
        models = self.models().models
        if len(models) > 1:
            some = ", ".join(f"{m.key} at {m.label}" for m in models[:_SHOWN])
            raise SpecError(
                f"sweep: {self.sweep}: {len(models)} models are chosen, such as {some}, but only one can be here; give "
                "its `key`, or a rule that one model fits, and one of its checkpoints"
            )
        return models[0]

    @property
    def file(self) -> str:
        """Where its weights are, for messages."""
        return self.sweep

    def load(self, folder: Path) -> dict[str, Tensor]:
        """The state dict of the one model that it stands for.

        Raises:
            UsageError: the sweep is not there, or the model has other weights than were pinned.
        """
        model = self.single()
        state = zoo_of(self, folder)[model.key].state(model.label)
        if (now := weights_digest(state)) != model.weights:
            raise SpecError(
                f"sweep: {self.sweep}: {model.key} at {model.label} has changed since it was pinned: its weights had "
                f"the checksum {model.weights}, now {now}. Put the old weights back, or give this sweep another name"
            )
        return state

    def network(self, folder: Path) -> Net:
        """The network of the one model that it stands for, as the recipe by which it was trained has it.

        Raises:
            UsageError: the sweep is not there, keeps no recipes, or the network is code of its author.
        """
        zoo = zoo_of(self, folder)
        beside = "write the network beside the checkpoint, such as {net: mlp, hidden: [64], checkpoint: {sweep: ...}}"
        if not zoo.head:
            raise SpecError(f"sweep: {self.sweep}: is a published zoo, which keeps no recipes; {beside}")
        net = zoo[self.single().key].recipe().net
        if net.own_code:
            raise SpecError(f"sweep: {self.sweep}: the network is a function of the sweep's author; {beside}")
        return net

    def pinned(self, folder: Path, data: DataSpec | None = None) -> Self:
        """The same with the models that it stands for now.

        Args:
            folder: that a relative path starts from.
            data: of the spec, which a network from a file needs; not used here.

        Raises:
            SpecError: there is no such sweep, it has no weights, or the choice is empty or lacks a checkpoint.
        """
        del data
        try:
            zoo = zoo_of(self, folder)
            return self.model_copy(update={"pinned_models": _pinned(self, zoo)})
        except UsageError as e:
            raise type(e)(f"sweep: {self.sweep}: {e}") from e


class FileRef(Section):
    """A network with the weights of a file, or with initial weights.

    In a spec the fields of the network stand beside the others: `{name: a, net: mlp, hidden: [64], checkpoint: FILE}`.
    """

    model_config = ConfigDict(json_schema_extra={FLAT: "net"})

    name: Label = Field(description="what rows call it")
    net: NetSpec
    checkpoint: Checkpoint | None = Field(None, description="file with a state dict; none: initial weights")
    seed: int = Field(0, ge=0, description="of the initial weights")
    pinned_models: PinnedModels | None = Field(None, description="filled in when the spec is read")

    @model_validator(mode="before")
    @classmethod
    def _from_one_level(cls, fields: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
        if not isinstance(fields, Mapping) or not isinstance(fields.get("net"), str):
            return fields
        own = {name: value for name, value in fields.items() if name in cls.model_fields and name != "net"}
        return {**own, "net": {name: value for name, value in fields.items() if name not in own}}

    def models(self) -> PinnedModels:
        """What it stands for: itself."""
        if self.pinned_models is not None:
            return self.pinned_models
        digests = None if self.checkpoint is None else self.checkpoint.digests
        if self.checkpoint is not None and digests is None:
            raise SpecError(f"the checkpoint of {self.name} is not pinned; `Spec.pinned(folder)` reads it")
        network = content(self.net)
        weights = digest([network, self.seed] if self.checkpoint is None else [network, digests, self.checkpoint.entry])
        label, step = ("initial", 0) if self.checkpoint is None else ("file", None)
        model = PinnedModel(
            key=self.name,
            label=label,
            step=step,
            weights=weights,
            shapes=network,
            network=network,
            data=None,
            params=(self.net.family, self.seed) if self.checkpoint is None else (self.net.family, None),
            metrics=(),
        )
        return PinnedModels(params=("net", "seed"), metrics=(), models=(model,))

    def pinned(self, folder: Path, data: DataSpec | None = None) -> Self:
        """The same with the digest of its file, and with the shapes of its weights where data tells them.

        Raises:
            SpecError: there is no such file, or it holds no state dict.
        """
        checkpoint = None if self.checkpoint is None else self.checkpoint.pinned(folder)
        ref = self.model_copy(update={"checkpoint": checkpoint, "pinned_models": None})
        models = ref.models()
        dimensions = None if data is None else data.dimensions()
        if checkpoint is not None:
            shapes = shapes_of(checkpoint.load(folder))
        elif dimensions is not None and not self.net.own_code:
            shapes = shapes_of(self.net.skeleton(dimensions.shape, dimensions.outputs).state_dict())
        else:
            return ref.model_copy(update={"pinned_models": models})
        (model,) = models.models
        alike = model.model_copy(update={"shapes": shapes})
        return ref.model_copy(update={"pinned_models": models.model_copy(update={"models": (alike,)})})


def _form(value: Any) -> str:  # noqa: ANN401 - before validation
    fields = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return "sweep" if "sweep" in fields or "net" not in fields else "file"


Ref: TypeAlias = Annotated[
    Annotated[SweepRef, Tag("sweep")] | Annotated[FileRef, Tag("file")],
    Discriminator(_form),
]
"""Stored models: `{sweep: FOLDER, where: RULE}`, or `{name: A, net: mlp, checkpoint: FILE}`."""


def place_of(ref: SweepRef, folder: Path) -> str:
    """Path or URL of the sweep that a ref names.

    Raises:
        SpecError: there is no such folder.
    """
    where = ref.sweep if "://" in ref.sweep else str(folder / Path(ref.sweep).expanduser())
    if "://" not in where and not Path(where).is_dir():
        raise SpecError(f"there is no folder {where}; run that sweep first, or give the folder where its results are")
    return where


def zoo_of(ref: SweepRef, folder: Path) -> Zoo:
    """The sweep that a ref names, opened.

    Raises:
        UsageError: there is none, or its units are no trained models.
    """
    from landsweep.sweeps.lab.trained_models.reader import Zoo  # pandas, which a plan without refs can do without

    return Zoo(place_of(ref, folder), trust=ref.trust and may_grant())


def _pinned(ref: SweepRef, zoo: Zoo) -> PinnedModels:
    members, note = _chosen(ref, zoo)
    labels = _labels(ref, members)
    metrics = tuple(
        str(name) for name, values in zoo.rows.items() if str(name).endswith(_CARRIED) and values.dtype.kind in "fiu"
    )
    models = []
    for member in members:
        network, data = _definitions(zoo, member)
        for label in labels[member.key]:
            state = member.state(label)
            models.append(
                PinnedModel(
                    key=member.key,
                    label=label,
                    step=_step(member, label),
                    weights=weights_digest(state),
                    shapes=shapes_of(state),
                    network=network,
                    data=data,
                    params=values_of(member.row, zoo.swept),
                    metrics=values_of(member.row, metrics),
                )
            )
    return PinnedModels(params=zoo.swept, metrics=metrics, models=tuple(models), note=note)


def _chosen(ref: SweepRef, zoo: Zoo) -> tuple[Sequence[Member], str]:
    """The models with weights that a ref chooses, and what a user should know about those it leaves out."""
    if not zoo.keys:
        counts = ", ".join(f"{n} {status}" for status, n in zoo.rows["status"].value_counts().items())
        raise SpecError(
            f"none of its {len(zoo.rows)} rows has weights ({counts or 'it has no rows yet'}); sweeps keep what "
            "`recipe.checkpoints` asks for: run it with checkpoints: {last: true}"
        )
    if ref.key is not None:
        member = zoo[ref.key]
        if not member.labels:
            raise SpecError(f"key: the model {member.key} has no weights (its status is {member.row['status']})")
        return [member], ""
    from landsweep.orchestrator.rules import chosen  # pandas, too

    rows = zoo.rows if ref.where is None else zoo.rows[chosen(ref.where, zoo.rows)]
    stored = rows[rows["weights_file"].notna()]
    if not len(stored):
        raise SpecError(
            f"where: {ref.where!r} chooses {len(rows)} of its {len(zoo.rows)} rows, none of them with weights; it has "
            f"{len(zoo.keys)} models with weights, see `landsweep export`, or Zoo(...).rows for their columns"
        )
    return [zoo[key] for key in stored["key"]], _note(ref, zoo, len(rows) - len(stored))


def _note(ref: SweepRef, zoo: Zoo, without: int) -> str:
    """Whether the sweep has ended, and which chosen models have no weights."""
    parts = []
    total = None
    if zoo.head:
        kind = kind_named(str(zoo.head["kind"]))
        total = kind.planner(kind.parse(zoo.head["spec"], "sweep.json")).total
    if total is not None and len(zoo.rows) < total:
        parts.append(f"has {len(zoo.rows)} of {total} rows so far; run this sweep again when it has ended")
    if without:
        parts.append(f"{without} of the chosen models have no weights and are left out")
    return f"{ref.sweep} {'; '.join(parts)}" if parts else ""


def _labels(ref: SweepRef, members: Sequence[Member]) -> dict[str, tuple[str, ...]]:
    """For each model the labels of the checkpoints that a ref names.

    Raises:
        SpecError: not all models have one of them.
    """
    if ref.checkpoints == (_ALL,):
        return {member.key: member.labels for member in members}
    for label in ref.checkpoints:
        lacking = [member.key for member in members if label not in member.labels]
        if lacking:
            common = [name for name in members[0].labels if all(name in m.labels for m in members)]
            raise SpecError(
                f"checkpoints: {len(lacking)} of {len(members)} models have no checkpoint {label!r}, such as "
                f"{', '.join(lacking[:_SHOWN])}; all of them have {', '.join(common) or 'none in common'}. Choose one "
                f"of these, `{_ALL}`, or leave models out with a rule: where: status == ok"
            )
    return dict.fromkeys((member.key for member in members), ref.checkpoints)


def _definitions(zoo: Zoo, member: Member) -> tuple[str, str | None]:
    """Digests of a model's network and of the data that it was trained on; a published zoo does not name its data."""
    if not zoo.head:
        return digest(["small_cnn", member.row.get("activation")], size=8), None
    recipe = member.recipe()
    return content(recipe.net), content(recipe.data)


def _step(member: Member, label: str) -> int | None:
    if match := re.fullmatch(r"step-(\d+)", label):
        return int(match[1])
    column = {"last": "steps_done", "best": "best_step"}.get(label, "")
    value = member.row.get(column)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else None


def changed(ref: SweepRef, zoo: Zoo) -> Iterator[str]:
    """What has become of pinned models: a line for each that is gone or has other weights."""
    for model in ref.models().models:
        try:
            now = weights_digest(zoo[model.key].state(model.label))
        except UsageError as e:
            yield f"{model.key} at {model.label}: {e}"
            continue
        if now != model.weights:
            yield f"{model.key} at {model.label}: its weights had the checksum {model.weights}, now {now}"
