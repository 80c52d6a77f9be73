"""Sharpness: the largest eigenvalue of the loss's Hessian, of all models of a pack at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call, vmap

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.probes.base import Probe, Subject
from landsweep.sweeps.lab.streams import generator

__all__ = ["Sharpness", "largest_eigenvalues"]

_ASYMMETRIC = 1e-3  # of the largest product; rounding in float32 is below 1e-5
Product: TypeAlias = Callable[[Tensor], Tensor]


class Sharpness(Probe):
    """`sharpness`: largest eigenvalue of the Hessian of the loss on the first samples, without weight decay and z-loss.

    By the Lanczos method with exact Hessian-vector products, in the weights that act and train (frozen ones are
    constants), in evaluation mode. Its width independence along training is what lets learning rates transfer
    (arXiv 2402.17457).
    """

    measures: ClassVar[Mapping[str, str]] = {
        "sharpness": "largest eigenvalue of the Hessian of the training loss at the last evaluation"
    }

    probe: Literal["sharpness"]
    products: int = Field(24, ge=2, description="most Hessian-vector products")
    tolerance: float = Field(1e-3, gt=0, description="relative change of the value from one product to the next")

    def measure(self, subject: Subject) -> Sequence[Mapping[str, float]]:
        leaves = subject.weights.detach().requires_grad_()

        def one(state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
            outputs: Tensor = functional_call(subject.module, dict(state), (inputs,))
            return outputs

        with subject.evaluating(), torch.enable_grad():
            state = {**subject.layout.split(leaves), **subject.buffers}
            if subject.stacks and subject.shared:
                outputs = vmap(one, in_dims=(0, None))(state, subject.inputs[0])
            elif subject.stacks:
                outputs = vmap(one)(state, subject.inputs)
            else:
                each = enumerate(subject.inputs)
                outputs = torch.stack([one({n: t[k] for n, t in state.items()}, x) for k, x in each])
            losses = subject.losses(outputs)
            (grads,) = torch.autograd.grad(losses.sum(), leaves, create_graph=True)

            def product(v: Tensor) -> Tensor:
                # Models share no weights, so the Hessian of the sum is made of theirs, block by block.
                return torch.autograd.grad(grads, leaves, v, retain_graph=True)[0]

            values = largest_eigenvalues(product, leaves.detach(), self.products, self.tolerance)
        return [{"sharpness": value} for value in values.tolist()]


@torch.no_grad()
def largest_eigenvalues(product: Product, like: Tensor, products: int, tolerance: float) -> Tensor:
    """Largest eigenvalue, by sign, of K symmetric matrices [P, P], by Lanczos with full re-orthogonalisation.

    Args:
        product: vectors [K, P] to matrix times vector [K, P].
        like: [K, P]; for shape, type and device.
        products: most Hessian-vector products.
        tolerance: relative; ends when no value changes by more from one product to the next.

    Returns:
        [K] of float64; each from below. Not finite where the products are not.

    Raises:
        SpecError: the matrices are not symmetric, so they are no Hessians.
    """
    k, p = like.shape
    start = torch.randn(p, generator=generator(0, "probe"), dtype=torch.float64).to(like.device, like.dtype)
    vectors = [(start / start.norm()).expand(k, p)]
    steps = min(products, p)
    diagonal, beside = torch.zeros(k, steps, dtype=torch.float64), torch.zeros(k, steps, dtype=torch.float64)
    value, scale = torch.full((k,), torch.nan, dtype=torch.float64), torch.zeros(k, dtype=torch.float64)
    for j in range(steps):
        w = product(vectors[j])
        diagonal[:, j] = (w * vectors[j]).sum(1).double().cpu()
        scale = scale.maximum(w.norm(dim=1).double().cpu())
        if j:  # in exact arithmetic this product is the norm of the step before
            apart = ((w * vectors[j - 1]).sum(1).double().cpu() - beside[:, j - 1]).abs()
            if bool((apart > _ASYMMETRIC * scale).any()):
                raise SpecError(
                    "sharpness: second derivatives of this network depend on their order, so they are wrong: an "
                    "operation in it has no right derivative of its gradient (torch's weight_norm, a hook that changes "
                    "gradients); leave the probe out"
                )
        for _ in range(2):  # twice is enough (Parlett 1998, section 6.9)
            for v in vectors:
                w = w - (w * v).sum(1, keepdim=True) * v
        norms = w.norm(dim=1, keepdim=True)
        before, value = value, _top(diagonal[:, : j + 1], beside[:, :j])
        if bool(((value - before).abs() <= tolerance * value.abs()).all()) or not bool(norms.isfinite().any()):
            break
        beside[:, j] = norms[:, 0].double().cpu()
        vectors.append(torch.where(norms > 0, w / norms, torch.zeros_like(w)))
    return value


def _top(diagonal: Tensor, beside: Tensor) -> Tensor:
    """Largest eigenvalue of tridiagonal matrices; nan where an entry is not finite."""
    matrices = torch.diag_embed(diagonal) + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    bad = ~matrices.isfinite().flatten(1).all(1)
    values = torch.linalg.eigvalsh(torch.where(bad[:, None, None], torch.zeros_like(matrices), matrices))[:, -1]
    return torch.where(bad, torch.full_like(values, torch.nan), values)
