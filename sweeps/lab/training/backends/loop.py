"""The reference back-end: one module after the other, as anyone would write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.arithmetic import arithmetic, backward_arithmetic, wide
from landsweep.sweeps.lab.streams import restart, seeded
from landsweep.sweeps.lab.training.backends.base import Backend, gradients_of

__all__ = ["Loop"]

_SETTINGS = ("precision", "bf16_weights", "micro_batch", "trajectory", "recompute", "attention", "compile")


class Loop(Backend):
    """Each model by its own module, whose parameters and buffers are views of the stack."""

    name: ClassVar[str] = "loop"
    own_modules: ClassVar[bool] = True
    computes_as: ClassVar[str] = "loop"
    knows: ClassVar[frozenset[str]] = frozenset(_SETTINGS)

    def bind(self) -> None:
        self._compiled: dict[int, Callable[[Tensor], Tensor]] = {}
        self._leaves: list[dict[str, Tensor]] = []
        self._idle: list[dict[str, Tensor]] = []
        self._buffers: list[list[tuple[dict[str, Tensor], str, Tensor]]] = []
        layout, views = self.stack.layout, self.stack.layout.split(self.stack.weights)
        for k, module in enumerate(self.modules):
            module.to(self.stack.weights.device)
            parameters = dict(module.named_parameters())
            for name, p in parameters.items():
                p.data = views[name][k] if name in views else self.stack.buffers[name][k]
            replaceable = []  # entries of the module's own tables, since a module may put a new tensor there
            for name, b in module.named_buffers():
                if name in self.stack.buffers:
                    b.data = self.stack.buffers[name][k]
                    owner, _, key = name.rpartition(".")
                    replaceable.append((vars(module.get_submodule(owner))["_buffers"], key, b))
            self._buffers.append(replaceable)
            self._leaves.append({name: parameters[name] for name in views})
            self._idle.append({name: parameters[name] for name in layout.idle})

    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        losses = []
        for k, module in self._each():
            module.train()
            for name, mask in masks.items():
                module.get_buffer(name).data = mask[k]
            with arithmetic(self.precision, out.device):
                outputs = wide(self._program(k)(inputs[k]))
            loss = self.loss(outputs[None], targets[k : k + 1]).mean()
            scaled = loss if self.scales is None else loss * self.scales[k]
            with backward_arithmetic(self.precision, out.device):
                grads = gradients_of(scaled, self._leaves[k], self._idle[k])
            torch.cat([g.reshape(-1) for g in grads], out=out[k])
            losses.append(loss.detach())
            self._take_in(k)
        return torch.stack(losses)

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        outputs = []
        for k, module in self._each():
            module.eval()
            with arithmetic(self.precision, inputs.device):
                outputs.append(wide(self._program(k)(inputs)))
            self._take_in(k)
        return torch.stack(outputs)

    def _program(self, k: int) -> Callable[[Tensor], Tensor]:
        """A module, or what it was compiled to."""
        if not self.compile:
            return self.modules[k]
        if k not in self._compiled:
            self._compiled[k] = torch.compile(self.modules[k])
        return self._compiled[k]

    def _each(self) -> Iterator[tuple[int, nn.Module]]:
        """The modules, each with the global random states at its own seed; they are given back at the end."""
        if self.seeds is None:
            yield from enumerate(self.modules)
            return
        device = self.stack.weights.device
        with seeded(0, device):
            for k, (module, seed) in enumerate(zip(self.modules, self.seeds(), strict=True)):
                restart(seed, device)
                yield k, module

    @torch.no_grad()
    def _take_in(self, k: int) -> None:
        """Buffers that the module has replaced, rather than written to, come back into the stack's memory."""
        for buffers, name, view in self._buffers[k]:
            now = buffers[name]
            if now is not view:
                if now.shape != view.shape:
                    raise SpecError(f"net: the buffer {name} has changed its shape to {list(now.shape)} in a step")
                view.copy_(now)
                buffers[name] = view
