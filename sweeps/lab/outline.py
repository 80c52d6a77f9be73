"""What a spec alone tells of its data, so that what can't fit is refused before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from orchestrator.errors import SpecError
from sweeps.lab.data import Cifar10, Data, Digits, Markov, Mnist, SparseParity, Split, TeacherStudent, Text
from sweeps.lab.models import Net
from sweeps.lab.models.fit import misfit_in_words

if TYPE_CHECKING:
    from sweeps.lab.recipe import Recipe

__all__ = ["foresee_net", "foresee_recipe", "foresee_split", "known_dimensions", "outline"]


def known_dimensions(data: Any) -> tuple[tuple[int, ...], int, int] | None:  # noqa: ANN401 - one member of a union
    """Shape of an input, outputs of the network, tokens in a sample; None where only loading tells them."""
    match data:
        case Markov():
            return (data.context,), data.states, data.context
        case Text():
            return (data.context,), 256, data.context
        case TeacherStudent():
            return (data.features,), data.outputs, 1
        case SparseParity():
            return (data.bits,), 2, 1
        case Digits():
            return (1, 8, 8), 10, 1
        case Mnist():
            return (1, 28, 28), 10, 1
        case Cifar10():
            return (3, 32, 32), 10, 1
    return None


def outline(data: Any) -> Data | None:  # noqa: ANN401 - as above
    """Data of the same splits, kinds and shapes, one sample each; None where the spec does not tell."""
    found = known_dimensions(data)
    if found is None:
        return None
    shape, outputs, _ = found
    sequence = isinstance(data, Markov | Text)
    inputs = torch.zeros((1, *shape), dtype=torch.int64 if sequence else torch.float32)
    if isinstance(data, TeacherStudent) and data.task == "regression":
        targets = torch.zeros(1, outputs)
    else:
        targets = torch.zeros((1, *shape) if sequence else (1,), dtype=torch.int64)
    held_back = ("validation",) if getattr(data, "validation", None) else ()
    return Data.of(dict.fromkeys(("train", *held_back, "test"), Split(inputs, targets)), outputs)


def foresee_net(net: Net, data: Any, field: str) -> None:  # noqa: ANN401 - as above
    """Refuse a network that can't take such data.

    Raises:
        SpecError: names the field, what it is and what is allowed.
    """
    known = outline(data)
    if known is not None and (problem := misfit_in_words(net, known)):
        raise SpecError(f"{field}: {problem}")


def foresee_split(split: str, data: Any, field: str) -> None:  # noqa: ANN401 - as above
    """Refuse a split that such data has not.

    Raises:
        SpecError: names those that it has.
    """
    known = outline(data)
    if known is not None and split not in known.splits:
        raise SpecError(f"{field}: there is no split {split!r}; there are {list(known.splits)}")


def foresee_recipe(recipe: Recipe) -> None:
    """Refuse a recipe whose network or splits its data can't go with.

    Raises:
        SpecError: as above.
    """
    foresee_net(recipe.net, recipe.data, "recipe.net")
    foresee_split(recipe.split, recipe.data, "recipe.split")
    for split in recipe.evaluate.splits or ():
        foresee_split(split, recipe.data, "recipe.evaluate.splits")
