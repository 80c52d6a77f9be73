"""Orders of a network's hidden units: by seed, and one that forgets the order given.

Published generators of such augmentations come without a test that they keep the function (arXiv 2209.14764 augments,
2304.13718 canonicalises); here `find_symmetry` proves the units of each network before they are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from landsweep.sweeps.lab.matching.symmetry import Units, permute
from landsweep.sweeps.lab.matching.weights import by_unit

__all__ = ["canonical_order", "permuted"]


def permuted(state: Mapping[str, Tensor], units: Sequence[Units], seed: int) -> dict[str, Tensor]:
    """The same function with all hidden units shuffled; a seed gives the same shuffle everywhere."""
    rng = np.random.Generator(np.random.Philox(seed))
    return permute(state, units, [torch.from_numpy(rng.permutation(group.size)) for group in units])


def canonical_order(state: Mapping[str, Tensor], units: Sequence[Units]) -> dict[str, Tensor]:
    """The same function in an order that does not depend on the one given: incoming weights of growing norm.

    The norm of a unit is that of all that is stored along it as the first axis of a tensor, bias and normalisation
    included; units of exactly equal norm keep their order. Norms do not depend on the order of other units, so all are
    sorted at once.
    """
    return permute(state, units, [_by_norm(state, group) for group in units])


def _by_norm(state: Mapping[str, Tensor], group: Units) -> Tensor:
    tensors = [by_unit(state[p.tensor].double(), p, group.size) for p in group.places if p.dim == 0]
    squares = torch.cat(tensors, dim=1).square().sort(dim=1).values  # sorted: the sum then has one order too
    return torch.argsort(squares.sum(1), stable=True)
