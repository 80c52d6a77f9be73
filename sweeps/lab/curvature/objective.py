"""Mean losses of K models of one architecture as functions of their weights: what curvature is the curvature of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from landsweep.orchestrator.accelerators import of_the_machine
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.losses import LossFunction

__all__ = ["Objective", "differentiating"]

_UNDERIVED = ("derivative", "differentia", "double backward", "double-backward")


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """The mean loss of each of K models on its samples, in evaluation mode.

    Models share no weights, so their Hessians are the blocks of the sum's: one backward pass serves all of them. A
    model's numbers do not depend on the models beside it.

    Attributes:
        module: of any of the models; called with the weights of each.
        layout: where each parameter lies in a row of the weights; the others are constants.
        weights: [K, P].
        buffers: name to [K, ...], of buffers and of parameters that are constants.
        inputs: [K, n, ...]; may be a view that repeats one set of samples.
        targets: [K, n, ...].
        loss: outputs [m, ...] and targets [m, ...] of one network to the loss of each sample [m].
        batch_size: samples per forward pass.
        stacked: whether the module is called with the weights of all models at once.
    """

    module: nn.Module
    layout: Layout
    weights: Tensor
    buffers: dict[str, Tensor]
    inputs: Tensor
    targets: Tensor
    loss: LossFunction
    batch_size: int
    stacked: bool = True

    @classmethod
    def of(
        cls,
        modules: Sequence[nn.Module],
        inputs: Tensor | Sequence[Tensor],
        targets: Tensor | Sequence[Tensor],
        loss: LossFunction,
        batch_size: int,
        parameters: Collection[str] = (),
        dtype: torch.dtype | None = None,
    ) -> Self:
        """The objective of networks of one architecture, which are put into evaluation mode.

        Args:
            modules: the networks. They are computed by the code of the first one.
            inputs: [n, ...] for all, or a list of such, one for each network.
            targets: as the inputs.
            loss: of each sample.
            batch_size: samples per forward pass.
            parameters: patterns of the names of the parameters that count as weights; none: all that train.
            dtype: to compute in; None: the type of the weights.

        Raises:
            SpecError: no parameter matches a pattern.
        """
        for module in modules:
            module.eval()
        layout = _chosen(Layout.of(modules[0]), parameters)
        states = [dict((*m.named_parameters(), *m.named_buffers())) for m in modules]
        with torch.no_grad():
            weights = torch.stack([torch.cat([s[n].flatten() for n in layout.shapes]) for s in states])
            others = [n for n in states[0] if n not in layout.shapes]
            buffers = {n: torch.stack([s[n].detach() for s in states]) for n in others}
        k = len(modules)
        x, y = (t.expand(k, *t.shape) if isinstance(t, Tensor) else torch.stack(list(t)) for t in (inputs, targets))
        made = cls(modules[0], layout, weights, buffers, x, y, loss, batch_size)
        return made if dtype is None else made.to(dtype)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def samples(self) -> int:
        """How many samples each model sees."""
        return self.targets.shape[1]

    def to(self, dtype: torch.dtype) -> Self:
        """The same objective in another precision."""

        def cast(t: Tensor) -> Tensor:
            return t.to(dtype) if t.is_floating_point() else t

        buffers = {n: cast(b) for n, b in self.buffers.items()}
        weights, inputs, targets = cast(self.weights), cast(self.inputs), cast(self.targets)
        return replace(self, weights=weights, buffers=buffers, inputs=inputs, targets=targets)

    def alone(self, k: int, module: nn.Module | None = None) -> Self:
        """The objective of one of the models, without stacking.

        Args:
            k: which.
            module: its own module; None: this objective's.
        """
        one = slice(k, k + 1)
        buffers = {n: b[one] for n, b in self.buffers.items()}
        weights, inputs, targets = self.weights[one], self.inputs[one], self.targets[one]
        one_of = replace(self, weights=weights, buffers=buffers, inputs=inputs, targets=targets, stacked=False)
        return one_of if module is None else replace(one_of, module=module)

    def part(self, start: int, end: int) -> Self:
        """The same on some of the samples."""
        return replace(self, inputs=self.inputs[:, start:end], targets=self.targets[:, start:end])

    def at(self, weights: Tensor) -> Self:
        """The same at other weights [K, P]."""
        return replace(self, weights=weights)

    def only(self, names: Collection[str]) -> Self:
        """The same in these parameters alone; the others are constants."""
        parts = self.layout.split(self.weights)
        shapes = {n: s for n, s in self.layout.shapes.items() if n in names}
        weights = torch.cat([parts[n].flatten(1) for n in shapes], 1)
        others = {n: part for n, part in parts.items() if n not in shapes}
        layout = replace(self.layout, shapes=shapes)
        return replace(self, layout=layout, weights=weights, buffers={**self.buffers, **others})

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets [K, m, ...], `batch_size` at a time, in order."""
        n = self.batch_size
        yield from zip(torch.split(self.inputs, n, 1), torch.split(self.targets, n, 1), strict=True)

    def outputs(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """Outputs [K, m, ...] for inputs [K, m, ...] at weights [K, P]."""

        def one(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
            outputs: Tensor = functional_call(self.module, state, (inputs,))
            return outputs

        state = {**self.layout.split(weights), **self.buffers}
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no second derivative
            if self.stacked:
                stacked: Tensor = vmap(one)(state, inputs)
                return stacked
            return torch.stack([one({n: t[k] for n, t in state.items()}, x) for k, x in enumerate(inputs)])

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Losses of the samples, [K, m], of outputs [K, m, ...].

        Raises:
            SpecError: the loss has no gradient.
        """
        if self.stacked:
            losses: Tensor = vmap(self.loss)(outputs, targets)
        else:
            losses = torch.stack([self.loss(o, t) for o, t in zip(outputs, targets, strict=True)])
        if outputs.requires_grad and not losses.requires_grad:
            raise SpecError("the loss has no gradient (such as the error), so it has no curvature; name another loss")
        return losses

    @torch.no_grad()
    def losses(self, weights: Tensor | None = None) -> Tensor:
        """Mean losses [K]; at other weights [K, P] than the models' own, if given."""
        at = self.weights if weights is None else weights
        sums = [self.each(self.outputs(at, x), y).sum(1) for x, y in self.batches()]
        return torch.stack(sums).sum(0) / self.samples

    def gradient(self, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean losses [K] and their gradients [K, P]; at other weights [K, P], if given."""
        at = (self.weights if weights is None else weights).detach().requires_grad_()
        losses, gradients = at.new_zeros(len(at)), torch.zeros_like(at)
        with differentiating():
            for x, y in self.batches():
                each = self.each(self.outputs(at, x), y)
                losses += each.detach().sum(1)
                gradients += torch.autograd.grad(each.sum(), at)[0]
        return losses / self.samples, gradients / self.samples


@contextmanager
def differentiating() -> Iterator[None]:
    """Gradients are enabled, and an operation that has none is refused.

    Raises:
        SpecError: an operation of the network has no derivative, or none of its derivative.
    """
    try:
        with torch.enable_grad():
            yield
    except (NotImplementedError, RuntimeError) as e:
        if of_the_machine(e) or not any(word in str(e) for word in _UNDERIVED):
            raise
        raise SpecError(
            f"an operation of this network has no second derivative, so its curvature is not known: {e}; write the "
            "operation with plain torch functions, or leave this measure out"
        ) from e


def _chosen(layout: Layout, parameters: Collection[str]) -> Layout:
    """The layout of those parameters alone whose names match a pattern, such as `out.*`; all where there is none.

    Raises:
        SpecError: a pattern matches none of them.
    """
    if not parameters:
        return layout
    for pattern in parameters:
        if not any(fnmatchcase(name, pattern) for name in layout.shapes):
            raise SpecError(
                f"parameters: {pattern!r} is the name of no trained parameter; there are {', '.join(layout.shapes)}"
            )
    shapes = {n: s for n, s in layout.shapes.items() if any(fnmatchcase(n, p) for p in parameters)}
    return replace(layout, shapes=shapes)
