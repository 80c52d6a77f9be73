"""A landscape of quantisation scales on one worker: each point rounds the weights with other clipping ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.row import Outcome
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.device import settle
from landsweep.sweeps.lab.models import number_type
from landsweep.sweeps.lab.settings import settings_kept
from landsweep.sweeps.lab.weight_space.batch_norm import reestimate
from landsweep.sweeps.lab.weight_space.evaluators import Evaluators
from landsweep.sweeps.lab.weight_space.quantisation import quantised, weight_names
from landsweep.sweeps.landscape.evaluation import evaluators_of, training_batches
from landsweep.sweeps.landscape.prepare import loaded
from landsweep.sweeps.landscape.session import outcome_of
from landsweep.sweeps.landscape.spaces import QuantisationSpace
from landsweep.sweeps.landscape.spec import LandscapeSpec

__all__ = ["QuantisedSession", "tensors_of"]


class QuantisedSession:
    """Evaluates points: rounds the weights in place, runs every evaluator once.

    The module is one of its own, so nobody's weights change.
    """

    def __init__(
        self, spec: LandscapeSpec, space: QuantisationSpace, prepared: Mapping[str, Arrays], bench: Workbench
    ) -> None:
        settle(bench)
        self._spec, self._space, self._prepared, self._bench = spec, space, prepared, bench
        self._data = spec.data.load(bench.folder).to(bench.device)
        self._by_type: dict[torch.dtype, Evaluators] = {}
        self._model: _Quantisable | None = None

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        """One outcome for each unit; a loss that is not finite makes it `diverged`, with its values kept."""
        for unit in units:
            model = self._there(str(unit.params["model"]))
            numbers = {axis: float(unit.params[axis] or 0) for axis in self._spec.axes}
            model.quantise(numbers)
            with settings_kept():
                metrics = self._evaluators(number_type(model.module))(model.module)
            yield outcome_of(unit.key, {**metrics, "batch_norm": self._spec.batch_norm})

    def close(self) -> None:
        """Forget the network."""
        self._model = None

    def _evaluators(self, dtype: torch.dtype) -> Evaluators:
        if dtype not in self._by_type:
            self._by_type[dtype] = evaluators_of(self._spec, self._data, dtype, self._bench)
        return self._by_type[dtype]

    def _there(self, name: str) -> _Quantisable:
        """The network; units come in an order in which it seldom changes."""
        if self._model is None or self._model.name != name:
            module = loaded(self._spec, name, self._prepared[f"model-{name}"], self._bench)
            batches: tuple[Tensor, ...] = ()
            if self._spec.batch_norm == "reestimate":
                batches = training_batches(self._spec, name, self._data.cast(number_type(module)))
            self._model = _Quantisable(name, module, self._space, tensors_of(self._spec, self._space, module), batches)
        return self._model


class _Quantisable:
    """A network whose weights are rounded anew, from their own values, at each point."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        space: QuantisationSpace,
        axes: Mapping[str, str | None],
        batches: Sequence[Tensor],
    ) -> None:
        self.name, self.module = name, module
        self._space, self._axes, self._batches = space, axes, batches
        self._parameters = {k: p for k, p in module.named_parameters() if k in axes}
        self._weights = {k: p.detach().clone() for k, p in self._parameters.items()}

    @torch.no_grad()
    def quantise(self, numbers: Mapping[str, float]) -> None:
        """Round to the values that the coordinates say."""
        space = self._space
        bits = int(numbers[space.bits]) if isinstance(space.bits, str) else space.bits
        for name, axis in self._axes.items():
            factor = 1.0 if axis is None else numbers[axis]
            self._parameters[name].copy_(quantised(self._weights[name], bits, factor, units=space.per == "unit"))
        if self._batches:
            reestimate(self.module, self._batches)


def tensors_of(spec: LandscapeSpec, space: QuantisationSpace, module: nn.Module) -> dict[str, str | None]:
    """Names of the parameters that are quantised, each with the axis that is its factor; None: at factor 1.

    Raises:
        SpecError: a pattern matches nothing, or a parameter belongs to two axes.
    """
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    axes: dict[str, str | None] = {}
    for axis in space.factors(list(spec.axes)):
        for name in weight_names(shapes, space.tensors.get(axis), f"space.tensors.{axis}"):
            if name in axes:
                raise SpecError(
                    f"space.tensors: {name} belongs to {axes[name]} and to {axis}; each parameter has one factor"
                )
            axes[name] = axis
    if space.others == "quantised":
        axes |= {name: None for name, shape in shapes.items() if len(shape) > 1 and name not in axes}
    return axes
