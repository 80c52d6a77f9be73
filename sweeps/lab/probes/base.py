"""What all probes share: the pack that they look at, and their place in a spec."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.layout import Layout

__all__ = ["Probe", "Subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """K models of one architecture, and the samples that a probe looks at: of those that each model trains on.

    Attributes:
        module: of any of the models; called with the weights of each.
        weights: [K, P], of the parameters that train.
        layout: where each parameter lies in a row of the weights.
        buffers: name to [K, ...], of buffers and of parameters that do not train.
        inputs: [K, n, ...].
        own: [K, n] whether a sample is one that the model trains on; the others only fill up the array.
        losses: outputs [K, n, ...] of all models to their losses [K], the mean over their own samples.
        divisor: gives what the last step of the optimizer divided the gradients by, [K, P], with nan in rows that have
            made no step; None where that is not known.
        shared: whether all models have the same inputs.
        stacks: whether the module may be called with the weights of all models at once.
    """

    module: nn.Module
    weights: Tensor
    layout: Layout
    buffers: Mapping[str, Tensor]
    inputs: Tensor
    own: Tensor
    losses: Callable[[Tensor], Tensor]
    divisor: Callable[[], Tensor | None]
    shared: bool
    stacks: bool

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The module in evaluation mode, and back."""
        training = self.module.training
        self.module.eval()
        try:
            yield
        finally:
            self.module.train(training)

    @torch.no_grad()
    def outputs(self, k: int) -> Tensor:
        """Outputs [n, ...] of one model for its own samples, by the module itself, so that hooks see what it does."""
        tensors = {name: part[0] for name, part in self.layout.split(self.weights[k : k + 1]).items()}
        tensors |= {name: b[k] for name, b in self.buffers.items()}
        given: Tensor = functional_call(self.module, tensors, (self.inputs[k][self.own[k]],))
        return given


class Probe(Section):
    """A measurement on models in training, at each evaluation. A subclass per file, told apart by `probe`.

    It looks at samples as the data holds them, without augmentation, with the labels that the model was given.

    Attributes:
        measures: name and meaning of each value that is a column of the rows too, with what was measured last. Values
            whose names depend on the network are in the series only.
        needs_divisor: whether it is defined only where the optimizer divides gradients by a vector.
    """

    measures: ClassVar[Mapping[str, str]] = {}
    needs_divisor: ClassVar[bool] = False

    probe: str
    first: int = Field(256, ge=1, description="look at the first n of the samples that the model trains on")

    @abstractmethod
    def measure(self, subject: Subject) -> Sequence[Mapping[str, float]]:
        """Name to value, for each of the K models."""
