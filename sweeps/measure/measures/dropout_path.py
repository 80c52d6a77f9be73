"""Connectivity of dropout-stable networks: the largest loss on a path that is constructed, not trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.matching.symmetry import find_symmetry
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.lab.weight_space.paths import Path, Walk
from landsweep.sweeps.measure.connectivity import State, judged, pair, profile
from landsweep.sweeps.measure.dropout_path import Chain, chain_of, dropout_path
from landsweep.sweeps.measure.measures.base import Measure, Measured, Of
from landsweep.sweeps.measure.subject import Samples, Subject

__all__ = ["DropoutPath"]

_SAME = 1e-4  # of the loss: what float32 leaves between two networks of one function


class DropoutPath(Measure):
    """Loss on the piecewise linear path of arXiv 1912.10095 between two networks, by way of half of their units each.

    No loss on the path is above the highest at its corners, if the loss is convex in the outputs: those are the two
    networks and their halves, from the last hidden layer down. So two networks are connected as well as they bear the
    loss of half of their units. Of several random halves the best is taken, the same units in both networks.
    """

    of: ClassVar[Of] = "pair"
    measure: Literal["dropout_path"] = "dropout_path"
    draws: int = Field(10, ge=1, description="random choices of the half that stays")
    points: int = Field(5, ge=2, description="on each straight piece, ends included")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("dropout_path_loss", "highest loss on the path"),
            Column("dropout_path_error", "highest error on the path", "share"),
            Column("dropout_path_barrier", "`dropout_path_loss` minus the higher loss of the two networks"),
            Column("dropout_path_corner", "highest loss at a corner of the path"),
            Column("dropout_path_length", "Euclidean length of the path in the space of the parameters"),
            Column("dropout_path_pieces", "straight pieces of the path", type="int"),
        )

    def check(self, subject: Subject) -> None:
        a, _ = pair(subject)
        module = a.build()
        self._chain(module, self.samples(subject))

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        chain: Chain | None = None
        for subject in subjects:
            a, b = pair(subject)
            module = a.build()
            chain = chain or self._chain(module, self.samples(subject))
            yield self._measured(module, chain, a.state, b.state, subject)

    def _chain(self, module: nn.Module, samples: Samples) -> Chain:
        names = [name for name, _ in module.named_parameters()]
        return chain_of(find_symmetry(module, samples.inputs[:4], "use `curve`"), names)

    def _measured(self, module: nn.Module, chain: Chain, a: State, b: State, subject: Subject) -> Measured:
        samples, draw = self.samples(subject), generator(subject.seed, "dropout")
        paths = [dropout_path(chain, a, b, _halves(chain, draw)) for _ in range(self.draws)]
        losses = [[self._loss(module, corner, samples) for corner in path] for path in paths]
        best = min(range(self.draws), key=lambda i: max(losses[i]))
        self._check_constant(chain, losses[best])
        path = Path("polygon", tuple(paths[best]))
        pieces = len(paths[best]) - 1
        places = [(i + j / (self.points - 1)) / pieces for i in range(pieces) for j in range(self.points - 1)]
        with Walk(module, path) as walk:
            found = profile(walk, [*places, 1.0], samples)
        highest = float(np.max(found.loss))
        values = {
            "dropout_path_loss": highest,
            "dropout_path_error": None if found.error is None else max(found.error),
            "dropout_path_barrier": highest - max(found.loss[0], found.loss[-1]),
            "dropout_path_corner": float(np.max(losses[best])),
            "dropout_path_length": path.length([name for name, _ in module.named_parameters()]),
            "dropout_path_pieces": pieces,
        }
        curves = {"dropout_path_loss": found.loss}
        return Measured(values, curves if found.error is None else {**curves, "dropout_path_error": found.error})

    def _loss(self, module: nn.Module, corner: State, samples: Samples) -> float:
        module.load_state_dict(corner)
        return judged(module, samples)[0]

    def _check_constant(self, chain: Chain, losses: Sequence[float]) -> None:
        """Copies to units that nothing reads must not change the loss.

        Raises:
            SpecError: they do: units are normalised together, so that those that are left out still count.
        """
        if not np.isfinite(losses).all():
            return
        half = 2 + 4 * (len(chain.layers) - 1)  # corners from a network to its half
        copies = list(range(2, half, 2))
        copies += [half, half + 2, *(len(losses) - 1 - i for i in copies)]
        for i in copies:
            neighbours = (losses[i], losses[i - 1] if i <= half + 2 else losses[i + 1])
            if not abs(neighbours[0] - neighbours[1]) <= _SAME * (1 + abs(neighbours[0])):
                raise SpecError(
                    "dropout_path: units that nothing reads change the loss, as where a layer normalises its units "
                    "together (layer or group normalisation); measure networks without, or take `curve`"
                )


def _halves(chain: Chain, draw: torch.Generator) -> list[Tensor]:
    return [torch.randperm(layer.size, generator=draw)[: layer.size // 2].sort().values for layer in chain.layers]
