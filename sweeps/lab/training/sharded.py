"""Weights of one model of which each member of a gang holds a part."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.training.collective import together
from landsweep.sweeps.lab.training.stack import Stack

__all__ = ["ShardedStack"]


class ShardedStack(Stack):
    """This member's part [1, P/n] of the weights of one model: of each parameter a stretch of its first axis.

    Attributes:
        module: the network, whose parameters are distributed.
        whole: layout of the whole model; `layout` is that of this member's part.

    Args:
        modules: the one network.
        device: of this member.
        idle: names of parameters that the loss does not depend on.
    """

    def __init__(self, modules: Sequence[nn.Module], device: str, idle: Collection[str] = ()) -> None:
        super().__init__(modules, "cpu", idle)
        self.whole: Layout = self.layout
        self.module = modules[0].to(device)
        with together():
            self.mesh: DeviceMesh = init_device_mesh(torch.device(device).type, (dist.get_world_size(),))
            for block in _blocks(self.module):
                fully_shard(block, mesh=self.mesh)
            fully_shard(self.module, mesh=self.mesh)
        local = {n: p.to_local() for n, p in self.module.named_parameters() if isinstance(p, DTensor)}
        self.layout = replace(self.whole, shapes={n: local[n].shape for n in self.whole.shapes})
        self.weights = torch.cat([local[n].detach().flatten() for n in self.layout.shapes])[None].clone()
        self.buffers = {name: b.to(device) for name, b in self.buffers.items()}

    def gather_gradients(self, out: Tensor) -> None:
        """This member's part of the gradients, which the backward pass has left in the module, into `out` [1, P/n]."""
        parts = self.layout.split(out)
        for name, p in self.module.named_parameters():
            if name in parts:
                assert isinstance(p.grad, DTensor), "the loss depends on every parameter that trains"
                parts[name][0].copy_(p.grad.to_local())
            p.grad = None

    @property
    def divided(self) -> bool:
        return True

    def by_parameter(self, rows: Tensor) -> dict[str, Tensor]:
        return dict(self._distributed(rows))

    def _distributed(self, rows: Tensor) -> dict[str, DTensor]:
        """Rows [1, P/n] of this member as tensors by parameter, of which all members hold their parts."""
        return {
            name: DTensor.from_local(
                view[0],
                self.mesh,
                [Shard(0)],
                run_check=False,
                shape=(full := self.whole.shapes[name]),
                stride=torch.empty(full, device="meta").stride(),
            )
            for name, view in self.layout.split(rows).items()
        }

    def gathered(self, rows: Tensor) -> Tensor:
        if rows.shape != self.weights.shape:
            return rows
        with together():
            return torch.cat([t.full_tensor().flatten() for t in self._distributed(rows).values()])[None]

    def own_part(self, rows: Tensor) -> Tensor:
        if rows.shape != (1, self.whole.size):
            return rows
        views = self.whole.split(rows.to(self.weights.device))
        rank, size = dist.get_rank(), dist.get_world_size()
        parts = []
        for view in views.values():
            chunks = torch.chunk(view[0], size, 0)  # as FSDP cuts: the last members may have less, or none
            parts.append(chunks[rank].flatten() if rank < len(chunks) else view.new_zeros(0))
        return torch.cat(parts)[None]

    def states_of(self, rows: Sequence[int], weights: Tensor | None = None) -> list[dict[str, Tensor]]:
        """As of `Stack`; all members have to ask for it together."""
        source = self.gathered(self.weights if weights is None else weights)
        chosen = torch.tensor(rows, device=self.weights.device)
        return self._named(self.whole.split(source.detach().cpu().clone()), chosen)


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Parts that are gathered one by one: the members of lists and sequences that have parameters."""
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and m is not module]
    inner = [child for m in lists for child in m.children()]
    nested = {id(part) for child in inner for part in child.modules() if part is not child}
    return [child for child in inner if id(child) not in nested and any(True for _ in child.parameters())]
