"""Preconditioned sharpness: the largest eigenvalue of the Hessian as an adaptive optimizer sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.probes.base import Probe, Subject
from landsweep.sweeps.lab.probes.sharpness import hessian_products, largest_eigenvalues

__all__ = ["PreconditionedSharpness"]


class PreconditionedSharpness(Probe):
    """`preconditioned_sharpness`: largest eigenvalue of P^-1/2 H P^-1/2, with the optimizer's own P at this step.

    H is the Hessian as for `sharpness`. P is diagonal: what the optimizer divides its moving average of the gradients
    by, with Adam (1 - b1^t) (sqrt(v / (1 - b2^t)) + eps). Full-batch training with Adam is stable below (2 + 2 b1) /
    ((1 - b1) learning rate), which is 38 / learning rate for b1 = 0.9 (arXiv 2207.14484); with RMSprop without momentum
    below 2 / learning rate (2410.24206). Before the first step there is no P, and no value.
    """

    measures: ClassVar[Mapping[str, str]] = {
        "preconditioned_sharpness": "largest eigenvalue of the Hessian preconditioned by the optimizer, at the last "
        "evaluation"
    }
    needs_divisor: ClassVar[bool] = True

    probe: Literal["preconditioned_sharpness"]
    products: int = Field(24, ge=2, description="most Hessian-vector products")
    tolerance: float = Field(1e-3, gt=0, description="relative change of the value from one product to the next")

    def measure(self, subject: Subject) -> Sequence[Mapping[str, float]]:
        divisor = subject.divisor()
        if divisor is None:  # recipes refuse such optimizers
            raise RuntimeError("preconditioned_sharpness: the optimizer has no preconditioner")
        known = divisor.isfinite().all(1)
        root = torch.where(known[:, None], divisor, 1).rsqrt()
        with hessian_products(subject) as product:

            def preconditioned(v: Tensor) -> Tensor:
                return root * product(root * v)

            values = largest_eigenvalues(preconditioned, subject.weights, self.products, self.tolerance)
        return [
            {"preconditioned_sharpness": value} if has else {}
            for value, has in zip(values.tolist(), known.tolist(), strict=True)
        ]
