"""The user's own stream of samples: any function that gives an iterable, for data that can only be read in order."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.calling import about_to_call
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data, Source
from landsweep.sweeps.lab.data.stored import Arrays, Feed, Reader, StoredSplit, as_split
from landsweep.sweeps.lab.streams import counted, stream

__all__ = ["IterableData"]

_LOOKED_UP = 100_000  # samples of the split that is trained on, from the first, that evaluations and probes may look at
_OURS = ("split", "seed", "worker", "workers", "skip", "rank", "ranks")


class IterableData(Source):
    """Samples from a function of the user's, `function(split, seed, worker, workers, **args)`.

    It gives an iterable of pairs (input, target), arrays or numbers, for one of `workers` shares: the share `worker`
    has the batches number `worker`, `worker + workers`, ... of each pass. A pass has `train` samples, and the next one
    is asked for with another seed. The split `test` is asked for with seed 0, worker 0 of 1, and its first `test`
    samples are kept in memory.

    A training that goes on in the middle of a pass skips what it has had: by `skip=n` where the function takes this
    argument, else by reading and leaving out as many samples. The same seed must give the same samples.

    Where `ranks` devices train one model together, each batch is shared out among them: `rank` computes the samples
    number rank, rank + ranks, ... of it. A function that takes the arguments `rank` and `ranks` gives these alone, of
    the whole share, and `skip` counts what it would have given; of any other the rest is read and left out.
    """

    source: Literal["iterable"]
    function: str = Field(description="package.module:function")
    args: dict[str, Any] = Field({}, description="more keyword arguments")
    train: int = Field(ge=1, description="samples in a pass")
    test: int = Field(ge=1, description="samples to test on")
    classes: int | None = Field(None, ge=2, description="how many classes the targets are; none: they are numbers")
    workers: int = Field(0, ge=0, le=64, description="processes that read; 0: the worker itself. Part of the identity")

    @field_validator("args")
    @classmethod
    def _leave_ours_alone(cls, args: dict[str, Any]) -> dict[str, Any]:
        if reserved := [name for name in _OURS if name in args]:
            raise ValueError(
                f"{reserved[0]}: is given by the training, which asks for one share and pass after the other"
            )
        return args

    def load(self, base: Path) -> Data:
        """The splits: `train` as a stream, `test` in memory.

        Raises:
            SpecError: there is no such function, it raises, or gives something else than pairs of numbers.
        """
        import_callable(self.function, base)  # refused before anything is read
        about_to_call(f"the data {self.function}", "data.args", self.args)
        opener = _Opener(self.function, base, self.args, self.classes or 0)
        test = as_split(_stacked(opener, itertools.islice(opener.samples("test", 0, 0, 1, 0), self.test), self.test))
        reader = _Stream(opener, self.train, max(1, self.workers))
        first = reader.first(1)
        shape = first[0].shape[1:]
        if tuple(test.inputs.shape[1:]) != shape:
            raise SpecError(
                f"data: {self.function} gives inputs {list(shape)} to train and {test.inputs.shape[1:]} to test"
            )
        train = StoredSplit("train", reader, self.workers)
        if self.classes is None:
            return Data({"train": train, "test": test}, 0, shape)
        return Data({"train": train, "test": Data.of({"test": test}, self.classes).splits["test"]}, self.classes, shape)


class _Opener:
    """Calls the user's function; pickled by its name.

    Args:
        function: its name.
        base: folder in which its module is looked for.
        args: of it.
        classes: how many the targets are; 0: they are numbers.
    """

    def __init__(self, function: str, base: Path, args: dict[str, Any], classes: int) -> None:
        self.name, self._base, self._args, self.classes = function, base, args, classes

    @cached_property
    def takes(self) -> frozenset[str]:
        """Names of the function's arguments."""
        return frozenset(inspect.signature(import_callable(self.name, self._base)).parameters)

    def samples(
        self, split: str, seed: int, worker: int, workers: int, skip: int, rank: int = 0, ranks: int = 1
    ) -> Iterator[object]:
        """The samples of a share after this many; of a member of a gang its own, if the function takes `ranks`."""
        function = import_callable(self.name, self._base)
        arguments = {"split": split, "seed": seed, "worker": worker, "workers": workers, **self._args}
        if self.takes.issuperset(("rank", "ranks")):
            arguments |= {"rank": rank, "ranks": ranks}
        skips = skip and "skip" in self.takes
        try:
            stream: Iterable[object] = function(**arguments, **({"skip": skip} if skips else {}))
            yield from itertools.islice(stream, 0 if skips else skip, None)
        except SpecError:
            raise
        except Exception as e:  # whatever the user's function does
            raise SpecError(f"data: {self.name} raised {type(e).__name__}: {e}") from e


def _stacked(opener: _Opener, samples: Iterable[object], n: int) -> Arrays:
    """Some samples as arrays.

    Raises:
        SpecError: there are too few, or they are no pairs of numbers of one shape.
    """
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for sample in samples:
        if not isinstance(sample, tuple | list) or len(sample) != 2:
            raise SpecError(f"data: {opener.name} must give pairs (input, target); it gave {type(sample).__name__}")
        pairs.append((np.asarray(sample[0]), np.asarray(sample[1])))
    if len(pairs) < n:
        raise SpecError(
            f"data: {opener.name} ended {n - len(pairs)} samples too early; give fewer in `train` or `test`"
        )
    try:
        inputs, targets = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
    except ValueError as e:
        raise SpecError(f"data: {opener.name} gives samples of different shapes") from e
    for what, array in (("inputs", inputs), ("targets", targets)):
        if array.dtype.kind not in "fiu":
            raise SpecError(f"data: {what} of {opener.name} hold {array.dtype}, which are no numbers")
    if opener.classes and (targets.dtype.kind == "f" or not _within(targets, opener.classes)):
        raise SpecError(
            f"data.classes: targets of {opener.name} must be whole numbers from 0 to {opener.classes - 1}; got "
            f"{targets.min()} to {targets.max()}"
        )
    if opener.classes and targets.ndim == 2 and inputs.dtype.kind in "iu" and not _within(inputs, opener.classes):
        raise SpecError(
            f"data.classes: tokens of {opener.name} must be whole numbers from 0 to {opener.classes - 1}; got "
            f"{inputs.min()} to {inputs.max()}"
        )
    if not opener.classes:
        targets = targets.astype(np.float32)
    return inputs.astype(np.float32) if inputs.dtype.kind == "f" else inputs, targets


def _within(values: NDArray[Any], classes: int) -> bool:
    return bool(values.min() >= 0 and values.max() < classes)


_Place: TypeAlias = tuple[int, int, tuple[int, int]]
"""Of a stream that is open: pass, number of its next sample among all of the share, and whose they are: rank, ranks."""


class _Stream(Reader):
    """The split that is trained on. Only its first samples can be read by their place.

    Args:
        opener: of the user's function.
        count: samples in a pass.
        workers: into how many shares it is cut.
    """

    def __init__(self, opener: _Opener, count: int, workers: int) -> None:
        self._opener, self._count, self._workers = opener, count, workers

    def __len__(self) -> int:
        return self._count

    def first(self, n: int) -> Arrays:
        return _stacked(self._opener, itertools.islice(self._opener.samples("train", 0, 0, 1, 0), n), n)

    def read(self, positions: NDArray[np.int64]) -> Arrays:
        last = int(positions.max(initial=0))
        if last >= _LOOKED_UP:
            raise SpecError(f"data: the sample {last} of a stream can't be looked up; give a smaller evaluate.first")
        inputs, targets = self.first(last + 1)
        return inputs[positions], targets[positions]

    def feed(self, seed: int, fraction: float) -> Feed:
        if fraction != 1:
            raise SpecError("train_fraction: a stream has no share of its samples; give `data.train` fewer")
        return _StreamFeed(self._opener, self, stream(seed, "order"), self._workers)


class _StreamFeed(Feed):
    """Batches of a stream, as long as they are asked for in order; else it is opened anew and skips.

    Args:
        opener: of the user's function.
        reader: of the split.
        root: seed of the model's stream `order`.
        workers: into how many shares it is cut.
    """

    def __init__(self, opener: _Opener, reader: _Stream, root: int, workers: int) -> None:
        self.count = len(reader)
        self._opener, self._reader, self._root, self._workers = opener, reader, root, workers
        self._open: dict[int, tuple[_Place, Iterator[object]]] = {}  # by share: what it gives next

    def take(self, epoch: int, start: int, stop: int, batch: int, rank: int = 0, ranks: int = 1) -> Arrays:
        samples, full = stop - start, start // batch if batch else stop - start
        share, earlier = batch % self._workers, batch // self._workers * full
        # Every `ranks`-th sample of the stream is every `ranks`-th of each batch only where both divide.
        own = self._opener.takes.issuperset(("rank", "ranks")) and not earlier % ranks and not samples % ranks
        shares = (rank, ranks) if own else (0, 1)
        cut = slice(None) if own else slice(rank if rank < samples else 0, None, ranks)
        place, stream = self._open.pop(share, (None, iter(())))
        if place != (epoch, earlier, shares):
            seed = counted(self._root, epoch)
            skipped = earlier // shares[1]
            stream = self._opener.samples("train", seed, share, self._workers, skipped, *shares)
        n = samples // shares[1]
        inputs, targets = _stacked(self._opener, itertools.islice(stream, n), n)
        self._open[share] = (epoch, earlier + samples, shares), stream
        return inputs[cut], targets[cut]

    def first(self, n: int) -> Arrays:
        return self._reader.first(min(n, self.count))

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_open": {}}
