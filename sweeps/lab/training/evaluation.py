"""Evaluation of a pack: losses and accuracies of all models on the splits of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.losses import LossName, hits, sample_losses
from landsweep.sweeps.lab.probes import Subject
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.backends import Backend
from landsweep.sweeps.lab.training.samples import Samples

__all__ = ["CHUNK", "Evaluator"]

CHUNK = 256  # samples per forward pass: intermediate results of a pack then fit a cache


@dataclass(frozen=True, slots=True)
class _Part:
    """One split that is evaluated on.

    Attributes:
        name: of the split.
        samples: the same for all models; of the training split, models may have their own targets instead, which
            `Samples` holds.
        count: how many of them are evaluated, from the first.
        training: whether it is the split that is trained on.
    """

    name: str
    samples: Split
    count: int
    training: bool


class Evaluator:
    """Evaluates all models of a pack on the same inputs.

    On the split that is trained on, each model is judged by its own samples and by the labels that it was given.

    Args:
        recipe: any of the pack.
        data: of all.
        samples: of the models.
        loss: of the recipe.
    """

    def __init__(self, recipe: Recipe, data: Data, samples: Samples, loss: LossName) -> None:
        names = recipe.evaluate.splits or tuple(data.splits)
        if unknown := [n for n in names if n not in data.splits]:
            raise SpecError(f"evaluate.splits: there is no split {unknown[0]!r}; the data has {', '.join(data.splits)}")
        first, dtype = recipe.evaluate.first, samples.inputs.dtype
        if samples.member is not None and recipe.split in names and not bool(samples.member[:, :first].any(1).all()):
            raise SpecError(
                f"evaluate.first: a model that trains on {recipe.train_fraction:g} of {recipe.split} has none of its "
                f"samples among the first {first}, so it has no {recipe.split} loss there; raise `first`"
            )
        self._samples, self._loss, self._parts = samples, loss, list[_Part]()
        self._classes = bool(data.classes)
        self._probes = recipe.evaluate.probes
        for name in names:
            split = data.splits[name].cast(dtype)
            count = len(split) if first is None else min(first, len(split))
            self._parts.append(_Part(name, split, count, name == recipe.split))

    @torch.no_grad()
    def __call__(self, backend: Backend, divisor: Callable[[], Tensor | None]) -> list[dict[str, float]]:
        """For each model: `SPLIT_loss` and, for classes, `SPLIT_accuracy`; and what probes measure.

        Args:
            backend: holds the weights.
            divisor: gives what the last step divided the gradients by, [K, P], for probes that ask.
        """
        by_row: list[dict[str, float]] = [{} for _ in range(len(backend.stack))]
        for part in self._parts:
            for name, values in self._split(backend, part).items():
                for metrics, value in zip(by_row, values, strict=True):
                    metrics[f"{part.name}_{name}"] = value
        for probe in self._probes:
            for metrics, measured in zip(
                by_row, probe.measure(self._subject(backend, probe.first, divisor)), strict=True
            ):
                metrics |= measured
        return by_row

    def _subject(self, backend: Backend, first: int, divisor: Callable[[], Tensor | None]) -> Subject:
        """The pack as probes see it, with the first samples that each model trains on."""
        inputs, targets, trained = self._samples.first(first)
        stack = backend.stack

        def losses(outputs: Tensor) -> Tensor:
            each = sample_losses(self._loss, outputs, targets)
            return each.mean(1) if bool(trained.all()) else torch.where(trained, each, 0).sum(1) / trained.sum(1)

        return Subject(
            backend.modules[0],
            stack.weights,
            stack.layout,
            stack.buffers,
            inputs,
            trained,
            losses,
            divisor,
            shared=self._samples.shared,
            stacks=not backend.own_modules,
        )

    def _split(self, backend: Backend, part: _Part) -> dict[str, Sequence[float]]:
        """Sums over all samples, of which each member of a gang adds up those of its chunks, in the same rounds."""
        k, n, device = len(backend.stack), part.count, backend.stack.weights.device
        place = backend.place()
        member = self._samples.member if part.training else None
        noisy = part.training and self._samples.noisy
        sums = {name: torch.zeros(k, dtype=torch.float64, device=device) for name in ("loss", "accuracy")}
        for first in range(0, n, CHUNK * place.size):
            start = first + CHUNK * place.rank
            counted = start < n  # else others have a chunk left, and may need this member to gather weights
            start = start if counted else 0
            here = slice(start, min(start + CHUNK, n))
            chunk = part.samples.part(here.start, here.stop)
            outputs = backend.outputs(chunk.inputs)
            targets = self._samples.targets[:, here] if noisy else chunk.targets.expand(k, *chunk.targets.shape)
            each = {"loss": sample_losses(self._loss, outputs, targets)}
            if self._classes:
                each["accuracy"] = hits(outputs, targets)
            for name, values in each.items():
                rows = values.double() * counted
                sums[name] += (rows if member is None else rows * member[:, here]).sum(1)
        counts = float(n) if member is None else member[:, :n].sum(1).clamp(min=1)
        named = {name: s for name, s in sums.items() if name == "loss" or self._classes}
        return {name: (backend.total(s) / counts).tolist() for name, s in named.items()}
