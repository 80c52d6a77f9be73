"""What a spec alone tells of its data, so that what can't fit is refused before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, Source, Split
from landsweep.sweeps.lab.models import Net
from landsweep.sweeps.lab.models.fit import misfit_in_words

if TYPE_CHECKING:
    from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["foresee_net", "foresee_recipe", "foresee_split", "outline"]


def outline(source: Source) -> Data | None:
    """Data of the same splits, kinds and shapes, one sample each; None where the spec does not tell."""
    dimensions = source.dimensions()
    if dimensions is None:
        return None
    inputs = torch.zeros((1, *dimensions.shape), dtype=torch.int64 if dimensions.sequence else torch.float32)
    if dimensions.regression:
        targets = torch.zeros(1, dimensions.outputs)
    else:
        targets = torch.zeros((1, *dimensions.shape) if dimensions.sequence else (1,), dtype=torch.int64)
    classes = 0 if dimensions.regression else dimensions.outputs
    return Data.of(dict.fromkeys(dimensions.splits, Split(inputs, targets)), classes)


def foresee_net(net: Net, source: Source, field: str) -> None:
    """Refuse a network that can't take such data.

    Raises:
        SpecError: names the field, what it is and what is allowed.
    """
    data = outline(source)
    if data is not None and (problem := misfit_in_words(net, data)):
        raise SpecError(f"{field}: {problem}")


def foresee_split(split: str, source: Source, field: str) -> None:
    """Refuse a split that such data has not.

    Raises:
        SpecError: names those that it has.
    """
    data = outline(source)
    if data is not None and split not in data.splits:
        raise SpecError(f"{field}: there is no split {split!r}; there are {list(data.splits)}")


def foresee_recipe(recipe: Recipe) -> None:
    """Refuse a recipe whose network or splits its data can't go with.

    Raises:
        SpecError: names the field, what it is and what is allowed.
    """
    foresee_net(recipe.net, recipe.data, "recipe.net")
    foresee_split(recipe.split, recipe.data, "recipe.split")
    for split in recipe.evaluate.splits or ():
        foresee_split(split, recipe.data, "recipe.evaluate.splits")
