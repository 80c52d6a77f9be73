"""A stack: trained parameters of K models of one architecture in one array; buffers and fixed parameters in a few."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.arithmetic import wide
from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.training.dropout import mask_names

__all__ = ["Stack"]


class Stack:
    """Weights [K, P] and buffers [K, ...] of K models.

    Attributes:
        layout: of a row.
        weights: [K, P], of the parameters that train; in bf16 only after `round_to_bf16`.
        buffers: name to [K, ...], of the buffers and of the parameters that do not train.

    Args:
        modules: of the models.
        device: of the arrays.
        idle: names of parameters that the loss does not depend on.
        tensors: parameters and buffers of each model by name; None: those of its module.

    Raises:
        SpecError: the models do not train the same parameters, or two of them share one.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        device: str,
        idle: Collection[str] = (),
        tensors: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> None:
        self.layout = layout = Layout.of(modules[0], idle)
        masks = mask_names(modules[0])
        of_modules = {id(m): m for m in modules}  # one object may stand in several rows
        _check_alike([dict(m.named_parameters()) for m in of_modules.values()])
        if tensors is None:
            each = {key: dict(m.named_buffers()) | dict(m.named_parameters()) for key, m in of_modules.items()}
            tensors = [each[id(m)] for m in modules]
        others = [*(n for n, _ in modules[0].named_buffers() if n not in masks), *layout.fixed]
        with torch.no_grad():
            parts = {n: torch.stack([t[n] for t in tensors]) for n in (*layout.shapes, *others)}
            self.weights = torch.cat([parts[n].view(len(modules), -1) for n in layout.shapes], 1).to(device)
            self.buffers = {n: parts[n].to(device) for n in others}

    def __len__(self) -> int:
        return len(self.weights)

    def leaves(self) -> dict[str, Tensor]:
        """Views of the weights as leaves that gradients are taken of; they follow the weights' memory."""
        return {n: v.requires_grad_() for n, v in self.layout.split(self.weights.detach()).items()}

    def round_to_bf16(self) -> None:
        """Keep the weights in bf16 from here on; to be called before a back-end takes views."""
        self.weights = self.weights.bfloat16()

    @contextmanager
    def widened(self) -> Iterator[None]:
        """While this lasts, `weights` are in a type in which steps can be made; then bf16 ones are rounded to it."""
        if self.weights.dtype is not torch.bfloat16:
            yield
            return
        kept, self.weights = self.weights, self.weights.float()
        try:
            yield
            kept.copy_(self.weights)
        finally:
            self.weights = kept  # back-ends hold views of this memory

    @property
    def divided(self) -> bool:
        """Whether other processes hold parts of the rows."""
        return False

    def by_parameter(self, rows: Tensor) -> dict[str, Tensor]:
        """Rows of one model as tensors by name of the parameter, in the same memory; also of those that are divided."""
        return {name: view[0] for name, view in self.layout.split(rows).items()}

    def gathered(self, rows: Tensor) -> Tensor:
        """Rows of weights, or of what is kept of each, as those of whole models; all else as it is."""
        return rows

    def own_part(self, rows: Tensor) -> Tensor:
        """Of such rows what this process holds: the reverse of `gathered`."""
        return rows

    def take(self, keep: Tensor) -> None:
        """Keep only these rows, in new memory."""
        self.weights = self.weights[keep].contiguous()
        self.buffers = {name: b[keep].contiguous() for name, b in self.buffers.items()}

    def states_of(self, rows: Sequence[int], weights: Tensor | None = None) -> list[dict[str, Tensor]]:
        """State dicts of these rows, on the CPU: views of copies that they share, one for each kind of array.

        Args:
            rows: of the models, at least one.
            weights: [n, P] of these rows, instead of the stack's.
        """
        chosen = torch.tensor(rows, device=self.weights.device)
        source = wide((self.weights[chosen] if weights is None else weights).detach().cpu())
        return self._named(self.layout.split(source), chosen)

    def _named(self, weights: Mapping[str, Tensor], chosen: Tensor) -> list[dict[str, Tensor]]:
        """The same of weights by name, [n, ...] each, and of these rows of the stack's buffers."""
        every = {**weights, **{n: b[chosen].cpu() for n, b in self.buffers.items()}}
        return [{key: every[name][i] for key, name in self.layout.aliases.items()} for i in range(len(chosen))]


def _check_alike(networks: Sequence[Mapping[str, nn.Parameter]]) -> None:
    """Refuse networks, each given by its parameters, that share one or differ in names, shapes or in what trains."""
    first = {n: (p.shape, p.requires_grad) for n, p in networks[0].items()}
    owners: dict[int, int] = {}
    for i, network in enumerate(networks):
        for name, p in network.items():
            if p.requires_grad and owners.setdefault(id(p), i) != i:
                raise SpecError(
                    f"net: two models share the parameter {name}; the function that builds them must make new "
                    "parameters at each call"
                )
        parameters = {n: (p.shape, p.requires_grad) for n, p in network.items()}
        if parameters != first:
            odd = sorted(n for n in {*parameters, *first} if parameters.get(n) != first.get(n))
            raise SpecError(
                f"net: models of one pack differ in the parameter {odd[0]}: in its shape, or in whether it trains; "
                "what the function builds may depend on its arguments only, but for the values of weights"
            )
