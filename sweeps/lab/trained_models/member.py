"""One model of a zoo: its row, its weights at any checkpoint, its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.unit import as_python
from landsweep.sweeps.lab.checkpoints.source import Shape
from landsweep.sweeps.lab.matching.orders import canonical_order, permuted
from landsweep.sweeps.lab.trained_models.architecture import Architecture
from landsweep.sweeps.lab.trained_models.model_files import ModelFiles

if TYPE_CHECKING:
    from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["Member"]


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a zoo.

    Attributes:
        files: of the zoo.
        row: the model's params, metrics and status.
    """

    files: ModelFiles
    row: Mapping[str, Any]

    def __repr__(self) -> str:
        swept = {name: self.row.get(name) for name in self.files.swept}
        settings = ", ".join(f"{name}={as_python(value)!r}" for name, value in swept.items())
        return f"Member({self.key[:8]}: {self.row['status']}; {settings})"

    @property
    def key(self) -> str:
        """The model's key."""
        return str(self.row["key"])

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its checkpoints, in order of training; none where it failed."""
        return self.files.labels(self.row)

    @property
    def shape(self) -> Shape:
        """Shape of one input of its network, and the number of its outputs."""
        return self.files.shape(self.row)

    def recipe(self) -> Recipe:
        """The recipe by which it was trained.

        Raises:
            UsageError: the row lacks something that the zoo's spec sweeps.
            Untrusted: the recipe names code of the zoo's author, and the zoo is not trusted.
        """
        return self.files.recipe(self.row)

    def state(self, label: str = "last") -> dict[str, Tensor]:
        """The state dict of a checkpoint; only this model's slices are read.

        Raises:
            UsageError: it has no such checkpoint, or the file is missing or damaged.
        """
        if label not in self.labels:
            has = f"it has {', '.join(self.labels)}" if self.labels else f"it has none ({self.row['status']})"
            raise UsageError(f"model {self.key} has no checkpoint {label!r}; {has}")
        return self.files.state(self.row, label)

    def architecture(self, label: str = "last") -> Architecture:
        """What its network is made of."""
        return self.files.architecture(self.row, self.state(label))

    def vector(self, label: str = "last") -> Tensor:
        """The parameters as one vector [P], in the order of the network's `named_parameters`; buffers are left out."""
        state = self.state(label)
        return self.files.architecture(self.row, state).vector(state)

    def module(self, label: str = "last") -> nn.Module:
        """The network with these weights, of their type, in evaluation mode."""
        return self.files.module(self.row, self.state(label))

    def permuted(self, seed: int, label: str = "last") -> dict[str, Tensor]:
        """The same function with its hidden units shuffled.

        Raises:
            SpecError: an operation of the network has no rule, or none of its hidden units can change places.
        """
        state = self.state(label)
        return permuted(state, self.files.architecture(self.row, state).units, seed)

    def canonical(self, label: str = "last") -> dict[str, Tensor]:
        """The same function with its hidden units in the canonical order.

        Raises:
            SpecError: as for `permuted`.
        """
        state = self.state(label)
        return canonical_order(state, self.files.architecture(self.row, state).units)
