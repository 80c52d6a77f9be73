"""A module set up to be moved in the space of its weights, and given back as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landsweep.orchestrator.kind import Arrays
from landsweep.sweeps.lab.models.base import number_type
from landsweep.sweeps.lab.weight_space.batch_norm import BatchNormMode, reestimate, running_layers
from landsweep.sweeps.lab.weight_space.plain_pass import plain_pass
from landsweep.sweeps.lab.weight_space.space import Space

__all__ = ["MovableModule", "state_arrays"]


def state_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """A module's state dict as arrays; bfloat16, which NumPy lacks, becomes float32 without loss."""
    state: dict[str, Tensor] = module.state_dict()
    return {k: (t.float() if t.dtype is torch.bfloat16 else t).detach().cpu().numpy().copy() for k, t in state.items()}


class MovableModule:
    """A module in evaluation mode whose parameters move in a space.

    The module's own memory is never written to: it works on copies until `close`.

    Args:
        module: stays the caller's.
        state: its state dict as arrays: the centre.
        directions: axis to direction, by names of parameters, and of buffers where these move too.
        mode: what happens to batch normalisation.
        batches: training inputs from which `reestimate` takes its statistics.
        device: where the module is.

    Attributes:
        dtype: of the module's weights, and so of its inputs.
    """

    def __init__(
        self,
        module: nn.Module,
        state: Arrays,
        directions: Mapping[str, Arrays],
        mode: BatchNormMode,
        batches: Sequence[Tensor],
        device: str,
    ) -> None:
        self._module = module
        self.dtype = number_type(module)
        self._training = {m: m.training for m in module.modules()}
        tensors: dict[str, Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        stored = module.state_dict(keep_vars=True)
        self._originals = {name: t.data for name, t in tensors.items()}
        self._tensors = tensors
        self._batches = batches if mode == "reestimate" and running_layers(module) else None
        module.eval()
        for name, t in tensors.items():
            value = torch.from_numpy(np.array(state[name])) if name in stored else t.data.clone()
            t.data = value.to(device=device, dtype=t.dtype)
        self._statistics = {n: b.data.clone() for n, b in module.named_buffers()} if self._batches else {}
        moving: dict[str, Tensor] = dict(module.named_parameters())
        if mode == "interpolate":
            moving |= {n: b for n, b in module.named_buffers() if b.is_floating_point() and n in stored}
        self._space = Space(moving, {a: _on(moving, d) for a, d in directions.items()})
        self._pass = plain_pass(module) if device == "cpu" else None

    def move(self, coordinates: Mapping[str, float]) -> None:
        """Set the weights, and the statistics of batch normalisation as the mode has it."""
        self._space.move(coordinates)
        if self._batches is not None:
            reestimate(self._module, self._batches)

    def restore(self) -> None:
        """Back to the centre, exactly."""
        self._space.restore()
        for name, value in self._statistics.items():
            self._tensors[name].data.copy_(value)

    def forward(self, batch: Tensor) -> Tensor:
        """Outputs of the module where it is."""
        if self._pass is not None and not torch.is_grad_enabled():
            return self._pass(batch)
        outputs: Tensor = self._module(batch)
        return outputs

    def close(self) -> None:
        """Give the module back: its own memory, its own modes."""
        self._space.close()
        for name, t in self._tensors.items():
            t.data = self._originals[name]
        for m, training in self._training.items():
            m.training = training


def _on(moving: Mapping[str, Tensor], direction: Arrays) -> dict[str, Tensor]:
    """A direction's arrays as tensors, where and of what type the tensors that it moves are."""
    return {
        name: torch.from_numpy(np.array(d)).to(device=moving[name].device, dtype=moving[name].dtype)
        for name, d in direction.items()
        if name in moving
    }
