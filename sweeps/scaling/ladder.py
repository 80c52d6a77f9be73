"""Sizes: what a family's model of a given width holds and costs, without building it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import DataSpec, Dimensions, sources_with_dimensions
from landsweep.sweeps.lab.flops import closed_form, count
from landsweep.sweeps.lab.models import Net, OwnNet
from landsweep.sweeps.lab.models.resize import lacking, resized
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.scaling.spec import ScalingSpec, Shape

__all__ = ["Ladder", "Size"]

_CANDIDATES = 400  # sizes among which the best one for a budget is looked for
_FINENESS = 1.1  # between widths where each one takes a dry run; the same for all budgets, so that runs are shared
_FEATURE_FLOPS = 4  # per feature and sample: 2 for the prediction, 2 for the gradient


@dataclass(frozen=True, slots=True)
class Size:
    """A model of the family.

    Attributes:
        width: of the network, or number of features.
        depth: layers or blocks; None for features.
        net: the network; None for features.
        parameters: all of them.
        body: of these, without embedding and last layer.
        step_flops: training FLOPs of one step.
        step_tokens: tokens, or samples where they are no sequences, of one step.
    """

    width: int
    depth: int | None
    net: Net | None
    parameters: int
    body: int
    step_flops: int
    step_tokens: int


def _dimensions_of(source: DataSpec) -> Dimensions:
    """Shapes of a recipe's data from the spec alone: nothing is loaded.

    Raises:
        SpecError: the source knows them only once it is loaded.
    """
    if (dimensions := source.dimensions()) is not None:
        return dimensions
    raise SpecError(
        f"recipe.data.source: a study plans before data is loaded, from sources whose shape their spec tells: "
        f"{', '.join(sources_with_dimensions())}; got {source.source}"
    )


class Ladder:
    """The sizes of the family that a study trains.

    Args:
        spec: of the study.
    """

    def __init__(self, spec: ScalingSpec) -> None:
        self._spec = spec
        self._sizes: dict[int, Size] = {}

    def size(self, width: int) -> Size:
        """The model of this width.

        Raises:
            SpecError: the family has none.
        """
        if width not in self._sizes:
            recipe = self._spec.recipe
            self._sizes[width] = self._features(width) if recipe is None else self._network(width, recipe)
        return self._sizes[width]

    @property
    def declared(self) -> bool:
        """Whether sizes hold what the spec says, rather than what is known of the network."""
        return self._spec.shape.own is not None

    @cached_property
    def step(self) -> int:
        """Widths that the family can have are multiples of this: the width of a head, or what all widths share."""
        if self._spec.shape.head_width is not None:
            return self._spec.shape.head_width
        return math.gcd(*self._spec.width_values)

    @property
    def most(self) -> int | None:
        """How many sizes the family has at any budget; None without end."""
        features = self._spec.features
        return None if features is None else (features.ambient - 1) // self.step

    def candidates(self, flops: float, least_steps: int = 1) -> Sequence[Size]:
        """Sizes, evenly in the logarithm, that can make so many steps with a budget; at most some hundreds."""
        if self._counted_by_dry_runs:
            return list(itertools.takewhile(lambda s: s.step_flops * least_steps <= flops, self._coarse()))
        top = self.step
        while self._reaches(2 * top, flops, least_steps):
            top *= 2
        low, high = top, 2 * top  # low reaches, high does not
        while high - low > self.step:
            middle = (low + high) // 2 // self.step * self.step
            low, high = (middle, high) if self._reaches(middle, flops, least_steps) else (low, middle)
        return [self.size(w) for w in self._spaced(low) if self._reaches(w, flops, least_steps)]

    @property
    def _counted_by_dry_runs(self) -> bool:
        net, recipe = self.size(self.step).net, self._spec.recipe
        if net is None or recipe is None or isinstance(net, OwnNet):
            return False
        data = _dimensions_of(recipe.data)
        return closed_form(net, data.shape, data.outputs) is None

    def _coarse(self) -> Iterator[Size]:
        last = 0
        for i in itertools.count():
            width = round(_FINENESS**i) * self.step
            if width > last:
                yield self.size(width)
                last = width

    def _spaced(self, top: int) -> Iterator[int]:
        last, wanted = 0, min(_CANDIDATES, top // self.step)
        for i in range(wanted):
            share = i / max(wanted - 1, 1)
            width = round((top / self.step) ** share) * self.step
            if width > last:
                yield width
                last = width

    def _reaches(self, width: int, flops: float, least_steps: int) -> bool:
        if self._spec.features is not None and width >= self._spec.features.ambient:
            return False
        return self.size(width).step_flops * least_steps <= flops

    def _features(self, width: int) -> Size:
        features = self._spec.features
        assert features is not None, "a family is a recipe or features"
        if width >= features.ambient:
            raise SpecError(
                f"widths: {width} features need more than {width} coordinates of the data; ambient: {features.ambient}"
            )
        return Size(width, None, None, width, width, _FEATURE_FLOPS * width * features.batch, features.batch)

    def _network(self, width: int, recipe: Recipe) -> Size:
        data = _dimensions_of(recipe.data)
        net = _sized(recipe.net, width, self._spec.shape)
        own = self._spec.shape.own
        depth = net.current_depth()
        if own is not None and isinstance(net, OwnNet):
            counts, depth = own.count(net, data), own.sizes_of(net).get("depth")
        else:
            counts = count(net, data.shape, data.outputs)
        flops = counts.training * recipe.batch_size * recipe.optimizer.gradients
        tokens = data.tokens * recipe.batch_size
        return Size(width, depth, net, counts.parameters, counts.body, flops, tokens)


def _sized(net: Net, width: int, shape: Shape) -> Net:
    depth = shape.depth if shape.aspect is None else max(1, round(width / shape.aspect))
    if isinstance(net, OwnNet):
        return _own_sized(net, width, depth, shape)
    if shape.own is not None:
        raise SpecError(f"shape.own: is for own networks; {net.family} has sizes that are known")
    if shape.head_width is None:
        return resized(net, width=width, depth=depth)
    if net.attention_heads() is None:
        raise SpecError(f"shape.head_width: there are no heads that could be so wide: {lacking(net, 'heads')}")
    if width % shape.head_width:
        raise SpecError(f"widths: {width} is no multiple of shape.head_width, {shape.head_width}")
    return resized(net, width=width, depth=depth, heads=width // shape.head_width)


def _own_sized(net: OwnNet, width: int, depth: int | None, shape: Shape) -> OwnNet:
    if shape.own is None:
        raise SpecError(
            "shape.own: the sizes of an own network are not known; say which arguments they are and how many "
            "parameters it has, such as own: {arguments: {width: width}, parameters: '(inputs + outputs) * width'}"
        )
    sizes = {"width": width} | ({} if depth is None else {"depth": depth})
    if shape.head_width is not None:
        if width % shape.head_width:
            raise SpecError(f"widths: {width} is no multiple of shape.head_width, {shape.head_width}")
        sizes["heads"] = width // shape.head_width
    return shape.own.sized(net, sizes)
