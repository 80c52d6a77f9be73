"""Samples of a pack that are read from disk as it trains, by processes that read ahead or by this one."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.data.stored import Arrays, Feed, StoredSplit, as_split, reading
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.streams import stream
from landsweep.sweeps.lab.training.place import ALONE, Place
from landsweep.sweeps.lab.training.samples import Samples

__all__ = ["StreamedSamples", "check_stored", "samples_of"]

_SOON = 8  # steps that are read here before processes are started: timings and proofs make no more
_AHEAD = 2  # batches that each process reads ahead
_POLL = 1.0  # seconds
_SAFE_PATH = "PYTHONSAFEPATH"

_Read: TypeAlias = list[Arrays] | SpecError
"""For each feed the samples of a batch, or why they can't be had."""


def samples_of(recipes: Sequence[Recipe], data: Data, place: Place = ALONE) -> Samples:
    """The training data of each model, in memory or read as it trains; of each batch what `place` computes."""
    split = data.splits.get(recipes[0].split)
    if not isinstance(split, StoredSplit):
        return Samples(recipes, data, place)
    for recipe in recipes:
        check_stored(recipe, data)
    return StreamedSamples(recipes, split, place)


def check_stored(recipe: Recipe, data: Data) -> None:
    """Refuse what a recipe asks of data on disk that only data in memory can give.

    Raises:
        SpecError: says what to change.
    """
    if not isinstance(split := data.splits.get(recipe.split), StoredSplit):
        return
    if recipe.label_noise:
        raise SpecError(
            "label_noise: it is drawn for all labels at once, so the data must be in memory; leave it out, or put the "
            "noise into the files"
        )
    if recipe.trajectory is not None:
        raise SpecError("trajectory: it keeps outputs of all samples, so the data must be in memory; leave it out")
    if recipe.split not in (recipe.evaluate.splits or data.splits):
        return
    if recipe.train_fraction < 1:
        raise SpecError(
            f"evaluate.splits: with a train_fraction of data on disk there is no {recipe.split} loss; name other splits"
        )
    if recipe.evaluate.first is None:
        raise SpecError(
            f"evaluate: each evaluation would read all {len(split)} samples of {recipe.split} from disk; give `first`, "
            "or name the `splits` to evaluate on"
        )


class StreamedSamples(Samples):
    """The training data of each model, read when it is needed. Models with equal seeds share what is read.

    Which samples a batch has depends on the recipe and on the number of the step alone, so that a training that goes on
    from a state sees the same batches.

    Args:
        recipes: one per model.
        split: that they train on.
        place: which samples of each batch are asked for. Only these are read, but for augmented ones.
    """

    def __init__(self, recipes: Sequence[Recipe], split: StoredSplit, place: Place = ALONE) -> None:
        first = recipes[0]
        self._split = split.cast(torch.float64 if first.dtype == "float64" else torch.float32)
        example = self._split.head(first.batch_size)
        self.inputs, self.targets = example.inputs, example.targets
        self.member, self.noisy = None, False
        settings = [(r.seed, r.train_fraction) for r in recipes]
        distinct = list(dict.fromkeys(settings))
        self._feeds: list[Feed] = [split.reader.feed(*s) for s in distinct]
        self._feed_of = [distinct.index(s) for s in settings]  # by row
        self.counts = [self._feeds[i].count for i in self._feed_of]
        self._whole = all(r.train_fraction == 1 for r in recipes)
        self._augment = first.augment
        self._augment_roots = [stream(r.seed, "augment") for r in recipes]
        self._batch, self._drop_last, self._place = first.batch_size, first.drop_last, place
        self._made = 0
        self._ahead: Iterator[_Read] | None = None
        self._next = 0  # step whose batch `_ahead` gives next

    @property
    def shared(self) -> bool:
        """Whether all models have the same samples."""
        return self._whole

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs [K, B, ...] and targets [K, B, ...] of a step, the first being 0."""
        splits = [as_split(a, self._split.dtype, self._split.device) for a in self._arrays(step)]
        rows = torch.tensor(self._feed_of, device=splits[0].inputs.device)
        inputs, targets = (torch.stack(t).index_select(0, rows) for t in zip(*map(_pair, splits), strict=True))
        return self._augmented(inputs, targets, step)

    def _arrays(self, step: int) -> list[Arrays]:
        """For each feed the samples of a step, as they were read ahead where steps follow one another."""
        self._made += 1
        if self._ahead is None and self._split.processes and self._made > _SOON:
            loader = self._loader(step)
            with _current_folder_not_searched():
                self._ahead, self._next = iter(loader), step
        if self._ahead is None:
            return self._batches(step).read()
        if step != self._next:
            self._ahead, self._made = None, 0
            return self._batches(step).read()
        self._next += 1
        read = next(self._ahead)
        if isinstance(read, SpecError):
            raise read
        return read

    def _batches(self, start: int) -> _Batches:
        read = self._place if self._augment is None else ALONE
        return _Batches(self._feeds, self._batch, self._drop_last, start, read)

    def _loader(self, start: int) -> DataLoader[_Read]:
        # From a clean process: a copy of this one would hold its locks and sockets, and its threads would be missing.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        return DataLoader(
            self._batches(start),
            batch_size=None,
            num_workers=self._split.processes,
            collate_fn=_as_read,
            prefetch_factor=_AHEAD,
            multiprocessing_context=context,
            generator=torch.Generator(),  # else it draws from the global one
        )

    def first(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        with reading():
            splits = [as_split(feed.first(n), self._split.dtype, self._split.device) for feed in self._feeds]
        most = max(len(s) for s in splits)
        padded = [_padded(s, most) for s in splits]
        rows = torch.tensor(self._feed_of, device=splits[0].inputs.device)
        inputs, targets = (torch.stack(t).index_select(0, rows) for t in zip(*map(_pair, padded), strict=True))
        real = torch.arange(most)[None] < torch.tensor([len(splits[i]) for i in self._feed_of])[:, None]
        return inputs, targets, real.to(inputs.device)

    def take(self, keep: Tensor) -> None:
        chosen = keep.tolist()
        feeds = [self._feed_of[k] for k in chosen]
        used = sorted(set(feeds))
        if len(used) < len(self._feeds):
            self._feeds = [self._feeds[i] for i in used]
            self._ahead, self._made = None, 0  # what was read ahead is of more models
        self._feed_of = [used.index(i) for i in feeds]
        self.counts = [self.counts[k] for k in chosen]
        self._augment_roots = [self._augment_roots[k] for k in chosen]


class _Batches(IterableDataset["_Read"]):
    """The batches of a pack from a step on, for each feed; n processes have every n-th each."""

    def __init__(self, feeds: Sequence[Feed], batch: int, drop_last: bool, start: int, place: Place) -> None:
        self._feeds, self._batch, self._drop_last, self._start, self._own = feeds, batch, drop_last, start, place
        self._trainer, self._safe_path = os.getpid(), os.environ.get(_SAFE_PATH)

    def read(self, step: int | None = None) -> list[Arrays]:
        """For each feed the samples of a step; None: the first."""
        step = self._start if step is None else step
        with reading():
            return [feed.take(*self._stretch(feed.count, step), self._own.rank, self._own.size) for feed in self._feeds]

    def _stretch(self, n: int, step: int) -> tuple[int, int, int, int]:
        """Pass, first sample there, the one after its last, and number of the batch in the pass."""
        per_epoch = n // self._batch if self._drop_last else math.ceil(n / self._batch)
        epoch, within = divmod(step, per_epoch)
        return epoch, within * self._batch, min((within + 1) * self._batch, n), within

    def __iter__(self) -> Iterator[_Read]:
        worker = get_worker_info()
        if worker is not None:
            threading.Thread(target=_end_with, args=(self._trainer,), daemon=True).start()
            _set(_SAFE_PATH, self._safe_path)
        first, apart = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for step in itertools.count(self._start + first, apart):
            try:
                yield self.read(step)
            except SpecError as e:  # raised where the batch is taken: the loader would make a traceback of its text
                yield e
                return


@contextmanager
def _current_folder_not_searched() -> Iterator[None]:
    """While this lasts, Python processes that begin do not look for modules where the user stands, as `-c` has them do.

    A `random.py` there would replace the library's in the fork server, and in what `multiprocessing` starts beside it.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        _set(_SAFE_PATH, before)


def _set(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value


def _end_with(process: int) -> None:
    """End this process when another one does, in whatever way: its parent is not that one, but the fork server."""
    while True:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(_POLL)


def _as_read(batch: _Read) -> _Read:
    return batch


def _pair(split: Split) -> tuple[Tensor, Tensor]:
    return split.inputs, split.targets


def _padded(split: Split, n: int) -> Split:
    """Its samples and then the first one, over and over, up to n."""
    positions = torch.arange(n)
    positions[len(split) :] = 0
    positions = positions.to(split.inputs.device)
    return Split(split.inputs[positions], split.targets[positions])
