"""Evaluators: named ways to judge a network, all computed in one pass over the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column, Metric
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.unit import canonical
from landsweep.sweeps.lab.data import Data, DataSpec, Split
from landsweep.sweeps.lab.losses import LOSSES, OF_CLASSES, LossFunction, right_answers
from landsweep.sweeps.lab.settings import settings_kept

__all__ = ["EvaluatorSpec", "Evaluators", "chosen_samples", "evaluator_columns", "loss_named"]

Load: TypeAlias = Callable[[DataSpec], Data]


class EvaluatorSpec(Section):
    """Which samples, and which loss."""

    split: str = Field("test", description="of the data")
    data: DataSpec | None = Field(None, description="other data than the sweep's")
    classes: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, description="only samples of these classes")
    first: int | None = Field(None, ge=1, description="only the first n of the samples that are left")
    loss: str = Field(
        "cross_entropy",
        pattern=rf"^({'|'.join(LOSSES)}|[\w.]+:[\w.]+)$",
        description="cross_entropy, mse (on one-hot targets, mean over outputs), hinge, squentropy, stablemax, error, "
        "outputs (their mean), or package.module:function (outputs, targets -> loss of each sample [n]); of a "
        "sequence, a sample's loss is the mean over its positions",
    )


@dataclass(frozen=True, slots=True)
class _View:
    """One evaluator: which rows of a pool it takes (None: all), their targets, and how it judges them."""

    name: str
    rows: Tensor | None
    targets: Tensor
    loss: LossFunction

    def of(self, values: Tensor) -> Tensor:
        """Its part of a pool's values [n, ...]."""
        return values if self.rows is None else values[self.rows]

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each sample, [n].

        Raises:
            ValueError: the loss gives something else.
        """
        if self.loss not in LOSSES.values():  # the user's function may write into what others read after it
            outputs, targets = outputs.clone(), targets.clone()
        values: object = self.loss(outputs, targets)  # it may give anything
        n = len(targets)
        if not isinstance(values, Tensor) or values.shape != (n,):
            kind = f"a tensor {list(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
            raise ValueError(
                f"the loss of {self.name} must give one number per sample, a tensor [{n}] here; it gave {kind}. "
                "torch's losses do with reduction='none'; a column [n, 1] needs .squeeze(1), more axes .mean(1)"
            )
        return values.double()


@dataclass(frozen=True, slots=True)
class _Pool:
    """Samples that are forwarded once, and the evaluators that use them.

    Attributes:
        batches: of inputs.
        version: of the inputs, which torch counts up when anything writes into them.
        targets: of all.
        views: of the evaluators.
    """

    batches: tuple[Tensor, ...]
    version: int
    targets: Tensor
    views: tuple[_View, ...]

    @property
    def sequence(self) -> bool:
        """Whether there is a class for each position."""
        return not self.targets.is_floating_point() and self.targets.ndim == 2


class Evaluators:
    """Evaluators over shared forward passes: a sample that several of them use is forwarded once.

    Args:
        specs: name to evaluator.
        data: the sweep's data, for evaluators without data of their own.
        load: loads the data of an evaluator that has its own.
        batch_size: samples per forward pass; fixed, since floating-point sums depend on it.
        base: folder in which a loss function's module is looked for.

    Raises:
        SpecError: no such split or class, or no sample is left.
    """

    def __init__(self, specs: Mapping[str, EvaluatorSpec], data: Data, load: Load, batch_size: int, base: Path) -> None:
        members: dict[str, list[str]] = {}
        for name, spec in specs.items():
            members.setdefault(canonical([spec.split, _source(spec)]), []).append(name)
        self._pools = []
        for names in members.values():
            other = specs[names[0]].data
            source = data if other is None else load(other)
            chosen = {name: chosen_samples(name, specs[name], source) for name in names}
            split = source.splits[specs[names[0]].split]
            losses = {name: loss_named(specs[name].loss, base) for name in names}
            self._pools.append(_pool(split, chosen, losses, batch_size))
        self._agree: dict[int, bool] = {}

    @torch.inference_mode()
    def attempt(self, forward: Callable[[Tensor], Tensor]) -> None:
        """Try one batch of each pool, to check that network, data and losses fit together.

        Raises:
            ValueError: they do not.
        """
        for pool in self._pools:
            batch = pool.batches[0]
            outputs: object = _passed(pool, forward, batch)  # the user's module may give anything
            if not isinstance(outputs, Tensor) or outputs.ndim < 1 or len(outputs) != len(batch):
                shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
                raise ValueError(
                    f"a batch of shape {list(batch.shape)} gives {shape}; there must be one row per sample"
                )
            for view in pool.views:
                few = min(len(outputs), len(view.targets))
                if not view.targets.is_floating_point() and int(view.targets.max()) >= outputs.shape[-1]:
                    raise ValueError(
                        f"there are {outputs.shape[-1]} outputs, but the targets have a class {int(view.targets.max())}"
                    )
                try:
                    view.losses(outputs[:few], view.targets[:few])
                except ValueError:
                    raise
                except Exception as e:  # whatever the user's function does; in the sweep itself it fails its unit
                    raise ValueError(f"the loss of {view.name} raised {type(e).__name__}: {e}") from e

    def samples(self, name: str) -> tuple[list[tuple[Tensor, Tensor]], LossFunction]:
        """Inputs and targets of one evaluator, batch by batch, and its loss."""
        pool, view = next((p, v) for p in self._pools for v in p.views if v.name == name)
        size = len(pool.batches[0])
        inputs = torch.cat(pool.batches) if view.rows is None else torch.cat(pool.batches)[view.rows]
        return list(zip(torch.split(inputs, size), torch.split(view.targets, size), strict=True)), view.losses

    @torch.inference_mode()
    def __call__(self, forward: Callable[[Tensor], Tensor]) -> dict[str, Metric]:
        """Metrics of every evaluator: NAME_loss, NAME_accuracy, NAME_loss_se, NAME_n.

        Mean and standard error of the loss are summed in float64. Of a sequence a sample's loss and accuracy are means
        over its positions.

        Raises:
            ValueError: the outputs do not fit the targets.
        """
        metrics: dict[str, Metric] = {}
        for pool in self._pools:
            judged = _judged_in_parts(pool, forward) if pool.sequence else _judged(pool, _outputs(pool, forward))
            for view, losses, hits in judged:
                metrics.update(_figures(view.name, losses, hits))
        return metrics

    @property
    def keeps(self) -> bool:
        """Whether `outputs` of several points can be kept for `judge`.

        Not for sequences, whose outputs are too large, nor for the user's losses, which may depend on neighbouring
        samples.
        """
        return all(not p.sequence and all(v.loss in LOSSES.values() for v in p.views) for p in self._pools)

    @torch.inference_mode()
    def outputs(self, forward: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The outputs of each pool [n, ...], for `judge`."""
        return [_outputs(pool, forward) for pool in self._pools]

    @torch.inference_mode()
    def judge(self, points: Sequence[Sequence[Tensor]]) -> list[dict[str, Metric]]:
        """Metrics of several points from their `outputs`: the same bits as by a call for each point.

        All points are judged at once. For each new number of points they are also judged one by one; if any metric
        differs, this number of points is always judged one by one.
        """
        count = len(points)
        agree = self._agree.get(count)
        if count > 1 and agree:
            return self._together(points)
        alone = [self._alone(outputs) for outputs in points]
        if count > 1 and agree is None:
            self._agree[count] = repr(self._together(points)) == repr(alone)
        return alone

    def _alone(self, outputs: Sequence[Tensor]) -> dict[str, Metric]:
        judged = chain.from_iterable(_judged(*pair) for pair in zip(self._pools, outputs, strict=True))
        return {k: v for view, losses, hits in judged for k, v in _figures(view.name, losses, hits).items()}

    def _together(self, points: Sequence[Sequence[Tensor]]) -> list[dict[str, Metric]]:
        metrics: list[dict[str, Metric]] = [{} for _ in points]
        for pool, outputs in zip(self._pools, zip(*points, strict=True), strict=True):
            for view in pool.views:
                viewed, targets = torch.cat([view.of(o) for o in outputs]), torch.cat([view.targets] * len(outputs))
                losses = view.losses(viewed, targets).view(len(outputs), -1)
                hits = None if targets.is_floating_point() else right_answers(viewed, targets).view(len(outputs), -1)
                for of_point, figures in zip(metrics, _figures_of_many(view.name, losses, hits), strict=True):
                    of_point.update(figures)
        return metrics


def evaluator_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """Columns of the metrics of evaluators with these names."""
    return tuple(
        column
        for name in names
        for column in (
            Column(f"{name}_loss", f"mean loss under the evaluator {name}"),
            Column(f"{name}_accuracy", f"share of right answers under the evaluator {name}"),
            Column(f"{name}_loss_se", f"standard error of {name}_loss over its samples"),
            Column(f"{name}_n", f"samples that the evaluator {name} used", type="int"),
        )
    )


def _source(spec: EvaluatorSpec) -> object:
    return None if spec.data is None else spec.data.model_dump(mode="json")


def chosen_samples(name: str, spec: EvaluatorSpec, data: Data) -> Tensor:
    """Positions [m] in the split of the samples that an evaluator uses.

    Args:
        name: of the evaluator, for the message.
        spec: of the evaluator.
        data: what it is to be computed on.

    Raises:
        SpecError: no such split or class, no sample is left, or the loss does not suit the targets.
    """
    if spec.split not in data.splits:
        raise SpecError(f"evaluators.{name}.split: there is no split {spec.split!r}; there are {list(data.splits)}")
    targets = data.splits[spec.split].targets
    if targets.is_floating_point() and (spec.classes is not None or spec.loss in (*OF_CLASSES, "error")):
        raise SpecError(f"evaluators.{name}: the targets are no classes; use loss: mse or a loss of your own")
    positions = torch.arange(len(targets), device=targets.device)
    if spec.classes is not None and targets.ndim > 1:
        raise SpecError(f"evaluators.{name}.classes: a sequence has a class at every position; leave it out")
    if spec.classes is not None:
        positions = positions[torch.isin(targets, torch.tensor(spec.classes, device=targets.device))]
        if not len(positions):
            raise SpecError(
                f"evaluators.{name}.classes: {spec.split} has no sample of {list(spec.classes)}; "
                f"its classes are 0 to {data.classes - 1}"
            )
    if spec.first is not None and spec.first > len(positions):
        raise SpecError(f"evaluators.{name}.first: asks for {spec.first} samples, but there are only {len(positions)}")
    return positions[: spec.first]


def _pool(split: Split, chosen: Mapping[str, Tensor], losses: Mapping[str, LossFunction], batch_size: int) -> _Pool:
    used = torch.unique(torch.cat(list(chosen.values())))
    whole = len(used) == len(split)
    inputs = split.inputs if whole else split.inputs[used]
    views = tuple(
        _View(
            name,
            None if len(rows) == len(used) else torch.searchsorted(used, rows),
            split.targets[rows],
            losses[name],
        )
        for name, rows in chosen.items()
    )
    return _Pool(
        torch.split(inputs, batch_size), inputs._version, split.targets if whole else split.targets[used], views
    )


def loss_named(name: str, base: Path) -> LossFunction:
    """A loss of one network: one of `LOSSES`, or the user's function, looked for in `base`."""
    with settings_kept():
        return LOSSES[name] if name in LOSSES else import_callable(name, base)


_Judged: TypeAlias = Iterator[tuple[_View, Tensor, Tensor | None]]


def _outputs(pool: _Pool, forward: Callable[[Tensor], Tensor]) -> Tensor:
    """Outputs of a whole pool."""
    outputs = [_passed(pool, forward, batch) for batch in pool.batches]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _passed(pool: _Pool, forward: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Outputs of a batch of a pool.

    Raises:
        ValueError: a network has written into the inputs, so that none can be judged by them any more.
    """
    outputs = forward(batch)
    if batch._version != pool.version:
        raise ValueError("a network has written into its inputs, which other models and points read too")
    return outputs


def _judged(pool: _Pool, outputs: Tensor) -> _Judged:
    """Losses [n] of each view, and hits [n] where targets are classes, from the outputs of the whole pool."""
    for view in pool.views:
        viewed = view.of(outputs)
        hits = None if view.targets.is_floating_point() else right_answers(viewed, view.targets)
        yield view, view.losses(viewed, view.targets), hits


def _judged_in_parts(pool: _Pool, forward: Callable[[Tensor], Tensor]) -> _Judged:
    """The same, batch by batch: outputs of sequences are too many to be kept together."""
    losses: dict[str, list[Tensor]] = {view.name: [] for view in pool.views}
    hits = []
    for batch, targets in zip(pool.batches, torch.split(pool.targets, len(pool.batches[0])), strict=True):
        outputs = _passed(pool, forward, batch)
        hits.append(right_answers(outputs, targets))
        for view in pool.views:
            losses[view.name].append(view.losses(outputs, targets))
    for view in pool.views:
        yield view, view.of(torch.cat(losses[view.name])), view.of(torch.cat(hits))


def _figures(name: str, losses: Tensor, hits: Tensor | None) -> dict[str, Metric]:
    """From losses [n] and hits [n]."""
    n = len(losses)
    figures = [losses.mean(), losses.std() if n > 1 else losses.new_tensor(math.nan)]
    if hits is not None:
        figures.append(hits.sum())
    if losses.device.type == "cpu":
        loss, deviation, *right = (figure.item() for figure in figures)
    else:
        loss, deviation, *right = torch.stack(figures).tolist()  # one wait for the device, not three
    return _named(name, n, loss, deviation, right[0] if right else None)


def _figures_of_many(name: str, losses: Tensor, hits: Tensor | None) -> Iterator[dict[str, Metric]]:
    """From losses [points, n] and hits [points, n]."""
    points, n = losses.shape
    right = [None] * points if hits is None else hits.sum(1).tolist()
    deviations = torch.stack([row.std() for row in losses.unbind()]).tolist() if n > 1 else [math.nan] * points
    for figures in zip(losses.mean(1).tolist(), deviations, right, strict=True):
        yield _named(name, n, *figures)


def _named(name: str, n: int, loss: float, deviation: float, right: float | None) -> dict[str, Metric]:
    return {
        f"{name}_loss": loss,
        f"{name}_accuracy": None if right is None else right / n,
        f"{name}_loss_se": deviation / math.sqrt(n) if n > 1 else None,
        f"{name}_n": n,
    }
