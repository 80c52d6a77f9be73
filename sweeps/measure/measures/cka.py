"""Centred kernel alignment: how alike the representations of two networks are, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured, Of
from landsweep.sweeps.measure.subject import Samples, Subject

__all__ = ["Cka"]

_LEAST = 4  # samples of a batch: the unbiased estimate divides by n (n - 3)
Features = Mapping[str, Tensor]


class Cka(AloneMeasure):
    """`cka`: linear CKA (arXiv 1905.00414) of the outputs of each layer, by the unbiased HSIC of minibatches.

    HSIC is averaged over the batches of the evaluator first, the ratio is taken then (arXiv 2010.15327); a last batch
    that is shorter than the others is left out. CKA is 1 for representations that a rotation and a scale turn into each
    other, and about 0 for independent ones; the unbiased estimate may be a little below 0. A sample's representation is
    the whole output of the layer: all channels and places of an image, all positions of a sequence. Networks of a pair
    may differ: layers are paired by name, or `layers` of the first with `layers_b` of the second.
    """

    of: ClassVar[Of] = "pair"
    unlike: ClassVar[bool] = True

    measure: Literal["cka"] = "cka"
    estimate: Literal["unbiased", "biased"] = Field(
        "unbiased", description="of HSIC; the biased one is far above 0 for wide layers and small batches"
    )
    layers: tuple[str, ...] | None = Field(
        None, min_length=1, description="names of modules; null: all that have parameters of their own"
    )

    layers_b: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        exclude_if=lambda v: v is None,  # keys of rows from before stay
        description="names of modules of the second network, one for each of `layers`; null: `layers`",
    )

    @model_validator(mode="after")
    def _one_for_each(self) -> Self:
        if self.layers_b is not None and len(self.layers_b) != len(self.layers or ()):
            raise ValueError(
                f"layers_b: {len(self.layers_b)} layers of the second network for {len(self.layers or ())} of the "
                "first (`layers`); give one for each"
            )
        return self

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("cka", "linear CKA, mean over the layers"),
            Column("cka_lowest", "linear CKA of the layer where it is lowest"),
            Column("cka_last", "linear CKA of the last layer"),
            Column("cka_layers", "layers that were compared", type="int"),
        )

    def check(self, subject: Subject) -> None:
        inputs = next(_full_batches(self.samples(subject)))
        first, second = (model.build() for model in subject.models)
        self._paired(first, second, inputs)

    def of_one(self, subject: Subject) -> Measured:
        first, second = (model.build() for model in subject.models)
        sums: dict[str, Tensor] = {}
        for inputs in _full_batches(self.samples(subject)):
            for name, left, right in self._paired(first, second, inputs):
                products = _products(left, right, self.estimate)
                sums[name] = sums.get(name, torch.zeros_like(products)) + products
        values = {name: _alignment(products) for name, products in sums.items()}
        known = [v for v in values.values() if v is not None]
        numbers = {
            "cka": sum(known) / len(known) if known else None,
            "cka_lowest": min(known, default=None),
            "cka_last": list(values.values())[-1],
            "cka_layers": len(values),
        }
        return Measured(numbers, {"cka_along_layers": [float("nan") if v is None else v for v in values.values()]})

    def _paired(self, first: nn.Module, second: nn.Module, inputs: Tensor) -> list[tuple[str, Tensor, Tensor]]:
        """Layers of the first network, with the features of both, in the order of computation of the first."""
        left = self._features(first, inputs, self.layers)
        right = self._features(second, inputs, self.layers_b or self.layers)
        others = dict(zip(self.layers or (), self.layers_b or self.layers or (), strict=True))
        if absent := [name for name in left if others.get(name, name) not in right]:
            raise SpecError(
                f"cka.layers: the second network of the pair has no layer {absent[0]!r}; give `layers` of the first "
                "and `layers_b` of the second"
            )
        return [(name, features, right[others.get(name, name)]) for name, features in left.items()]

    @torch.no_grad()
    def _features(self, module: nn.Module, inputs: Tensor, names: Sequence[str] | None) -> Features:
        """Outputs [n, features] of the layers on a batch, in the order of computation, centred, in float64."""
        with _recording(_named_layers(module, names)) as outputs:
            module(inputs)
        for name, given in outputs.items():
            if names is not None and not _is_one_row_per_sample(given, len(inputs)):
                raise SpecError(
                    f"cka.layers: {name!r} gives no single tensor with one row for each sample; name another layer"
                )
        if absent := [name for name in names or () if name not in outputs]:
            raise SpecError(f"cka.layers: the network does not call {absent[0]!r}; name a layer that it calls")
        usable = {name: g[0] for name, g in outputs.items() if _is_one_row_per_sample(g, len(inputs))}
        features = {name: t.flatten(1).double() for name, t in usable.items()}
        if not features:
            raise SpecError("cka: no layer gives one row for each sample; name layers that do with `layers:`")
        return {name: f - f.mean(0) for name, f in features.items()}


def _full_batches(samples: Samples) -> Iterator[Tensor]:
    if min(len(samples), samples.batch_size) < _LEAST:
        raise SpecError(
            f"cka: a batch must have {_LEAST} samples or more; the evaluator {samples.name!r} has {len(samples)} "
            f"samples in batches of {samples.batch_size}"
        )
    least = min(len(samples), samples.batch_size)
    yield from (inputs for inputs, _ in samples.batches() if len(inputs) >= least)


def _named_layers(module: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    modules = dict(module.named_modules())
    if names is None:
        return {name: m for name, m in modules.items() if next(m.parameters(recurse=False), None) is not None}
    if unknown := [name for name in names if name not in modules]:
        every = ", ".join(name for name in modules if name)
        raise SpecError(f"cka.layers: there is no module {unknown[0]!r}; there are {every}")
    return {name: modules[name] for name in names}


@contextmanager
def _recording(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, list[Any]]]:
    """What the layers give while the context is open: name to one output for each call."""
    outputs: dict[str, list[Any]] = {}

    def hook_of(name: str) -> Any:  # noqa: ANN401 - the type of a hook is torch's own
        def hook(_: nn.Module, __: Any, output: Any) -> None:  # noqa: ANN401
            outputs.setdefault(name, []).append(output.clone() if isinstance(output, Tensor) else output)

        return hook

    handles = [layer.register_forward_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _is_one_row_per_sample(given: Sequence[Any], n: int) -> bool:
    return len(given) == 1 and isinstance(given[0], Tensor) and given[0].ndim > 1 and len(given[0]) == n


def _products(x: Tensor, y: Tensor, estimate: str) -> Tensor:
    """HSIC of (x, y), (x, x) and (y, y), [3], of features [n, p] and [n, q]."""
    hsic = _unbiased_hsic if estimate == "unbiased" else _biased_hsic
    k, m = x @ x.T, y @ y.T
    return torch.stack([hsic(k, m), hsic(k, k), hsic(m, m)])


def _unbiased_hsic(k: Tensor, m: Tensor) -> Tensor:
    """Song et al. 2012, equation 5, of kernel matrices [n, n]."""
    n = len(k)
    k, m = k - torch.diag(k.diagonal()), m - torch.diag(m.diagonal())
    whole = (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(1))
    return whole / (n * (n - 3))


def _biased_hsic(k: Tensor, m: Tensor) -> Tensor:
    """Of kernel matrices [n, n] whose features are centred."""
    return (k * m).sum() / (len(k) - 1) ** 2


def _alignment(products: Tensor) -> float | None:
    """CKA; None where a representation does not vary, or too few samples show how."""
    both, left, right = products.tolist()
    return both / (left * right) ** 0.5 if left > 0 and right > 0 else None
