"""What all networks share: how one is built, from which seed, and on which data it fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, get_args

import torch
from pydantic import Field, model_validator
from torch import nn

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.data.base import Data, InputKind
from landsweep.sweeps.lab.models.count import Count
from landsweep.sweeps.lab.models.initialisation import Init, initialise
from landsweep.sweeps.lab.models.meta_init import tune_norms
from landsweep.sweeps.lab.streams import generator

__all__ = ["Dropout", "Feature", "Net", "Size", "Widths", "logits_misfit", "number_type", "parameter_count"]

Dropout: TypeAlias = Annotated[float, Field(ge=0, lt=1, description="share of activations put to 0 in training")]
Widths: TypeAlias = tuple[Annotated[int, Field(ge=1)], ...]
Size: TypeAlias = Literal["width", "depth", "heads"]
Feature: TypeAlias = Literal["width", "depth", "heads", "branches"]


class Net(Section):
    """A network: what it is made of, not how it is trained.

    The keys of its state dict depend on the sizes alone: never on activation, normalisation, dropout, initialisation
    or shortcuts. Every module works under `torch.func.functional_call` and `vmap` with stacked parameters and buffers.
    Dropout is always `nn.Dropout`, one module for each place, also where its share is 0.

    What else can be done with a family is said by its class attributes and by the methods after `misfit`. Their
    defaults are those of a network of one size, without residual branches and attention. The tensors of residual
    blocks are named `blocks.I.*`.

    Attributes:
        takes: kinds of inputs.
        sizes: those that can be changed, by `resize.resized`. `width`, `depth` and `heads` are
            fields of these names unless the methods say otherwise.
        own_code: whether the module is the user's: nothing is known of it before it has been built and run.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("vectors", "images", "tokens")
    sizes: ClassVar[frozenset[Size]] = frozenset()
    own_code: ClassVar[bool] = False
    init: Init = Init()

    @model_validator(mode="after")
    def _metainit_fits(self) -> Self:
        if self.init.meta is not None and (self.own_code or not {"vectors", "images"} & {*self.takes}):
            what = "is the user's own" if self.own_code else "takes tokens"
            raise ValueError(
                f"init.meta: its inputs are drawn as normal numbers, and {self.family} {what}; leave it out"
            )
        return self

    def build(
        self, shape: tuple[int, ...], classes: int, seed: int | torch.Generator, folder: Path = Path()
    ) -> nn.Module:
        """The module with initial weights, on the CPU, in training mode; the global random state stays as it was.

        Args:
            shape: of one input: [features], [channels, height, width], or [context] for tokens.
            classes: how many outputs: `Data.outputs`; for tokens also the size of the vocabulary.
            seed: of a recipe, whose stream `init` is drawn from; or a generator, which is drawn from as it stands.
            folder: that relative paths start from.
        """
        source = seed if isinstance(seed, torch.Generator) else generator(seed, "init")
        module = self.undrawn(shape, classes, source, folder)
        self.draw(module, shape, source)
        return module

    def undrawn(
        self, shape: tuple[int, ...], classes: int, source: torch.Generator, folder: Path = Path()
    ) -> nn.Module:
        """The module of `build` before `draw`; from the generator only the seed is taken, for the global state."""
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which also seeds GPUs, whose state nobody gives back, and is ten times slower.
            torch.default_generator.manual_seed(source.initial_seed())
            return self._module(shape, classes, folder)

    def draw(self, module: nn.Module, shape: tuple[int, ...], source: torch.Generator) -> None:
        """Give a module of `undrawn` its initial weights, in place; arguments as of `build`."""
        self._initialise(module, source)
        if self.init.meta is not None:
            tune_norms(module, shape, self.init.meta, source)

    def skeleton(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The module without memory for its weights (on the device `meta`): for names, shapes and kinds of layers."""
        with torch.device("meta"):
            return self._module(shape, classes, Path())

    def misfit(self, data: Data) -> str | None:
        """Why this network can't be trained on such data; None where it can. Sizes only: nothing is built."""
        if data.kind not in self.takes:
            return f"takes {' or '.join(self.takes)}, but the data gives {data.kind} {list(data.shape)}"
        return None

    @classmethod
    def families(cls) -> tuple[str, ...]:
        """What specs call this network: the values of its field `net`."""
        return get_args(cls.model_fields["net"].annotation)

    @property
    def family(self) -> str:
        """What specs call it."""
        return str(getattr(self, "net", type(self).__name__))

    def structure(self) -> dict[str, Any]:
        """Its settings without its initial weights; of dropout only whether there is any."""
        dumped = self.model_dump(mode="json", exclude={"init"})
        return {**dumped, "dropout": bool(dumped["dropout"])} if "dropout" in dumped else dumped

    def current_width(self) -> int | None:
        """Width of the first hidden layer, which stands for all of them; None where there is none that could change."""
        return getattr(self, "width") if "width" in self.sizes else None  # noqa: B009 - a field of some families

    def current_depth(self) -> int | None:
        """The depth as its spec counts it; None where it can't change."""
        return getattr(self, "depth") if "depth" in self.sizes else None  # noqa: B009

    def attention_heads(self) -> int | None:
        """How many; None where it has no attention."""
        return getattr(self, "heads") if "heads" in self.sizes else None  # noqa: B009

    def fields_for(self, sizes: Mapping[Size, int]) -> dict[str, object]:
        """The fields that give it other sizes.

        Args:
            sizes: only such that this network has.

        Raises:
            SpecError: they can't be had together.
        """
        return {str(name): value for name, value in sizes.items()}

    def lacks(self, feature: Feature) -> str | None:
        """Why this network lacks what others of its family have, and what to do; None where it or no other has it."""
        del feature
        return None

    def residual_blocks(self, depth: int) -> int | None:
        """Residual blocks that this network has at a depth; None where it has none that the depth could change."""
        del depth
        return None

    def branch_ends(self) -> frozenset[str]:
        """Names in a block of the tensors that a residual branch is proportional to, all those of one kind together."""
        return frozenset()

    def queries(self) -> frozenset[str]:
        """Names in a block of the tensors that attention scores are proportional to."""
        return frozenset()

    def branch_shrink(self, shallower: float = 1.0) -> float:
        """By how much the tensors of `branch_ends` are drawn smaller than others.

        Args:
            shallower: by how many times fewer residual blocks the network should be taken to have.
        """
        del shallower
        return 1.0

    def closed_form(self, shape: tuple[int, ...], outputs: int) -> Count | None:
        """Parameters and operations by a formula; None where there is none: then a dry run counts them.

        A formula holds for the class that it stands in: of subclasses it is not asked.

        Args:
            shape: shape of one input, as for `build`.
            outputs: how many, as for `build`.
        """
        del shape, outputs
        return None

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        raise NotImplementedError

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        initialise(module, self.init, source)


def logits_misfit(logits: Literal["all", "last"], data: Data) -> str | None:
    """Why the logits of all positions, or of the last one, are not what the data asks for; None where they are."""
    if data.sequence == (logits == "all"):
        return None
    needed, targets = ("all", "each position") if data.sequence else ("last", "each sample, not position")
    return f"needs `logits: {needed}`, since the data has one target for {targets}"


def parameter_count(module: nn.Module) -> int:
    """How many numbers a module's parameters hold; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


def number_type(module: nn.Module) -> torch.dtype:
    """Type of a module's weights, which its inputs must have too; float32 where it has none."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
