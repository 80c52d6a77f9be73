"""Which samples each model of a pack sees in each step, with which labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.streams import stream
from landsweep.sweeps.lab.training.draws import counted, noisy_labels, shuffled, subset
from landsweep.sweeps.lab.training.place import ALONE, Place

__all__ = ["Samples"]

_BLOCK = 64  # steps whose samples are looked up at once
_KEPT = 8_000_000  # positions of all models: their orders are kept for an epoch if they are not more, 64 MB


class Samples:
    """The training data of each model.

    Args:
        recipes: one per model.
        data: of all.
        place: which samples of each batch are asked for.

    Attributes:
        inputs: [N, ...], of the whole split; of data on disk, of its first samples, as many as a batch has.
        noisy: whether models have labels of their own.
        targets: [N, ...], or [K, N, ...] where labels are noisy.
        member: [K, N] whether a sample is one of the model's own; None: all are.
        counts: how many samples each model has.
        given: positions [K, B] of the samples of every step, instead of those in a model's order; None: in its order.
    """

    def __init__(self, recipes: Sequence[Recipe], data: Data, place: Place = ALONE) -> None:
        first = recipes[0]
        if first.split not in data.splits:
            raise SpecError(f"split: there is no split {first.split!r}; the data has {', '.join(data.splits)}")
        split = data.splits[first.split]
        n, device = len(split), split.inputs.device
        dtype = torch.float64 if first.dtype == "float64" else torch.float32
        cast = split.cast(dtype)
        self.inputs, self.targets = cast.inputs, cast.targets
        self._own = [subset(r.seed, r.train_fraction, n) for r in recipes]
        self.counts = [n if chosen is None else len(chosen) for chosen in self._own]
        self.member: Tensor | None = None
        if any(chosen is not None for chosen in self._own):
            self.member = torch.zeros(len(recipes), n, dtype=torch.bool)
            for row, chosen in zip(self.member, self._own, strict=True):
                row[slice(None) if chosen is None else chosen] = True
            self.member = self.member.to(device)
        self.noisy = any(r.label_noise for r in recipes)
        if self.noisy:
            self.targets = self._noisy(recipes, self.targets, data.classes)
        # Where in the targets of all models, one model's after the other, those of each begin.
        self._starts = n * torch.arange(len(recipes), device=device)[:, None]
        self._order_roots = [stream(r.seed, "order") for r in recipes]
        self._augment = first.augment
        self._augment_roots = [stream(r.seed, "augment") for r in recipes]
        self.given: Tensor | None = None
        self._batch, self._drop_last, self._place = first.batch_size, first.drop_last, place
        self._block: tuple[int, Tensor] | None = None
        self._orders: dict[int, tuple[int, Tensor]] = {}  # of models, by row: the epoch, and the order in it

    @property
    def shared(self) -> bool:
        """Whether all models have the same samples."""
        return self.member is None

    def _noisy(self, recipes: Sequence[Recipe], labels: Tensor, classes: int) -> Tensor:
        if labels.is_floating_point() or classes < 2:
            raise SpecError("label_noise: the targets of this data are no classes; leave label_noise out")
        rows = [noisy_labels(r.seed, r.label_noise, labels, classes) if r.label_noise else labels for r in recipes]
        return torch.stack(rows)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs [K, b, ...] and targets [K, b, ...] of a step, the first being 0: the batch, or the part asked for."""
        chosen = self.positions(step)
        if self._augment is None:
            chosen = chosen[:, self._place.part(chosen.shape[1])]
        if self.noisy:
            targets = _rows(self.targets.flatten(0, 1), chosen + self._starts)
        else:
            targets = _rows(self.targets, chosen)
        return self._augmented(_rows(self.inputs, chosen), targets, step)

    def width(self, step: int) -> int:
        """Samples in the whole batch of a step."""
        n, b = self.counts[0], self._batch
        short = not self._drop_last and n % b and step % math.ceil(n / b) == n // b
        return n % b if short else b

    def _augmented(self, inputs: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step as each model sees them: from the whole batch, for that is what is drawn for."""
        if self._augment is None:
            return inputs, targets
        each = (torch.Generator().manual_seed(counted(root, step)) for root in self._augment_roots)
        inputs, targets = self._augment.apply(inputs, targets, each)
        part = self._place.part(inputs.shape[1])
        return inputs[:, part], targets[:, part]

    def positions(self, step: int) -> Tensor:
        """Numbers [K, B] of a step's samples; looked up for many steps at once, since that costs hardly more."""
        if self.given is not None:
            return self.given
        if self._block is None or not self._block[0] <= step < self._block[0] + len(self._block[1]):
            self._block = (step, self._look_up(step))
        first, block = self._block
        return block[step - first]

    def _look_up(self, step: int) -> Tensor:
        """Positions [steps, K, B] for this step and some that follow; a smaller last batch of an epoch stands alone.

        With 100 samples in batches of 30 an epoch is three full batches and one of 10. Asked for step 0, this gives
        steps 0 to 2 as [3, K, 30]; for step 3, [1, K, 10]; for step 4, the full batches of the next epoch.
        """
        n, b = self.counts[0], self._batch
        full = n // b  # batches of an epoch that are full
        if self._drop_last or n % b == 0:
            # All batches are alike, so a stretch may run over the end of an epoch; and only here may models differ in
            # how many samples they have: the pack key keeps them equal where batches are smaller or epochs are counted.
            rows = [self._stretch(k, step, _BLOCK) for k in range(len(self.counts))]
        else:
            epoch, within = divmod(step, full + 1)
            # Up to the last full batch of this epoch; or the rest of it, which has another width.
            span = slice(within * b, min(within + _BLOCK, full) * b) if within < full else slice(full * b, n)
            rows = [self._order(k, epoch)[span] for k in range(len(self.counts))]
            b = b if within < full else n - full * b
        return torch.stack(rows).view(len(rows), -1, b).transpose(0, 1).contiguous().to(self.inputs.device)

    def _stretch(self, model: int, step: int, steps: int) -> Tensor:
        """Positions of full batches, over the ends of epochs."""
        per_epoch = self.counts[model] // self._batch
        parts = []
        while steps:
            epoch, within = divmod(step, per_epoch)
            many = min(steps, per_epoch - within)
            parts.append(self._order(model, epoch)[within * self._batch : (within + many) * self._batch])
            step, steps = step + many, steps - many
        return torch.cat(parts)

    def _order(self, model: int, epoch: int) -> Tensor:
        """Positions of a model's samples in the order of an epoch; an epoch has many blocks, so it is kept."""
        if model in self._orders and self._orders[model][0] == epoch:
            return self._orders[model][1]
        chosen = shuffled(self._order_roots[model], epoch, self.counts[model])
        samples = self._own[model]
        order = chosen if samples is None else samples[chosen]
        if len(self.counts) * max(self.counts) <= _KEPT:
            self._orders[model] = (epoch, order)
        return order

    def first(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """The first samples of the split that each model trains on, with the labels that it was given.

        Args:
            n: how many, at most.

        Returns:
            inputs [K, m, ...], targets [K, m, ...] and whether they are a model's own, [K, m]: models may have fewer.
        """
        k = len(self.counts)
        if self.member is None:
            inputs, shared = self.inputs[:n], self.targets[:, :n] if self.noisy else self.targets[:n]
            targets = shared if self.noisy else shared.expand(k, *shared.shape)
            every = torch.ones((), dtype=torch.bool, device=inputs.device)
            return inputs.expand(k, *inputs.shape), targets, every.expand(k, len(inputs))
        members = [torch.nonzero(row)[:n, 0] for row in self.member]
        most = max(len(chosen) for chosen in members)
        positions = torch.stack([torch.nn.functional.pad(c, (0, most - len(c))) for c in members])
        counts = torch.tensor([len(c) for c in members])
        real = torch.arange(most)[None] < counts[:, None]  # the others are sample 0, to fill up the array
        rows = torch.arange(k, device=positions.device)[:, None]
        targets = self.targets[rows, positions] if self.noisy else _rows(self.targets, positions)
        return _rows(self.inputs, positions), targets, real.to(positions.device)

    def epoch(self, model: int, step: int) -> float:
        """Passes through its data that a model has made after `step` steps."""
        n, b = self.counts[model], self._batch
        per_epoch = n // b if self._drop_last else math.ceil(n / b)
        return step / per_epoch

    def take(self, keep: Tensor) -> None:
        """Keep only these rows."""
        chosen = keep.tolist()
        if self.noisy:
            self.targets, self._starts = self.targets[keep], self._starts[: len(keep)]
        self.member = None if self.member is None else self.member[keep]
        self._own, self.counts = [self._own[k] for k in chosen], [self.counts[k] for k in chosen]
        self._order_roots = [self._order_roots[k] for k in chosen]
        self._augment_roots = [self._augment_roots[k] for k in chosen]
        self._orders = {row: self._orders[k] for row, k in enumerate(chosen) if k in self._orders}
        if self._block is not None:
            self._block = (self._block[0], self._block[1][:, keep.to(self._block[1].device)])


def _rows(values: Tensor, chosen: Tensor) -> Tensor:
    """`values[chosen]` by `index_select`, which is several times as fast as indexing."""
    return values.index_select(0, chosen.flatten()).view(*chosen.shape, *values.shape[1:])
