"""What a back-end does: losses, gradients and outputs of all models of a stack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.arithmetic import Precision
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.micro_batches import in_parts
from landsweep.sweeps.lab.training.place import ALONE, Place
from landsweep.sweeps.lab.training.stack import Stack

__all__ = ["Backend", "Unserved", "gradients_of"]


class Unserved(SpecError):
    """A back-end can't train a network.

    Args:
        backend: name of the back-end.
        reason: why it can't.
    """

    def __init__(self, backend: str, reason: str) -> None:
        cure = {"loop": "", "bmm": "; use auto, vmap or loop", "conv": "; use auto, vmap or loop"}.get(
            backend, "; use auto or loop"
        )
        super().__init__(f"the back-end {backend} can't train this network: {reason}{cure}")
        self.reason = reason


class Backend(ABC):
    """Computes for all models of a stack at once. It reads the stack's memory and writes only its buffers.

    Attributes:
        name: as in a spec.
        compiles: whether each number of models, and each type of weights, costs seconds before the first step.
        own_modules: whether each model needs a module of its own; else only the first one is used.
        automatic_on: types of devices on which `auto` tries it.
        gang: whether it is for models that several devices train together; then a pack is one model.
        computes_as: back-end whose states it can go on from, and which can go on from its own.
        knows: which of the recipe's settings of arithmetic and memory it follows.
        precision: of the recipe.
        compile: of the recipe.
        scales: what each model's loss is multiplied by before its gradient is taken, [K]; None: nothing.
        seeds: gives a seed for each model's own random draws in the next step; None: its modules draw nothing.

    Args:
        stack: of K models.
        modules: the K modules the stack was made of, with masks for dropout.
        loss: of the recipe.
    """

    name: ClassVar[str]
    compiles: ClassVar[bool] = False
    own_modules: ClassVar[bool] = False
    automatic_on: ClassVar[frozenset[str]] = frozenset(("cpu", "cuda"))
    gang: ClassVar[bool] = False
    computes_as: ClassVar[str] = ""
    knows: ClassVar[frozenset[str]] = frozenset()
    precision: Precision = "float32"
    compile: bool = False
    scales: Tensor | None = None
    seeds: Callable[[], Sequence[int]] | None = None

    def __init__(self, stack: Stack, modules: Sequence[nn.Module], loss: TrainingLoss) -> None:
        self.stack = stack
        self.modules = list(modules)
        self.loss = loss
        self.bind()

    @classmethod
    def serves(cls, module: nn.Module) -> str | None:
        """None if this back-end can compute the module; else the reason why it can't."""
        del module
        return None

    @classmethod
    def lacks(cls, recipe: Recipe) -> str | None:
        """None if this back-end follows all settings of a recipe; else the reason why it does not."""
        for name in ("precision", "bf16_weights", "micro_batch", "recompute", "attention", "compile", "trajectory"):
            value = getattr(recipe, name)
            if name not in cls.knows and value != Recipe.model_fields[name].default:
                return f"it does not know {name}" if name == "trajectory" else f"it does not know {name}: {value}"
        if recipe.trajectory is not None and cls.gang:
            return "outputs of some epochs ago are kept on one device"
        if recipe.optimizer.linearises and cls.gang:
            return f"{recipe.optimizer.method} needs the whole batch and all weights in one place"
        return None

    @classmethod
    def exact_rows(cls, module: nn.Module) -> bool:
        """Whether a model's bits are the same whatever the number of models beside it, as far as its layers tell."""
        del module
        return True

    @abstractmethod
    def bind(self) -> None:
        """Take views of the stack's memory; called whenever that is new."""

    @abstractmethod
    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        """Loss of each model, [K], the mean over its batch; its gradient goes into `out`.

        Args:
            inputs: [K, B, ...].
            targets: [K, B, ...].
            masks: of dropout, [K, B, ...] by name of the buffer.
            out: [K, P], overwritten.
        """

    def batch_gradients(
        self,
        inputs: Tensor,
        targets: Tensor,
        masks: Mapping[str, Tensor],
        out: Tensor,
        *,
        samples: int,
        micro_batch: int | None = None,
    ) -> Tensor:
        """Losses and gradients of a whole batch, of which this process computes its part; as of `gradients`.

        Args:
            inputs: [K, b, ...], the samples of `place`.
            targets: [K, b, ...].
            masks: of dropout, [K, b, ...] by name of the buffer.
            out: [K, P], overwritten.
            samples: in the whole batch.
            micro_batch: compute at most so many samples at a time; None: all of them.
        """
        del samples
        return in_parts(self.gradients, micro_batch, inputs, targets, masks, out)

    @abstractmethod
    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs [K, n, ...] of all models in evaluation mode for the same inputs [n, ...]."""

    @classmethod
    def stack_of(
        cls,
        modules: Sequence[nn.Module],
        device: str,
        idle: Collection[str] = (),
        tensors: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> Stack:
        """The stack that this back-end computes with; arguments as of `Stack`."""
        return Stack(modules, device, idle, tensors)

    @classmethod
    def place(cls) -> Place:
        """Which samples of each batch this process computes."""
        return ALONE

    def total(self, sums: Tensor) -> Tensor:
        """Sums over all samples of those over this process's."""
        return sums

    def norms(self, rows: Tensor) -> Tensor:
        """Norms [K, 1] of the whole gradients of which `rows` are what this process holds."""
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return norms

    def take(self, keep: Tensor) -> None:
        """Keep only these rows of the stack, and the modules that belong to them."""
        self.stack.take(keep)
        if self.own_modules:
            self.modules = [self.modules[k] for k in keep.tolist()]
        self.bind()


def gradients_of(loss: Tensor, leaves: Mapping[str, Tensor], idle: Mapping[str, Tensor]) -> list[Tensor]:
    """Gradients of a loss by the leaves.

    Args:
        loss: a number.
        leaves: parameters that train, by name.
        idle: parameters that the loss did not depend on in the first step.

    Raises:
        SpecError: which parameters the loss depends on has changed since the first step.
    """
    grads: Sequence[Tensor | None] = torch.autograd.grad(loss, [*leaves.values(), *idle.values()], allow_unused=True)
    present = [g for g in grads if g is not None]
    if len(present) == len(leaves) and not idle:
        return present
    by_name = dict(zip((*leaves, *idle), grads, strict=True))
    if changed := [n for n, g in by_name.items() if (g is None) != (n in idle)]:
        raise SpecError(
            f"net: the loss depends on {changed[0]} in some steps only, and optimizers treat a parameter without "
            "gradient otherwise than one whose gradient is 0; let each step use the same parameters"
        )
    return present
