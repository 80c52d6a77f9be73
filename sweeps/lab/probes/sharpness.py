"""Sharpness: the largest eigenvalue of the loss's Hessian, of all models of a pack at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call, vmap

from landsweep.sweeps.lab.curvature import Lanczos, Product
from landsweep.sweeps.lab.probes.base import Probe, Subject
from landsweep.sweeps.lab.streams import generator

__all__ = ["Sharpness", "hessian_products", "largest_eigenvalues"]


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
        with hessian_products(subject) as product:
            values = largest_eigenvalues(product, subject.weights, self.products, self.tolerance)
        return [{"sharpness": value} for value in values.tolist()]


@contextmanager
def hessian_products(subject: Subject) -> Iterator[Product]:
    """Products with the Hessians of the losses of the K models, in their weights [K, P], in evaluation mode."""
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

        yield product


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
    lanczos = Lanczos(product, start.expand(k, p))
    value = torch.full((k,), torch.nan, dtype=torch.float64)
    for _ in range(min(products, p)):
        lanczos.step()
        values = lanczos.ritz()[0]
        before, value = value, values.nan_to_num(nan=-torch.inf).amax(1).where(~values[:, 0].isnan(), torch.nan)
        if bool(((value - before).abs() <= tolerance * value.abs()).all()) or not bool(lanczos.alive.any()):
            break
    return value
