"""The models of a landscape: each a network and the source of its weights."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias

import torch
from pydantic import (
    AliasChoices,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.schema import FLAT, OPTIONAL
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.checkpoints.state_dict import Checkpoint
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.catalogue import NetSpec, networks
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.trained_models.refs import SweepRef
from landsweep.sweeps.landscape.train import TrainSpec

__all__ = ["LandscapeModel"]

_SOURCES = ("train", "checkpoint", "recipe")


def _form(value: Any) -> str:  # noqa: ANN401 - before validation
    return "sweep" if isinstance(value, SweepRef) or (isinstance(value, Mapping) and "sweep" in value) else "file"


_Weights: TypeAlias = Annotated[
    Annotated[Checkpoint, Tag("file")] | Annotated[SweepRef, Tag("sweep")],
    Discriminator(_form),
]


class LandscapeModel(Section):
    """A network and where its weights come from: a recipe, a file, or for a network of the user's own its function.

    In a spec, and where it is dumped, the fields of the network and of the source stand side by side, such as
    `{net: mlp, hidden: [64], checkpoint: FILE}`. A `recipe` holds the network itself, and so does a model of another
    sweep: `{checkpoint: {sweep: FOLDER, key: KEY}}`.
    """

    net: NetSpec | None = Field(None, description="the network; none: that of the stored model, or of the recipe")
    train: TrainSpec | None = Field(
        None, description="short form of a recipe, by SGD or AdamW in a loop of its own; epochs: 0 for untrained"
    )
    checkpoint: _Weights | None = Field(
        None, description="file with a state dict, or a model of another sweep: {sweep: FOLDER, key: KEY}"
    )
    recipe: Recipe | None = Field(
        None,
        description="trains it as in a zoo: the same recipe gives the same weights; data: by default the sweep's",
        json_schema_extra={OPTIONAL: ["data"]},
    )

    @model_validator(mode="wrap")
    @classmethod
    def _from_one_level(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401 - any input
        nested = _nested(data)
        try:
            return validate(nested)
        except ValidationError as e:
            if nested is data:
                raise
            # A complaint about the network names the field where it was given, not where it stands here; that of a
            # recipe has been read twice.
            errors = [err for err in e.errors() if "net" in data or err["loc"][:1] != ("net",)] or e.errors()
            raise ValidationError.from_exception_data(e.title, [_where_given(err) for err in errors]) from None

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of both forms: the fields of a network may also stand beside its source."""
        schema = handler(core_schema)
        model = handler.resolve_ref_schema(schema)
        levels = {**model, FLAT: "net"}
        model.clear()
        model["anyOf"] = [levels, *levels["properties"]["net"]["anyOf"][0]["oneOf"]]
        return schema

    @model_serializer(mode="wrap")
    def _on_one_level(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As specs and the keys of units have it."""
        fields: dict[str, Any] = dump(self)
        net, recipe = fields.pop("net", None), fields.pop("recipe", None)
        return {**(net or {}), **fields} if recipe is None else {"recipe": recipe}

    @model_validator(mode="after")
    def _one_source_of_weights(self) -> Self:
        sources = [name for name in _SOURCES if getattr(self, name) is not None]
        own_code = self.net is not None and self.net.own_code
        if len(sources) > 1 or not (sources or own_code):
            raise ValueError(
                f"a model needs one of `recipe`, `train` and `checkpoint`, got {' and '.join(sources) or 'none'}"
            )
        if self.recipe is not None and self.net != self.recipe.net:
            raise ValueError("a recipe holds the network; leave `net` and its fields out beside it")
        if self.net is None and not isinstance(self.checkpoint, SweepRef):
            raise ValueError("net: missing; only a `recipe`, or a model of another sweep, says what the network is")
        if self.recipe is not None and self.recipe.branched_at is not None:
            raise ValueError("recipe.branched_at: a landscape has no main run that a branch could leave; leave it out")
        return self

    @property
    def network(self) -> Net:
        """The network.

        Raises:
            SpecError: it is that of a stored model which has not been read yet.
        """
        if self.net is None:
            raise SpecError("the network of a stored model is not known; `Spec.pinned(folder)` reads it")
        return self.net

    @property
    def seed(self) -> int:
        """Of the streams that the initial weights are drawn from."""
        return 0 if self.train is None else self.train.seed

    @property
    def split(self) -> str:
        """Which split of the data it is trained on; `train` where it is not trained here."""
        source = self.train or self.recipe
        return "train" if source is None else source.split

    def make(self, shape: tuple[int, ...], classes: int, base: Path) -> nn.Module:
        """The module with initial weights; the global random state stays as it was.

        Args:
            shape: shape of one input, without the batch dimension.
            classes: how many outputs.
            base: folder that relative paths start from.
        """
        if self.recipe is None:
            return self.network.build(shape, classes, self.seed, base)
        return self.recipe.build(shape, classes, base).to(getattr(torch, self.recipe.dtype))

    def pinned(self, folder: Path) -> Self:
        """This model with its files pinned by digest, and with the network of the stored model where it names none.

        Raises:
            UsageError: a file or a stored model can't be read.
        """
        checkpoint = None if self.checkpoint is None else self.checkpoint.pinned(folder)
        net: Net | None = self.net
        if isinstance(checkpoint, SweepRef):
            checkpoint.single()
            net = checkpoint.network(folder) if net is None else net
        recipe = None if self.recipe is None else self.recipe.pinned(folder)
        return self.model_copy(update={"net": net, "checkpoint": checkpoint, "recipe": recipe})


def _nested(data: Any) -> Any:  # noqa: ANN401 - whatever was given
    """The network in a field of its own, where its fields stand beside the source of weights, or in the recipe."""
    if not isinstance(data, Mapping):
        return data
    recipe = data.get("recipe")
    if "net" not in data and recipe is not None:
        return {**data, "net": recipe.get("net") if isinstance(recipe, Mapping) else getattr(recipe, "net", None)}
    if not isinstance(data.get("net"), str):
        return data
    net = {name: value for name, value in data.items() if name not in _SOURCES}
    _refuse_unknown(net)
    return {"net": net, **{name: data[name] for name in _SOURCES if name in data}}


def _where_given(error: ErrorDetails) -> InitErrorDetails:
    loc = error["loc"]
    if loc[:1] == ("net",) and len(loc) > 1:
        loc = loc[2:]  # without the tag of the family, which follows
    return InitErrorDetails(type=error["type"], loc=loc, input=error["input"], ctx=error.get("ctx", {}))


def _refuse_unknown(fields: Mapping[str, Any]) -> None:
    """Refuse names that neither a network nor a source of weights has, before the two are taken apart."""
    network = next((n for n in networks() if fields["net"] in n.families()), None)
    if network is None:
        return
    names = dict.fromkeys(("net", *network.model_fields))
    for info in network.model_fields.values():
        if isinstance(info.validation_alias, AliasChoices):
            names |= dict.fromkeys(str(alias) for alias in info.validation_alias.choices)
    names |= dict.fromkeys(_SOURCES)
    if unknown := [name for name in fields if name not in names]:
        close = difflib.get_close_matches(str(unknown[0]), names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{unknown[0]}: unknown field; {hint}known here: {', '.join(names)}")
