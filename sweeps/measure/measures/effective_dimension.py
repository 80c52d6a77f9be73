"""Local effective dimension: how many directions in weight space change what a model predicts."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.subject import Samples, Subject

__all__ = ["EffectiveDimension"]

_MOST = 2**27  # numbers in the matrix of derivatives: 1 GB
_AT_ONCE = 2**24
_LARGEST = 6000  # matrix whose eigenvalues are taken: a minute on one core


class EffectiveDimension(AloneMeasure):
    """`effective_dimension`: local effective dimension of arXiv 2112.04807, at the weights themselves.

    sum log(1 + k l_i) / log k over the eigenvalues l_i of the Fisher matrix, which is scaled so that its trace is the
    number of parameters; k = gamma n / (2 pi log n). The Fisher matrix is exact for the samples: the mean over labels
    drawn from the model itself of a classifier, and J'J of a network with numbers as targets (Gaussian noise). Of
    sequences each position counts as a sample.
    """

    measure: Literal["effective_dimension"] = "effective_dimension"
    gamma: float = Field(1.0, gt=0, le=1, description="the constant of the definition, at most 1")
    n: int | None = Field(None, ge=2, description="samples that the model has seen; null: those of the evaluator")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("effective_dimension", "local effective dimension"),
            Column("effective_dimension_share", "effective_dimension by the number of parameters that train"),
            Column("fisher_trace", "trace of the Fisher matrix"),
            Column("fisher_rank", "eigenvalues of the Fisher matrix above rounding", type="int"),
        )

    def check(self, subject: Subject) -> None:
        self._kappa(self.samples(subject))

    def of_one(self, subject: Subject) -> Measured:
        samples, module = self.samples(subject), subject.models[0].build()
        kappa = self._kappa(samples)
        parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
        eigenvalues = _fisher_eigenvalues(module, samples, parameters)
        trace = float(eigenvalues.sum())
        dimension = None
        if trace > 0 and math.isfinite(trace):
            dimension = float(torch.log1p(kappa * parameters / trace * eigenvalues).sum()) / math.log(kappa)
        tiny = float(eigenvalues.max()) * torch.finfo(next(module.parameters()).dtype).eps * len(eigenvalues)
        values = {
            "effective_dimension": dimension,
            "effective_dimension_share": None if dimension is None else dimension / parameters,
            "fisher_trace": trace,
            "fisher_rank": int((eigenvalues > tiny).sum()),
        }
        return Measured(values, {"fisher_eigenvalues": eigenvalues.flip(0).tolist()})

    def _kappa(self, samples: Samples) -> float:
        n = len(samples) if self.n is None else self.n
        kappa = self.gamma * n / (2 * math.pi * math.log(n))
        if kappa <= 1:
            raise SpecError(
                f"effective_dimension: with n = {n} and gamma = {self.gamma:g} the constant gamma n / (2 pi log n) is "
                f"{kappa:.3g}; it must be above 1, which takes n of 18 or more at gamma 1"
            )
        return kappa


def _fisher_eigenvalues(module: nn.Module, samples: Samples, parameters: int) -> Tensor:
    """Eigenvalues in rising order, in float64; those that must be 0 because samples are few are left out."""
    with torch.no_grad():
        outputs = module(samples.inputs[:1])[0].numel()
    rows = len(samples) * outputs
    if rows * parameters > _MOST or min(rows, parameters) > _LARGEST:
        most = min(_MOST // parameters, _LARGEST if parameters > _LARGEST else _MOST) // outputs
        way = f"give an evaluator with `first: {most}`" if most else "leave the measure out"
        raise SpecError(
            f"effective_dimension: {len(samples)} samples of {outputs} outputs and {parameters} parameters are too "
            f"many for exact eigenvalues; {way}"
        )
    factor = _factor(module, samples, outputs)
    gram = factor @ factor.T if rows <= parameters else factor.T @ factor
    eigenvalues: Tensor = torch.linalg.eigvalsh(gram / len(samples)).clamp(min=0)
    return eigenvalues


def _factor(module: nn.Module, samples: Samples, outputs: int) -> Tensor:
    """A [rows, parameters] in float64, with A'A / n the Fisher matrix."""
    weights = {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
    size = sum(w.numel() for w in weights.values())

    def answer(moved: dict[str, Tensor], one: Tensor) -> Tensor:
        given: Tensor = functional_call(module, moved, (one[None],))
        return given[0]

    jacobian = vmap(jacrev(answer), in_dims=(None, 0))
    parts, few = [], max(1, _AT_ONCE // (outputs * size))
    for some in torch.split(samples.inputs, few):
        slopes = jacobian(weights, some)
        flat = [slopes[name].reshape(*slopes[name].shape[: -w.ndim or None], -1) for name, w in weights.items()]
        rows = torch.cat(flat, -1).double()
        if not samples.targets.is_floating_point():
            with torch.no_grad():
                rows = _root(module(some).double()) @ rows
        parts.append(rows.flatten(0, -2))
    positions = 1 if samples.targets.is_floating_point() else samples.targets[0].numel()
    factor: Tensor = torch.cat(parts) / positions**0.5
    return factor


def _root(outputs: Tensor) -> Tensor:
    """R [..., c, c] with R'R = diag(p) - p p', the Fisher matrix in the outputs [..., c] of a classifier."""
    p = torch.softmax(outputs, -1)
    root: Tensor = torch.diag_embed(p.sqrt()) - p.sqrt()[..., :, None] * p[..., None, :]
    return root
