"""The ends of a line after their hidden units have been brought to the places of the first one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.matching.activations import match_activations
from landsweep.sweeps.lab.matching.symmetry import find_symmetry, permute
from landsweep.sweeps.lab.matching.weights import match_weights
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.landscape.directions import LineDirections

__all__ = ["PROVED_ON", "matched_ends"]

PROVED_ON = 4
"""Samples on which permutations are tried out."""
_Arrays: TypeAlias = Mapping[str, Any]


def matched_ends(
    line: LineDirections, states: Sequence[_Arrays], modules: Sequence[nn.Module], inputs: Sequence[Tensor]
) -> list[_Arrays]:
    """The state dicts of the ends, all but the first permuted; the functions of the networks stay.

    Args:
        line: by what they are matched.
        states: of each end.
        modules: of each end, with its weights, in evaluation mode.
        inputs: batches of samples, from which activations are taken.

    Raises:
        SpecError: an operation of the network has no rule, or no unit can move.
    """
    symmetry = find_symmetry(modules[0], inputs[0][:PROVED_ON])
    names = [name for name, _ in modules[0].named_parameters()]
    first = _tensors(states[0])
    ends: list[_Arrays] = [states[0]]
    for state, module in zip(states[1:], modules[1:], strict=True):
        other = _tensors(state)
        if line.match == "weights":
            matching = match_weights(first, other, symmetry, names, generator(0, "match"))
        else:
            matching = match_activations(modules[0], module, symmetry, inputs)
        ends.append({k: t.numpy() for k, t in permute(other, symmetry.units, matching.orders).items()})
    return ends


def _tensors(state: _Arrays) -> dict[str, Tensor]:
    return {k: torch.from_numpy(np.array(v)) for k, v in state.items()}
