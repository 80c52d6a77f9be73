"""A mixture of domains: each training sample comes from one of several data sets, by weights that a study can sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data, Dimensions, Source, Split
from landsweep.sweeps.lab.data.order import Order, Permutation, scrambled
from landsweep.sweeps.lab.data.single import SingleSource
from landsweep.sweeps.lab.data.stored import Arrays, Feed, OrderedFeed, Reader, StoredSplit
from landsweep.sweeps.lab.streams import counted, stream

__all__ = ["Mixture", "MixtureOrder"]

_BLOCK = 1 << 16  # samples whose domains are drawn at once


class Mixture(Source):
    """Training samples of several domains; the split `test` of the domain `a` becomes `test_a`, and so on.

    The domain of each sample is drawn by its weight, from the recipe's seed. Within a domain samples come in the order
    of a permutation, and a new one when all were seen, so that a small domain is repeated and a large one is not.
    """

    source: Literal["mixture"]
    domains: dict[str, SingleSource] = Field(min_length=1, description="name to data; all of one shape and vocabulary")
    weights: dict[str, float] | None = Field(
        None, description="domain to its share of the training samples; they are divided by their sum; none: equal"
    )
    samples: int | None = Field(
        None, ge=1, description="samples in a pass, which epochs count; none: as many as all domains have"
    )

    @model_validator(mode="after")
    def _every_domain_has_a_weight(self) -> Self:
        if invalid := [n for n in self.domains if not n.isidentifier()]:
            raise ValueError(f"domains: {invalid[0]!r} is part of the names of columns: letters, digits and _")
        if self.weights is None:
            return self
        if self.weights.keys() != self.domains.keys():
            raise ValueError(f"weights: there must be one for each of {list(self.domains)}, got {list(self.weights)}")
        weights = self.weights.values()
        if not all(w >= 0 for w in weights) or not 0 < sum(weights) < math.inf:
            raise ValueError(f"weights: must be 0 or more, with a finite sum above 0; got {dict(self.weights)}")
        return self

    def pinned(self, base: Path) -> Self:
        """The same with the files of all domains pinned."""
        return self.model_copy(update={"domains": {name: d.pinned(base) for name, d in self.domains.items()}})

    def dimensions(self) -> Dimensions | None:
        all_known = [d.dimensions() for d in self.domains.values()]
        if any(known is None for known in all_known) or (first := all_known[0]) is None:
            return None
        tests = _test_names({n: d.splits if d else () for n, d in zip(self.domains, all_known, strict=True)})
        return Dimensions(first.shape, first.outputs, first.sequence, first.regression, ("train", *tests))

    def stand_in(self, rows: int, base: Path) -> Data:
        """Of the first domain, with the splits of all."""
        few = {name: d.stand_in(rows, base) for name, d in self.domains.items()}
        first = next(iter(few.values()))
        return Data({"train": first.splits["train"], **_tests(few)}, first.classes, first.shape)

    def load(self, base: Path) -> Data:
        """The splits; `train` is read sample by sample, whether its domains are on disk or in memory.

        Raises:
            SpecError: a domain can't be loaded, has no split `train`, or differs from the others in shape or classes.
        """
        loaded: dict[str, Data] = {}
        for name, source in self.domains.items():
            try:
                loaded[name] = source.load(base)
            except SpecError as e:
                raise SpecError(f"data.domains.{name}: {e}") from e
            if "train" not in loaded[name].splits:
                raise SpecError(f"data.domains.{name}: has no split 'train'; it has {list(loaded[name].splits)}")
        first, *others = loaded
        one = loaded[first]
        for name in others:
            other = loaded[name]
            for what in ("shape", "classes", "kind", "sequence", "outputs"):
                if (a := getattr(one, what)) != (b := getattr(other, what)):
                    raise SpecError(f"data.domains: {first} has the {what} {a}, {name} has {b}; they must be the same")
        trained = {name: d.splits["train"] for name, d in loaded.items()}
        weights = self.weights or dict.fromkeys(self.domains, 1.0)
        count = self.samples or sum(len(s) for s in trained.values())
        reader = _MixtureReader(trained, [weights[name] for name in trained], count)
        processes = max(s.processes if isinstance(s, StoredSplit) else 0 for s in trained.values())
        return Data({"train": StoredSplit("train", reader, processes), **_tests(loaded)}, one.classes, one.shape)


def _tests(loaded: Mapping[str, Data]) -> dict[str, Split]:
    names = _test_names({name: list(data.splits) for name, data in loaded.items()})
    return {name: loaded[domain].splits[split] for name, (domain, split) in names.items()}


def _test_names(splits: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, str]]:
    """What the splits of the domains that are not trained on are called in the mixture, to domain and split.

    Raises:
        SpecError: two of them would have one name.
    """
    names: dict[str, tuple[str, str]] = {}
    for domain, own in splits.items():
        for split in own:
            if split == "train":
                continue
            if (other := names.setdefault(f"{split}_{domain}", (domain, split))) != (domain, split):
                raise SpecError(
                    f"data.domains: {split}_{domain} would be both the split {other[1]!r} of {other[0]} and the split "
                    f"{split!r} of {domain}; give one of these domains another name"
                )
    return names


class MixtureOrder(Order):
    """Which domain each sample is from, and which of its samples it is.

    Args:
        seed: of the recipe.
        sizes: domain to how many samples it has.
        weights: of the domains, in order.
        count: samples in a pass.
        fraction: share of a pass, and of each domain's samples, that the model has; smaller shares nest.
    """

    def __init__(
        self, seed: int, sizes: Mapping[str, int], weights: Sequence[float], count: int, fraction: float = 1.0
    ) -> None:
        self.count = _share(count, fraction)
        self._root = np.uint64(stream(seed, "domain"))
        shares = np.cumsum(np.array(weights, np.float64))
        self._bounds = shares / shares[-1]
        self._last = int(np.flatnonzero(np.array(weights))[-1])
        self._roots = [stream(seed, f"order of {name}") for name in sizes]
        self._sizes = [_share(size, fraction) for size in sizes.values()]
        self._offsets = np.cumsum([0, *list(sizes.values())[:-1]])
        own = {} if fraction == 1 else sizes
        self._chosen = [Permutation(stream(seed, f"subset of {name}"), size) for name, size in own.items()]
        self._at, self._before = 0, np.zeros(len(sizes), np.int64)  # samples of each domain before a number
        self._permutations: dict[int, tuple[int, Permutation]] = {}

    def domains(self, start: int, stop: int) -> NDArray[np.int64]:
        """The domains of samples, by their numbers in all passes together."""
        numbers = np.arange(start, stop, dtype=np.uint64)
        draws = scrambled(numbers * np.uint64(0x9E3779B97F4A7C15) + self._root) >> np.uint64(11)
        chosen = np.searchsorted(self._bounds, draws.astype(np.float64) * 2.0**-53, side="right")
        return np.minimum(chosen, self._last).astype(np.int64)  # the last bound may round to less than 1

    def positions(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        first, last = epoch * self.count + start, epoch * self.count + stop
        before = self._counts(first)
        domains = self.domains(first, last)
        positions = np.empty(len(domains), np.int64)
        for domain in np.unique(domains).tolist():
            here = domains == domain
            numbers = before[domain] + np.arange(here.sum())
            positions[here] = self._offsets[domain] + self._within(domain, numbers)
        self._at, self._before = last, before + np.bincount(domains, minlength=len(before))
        return positions

    def own(self, n: int) -> NDArray[np.int64]:
        reached = self._at, self._before
        first = self.positions(0, 0, min(n, self.count))
        self._at, self._before = reached  # a training goes on from there
        return first

    def _counts(self, number: int) -> NDArray[np.int64]:
        """How many samples of each domain come before the one of this number."""
        if number < self._at:
            self._at, self._before = 0, np.zeros_like(self._before)
        while self._at < number:
            stop = min(number, self._at + _BLOCK)
            self._before = self._before + np.bincount(self.domains(self._at, stop), minlength=len(self._before))
            self._at = stop
        return self._before

    def _within(self, domain: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in a domain of the samples that are drawn from it as the n-th ones."""
        passes, places = np.divmod(numbers, self._sizes[domain])
        positions = np.empty_like(places)
        for p in np.unique(passes).tolist():
            if domain not in self._permutations or self._permutations[domain][0] != p:
                self._permutations[domain] = p, Permutation(counted(self._roots[domain], p), self._sizes[domain])
            positions[passes == p] = self._permutations[domain][1](places[passes == p])
        return self._chosen[domain](positions) if self._chosen else positions


def _share(samples: int, fraction: float) -> int:
    return samples if fraction == 1 else max(1, round(fraction * samples))


class _MixtureReader(Reader):
    """The split that is trained on. By place, its samples are those that the seed 0 draws.

    Args:
        splits: domain to its samples.
        weights: of the domains, in order.
        count: samples in a pass.
    """

    def __init__(self, splits: Mapping[str, Split], weights: Sequence[float], count: int) -> None:
        self._sizes = {name: len(split) for name, split in splits.items()}
        self._weights, self._count = list(weights), count
        self._joined = _Joined([s.reader if isinstance(s, StoredSplit) else _InMemory(s) for s in splits.values()])

    def __len__(self) -> int:
        return self._count

    def read(self, positions: NDArray[np.int64]) -> Arrays:
        if not len(positions):
            return self._joined.read(positions)
        first, last = int(positions.min()), int(positions.max())
        drawn = self._order(0).positions(0, first, last + 1)
        return self._joined.read(drawn[positions - first])

    def feed(self, seed: int, fraction: float) -> Feed:
        return OrderedFeed(self._joined, self._order(seed, fraction))

    def _order(self, seed: int, fraction: float = 1.0) -> MixtureOrder:
        return MixtureOrder(seed, self._sizes, self._weights, self._count, fraction)


class _Joined(Reader):
    """The samples of several readers, one after the other."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = list(readers)
        self._ends = np.cumsum([len(r) for r in readers])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, positions: NDArray[np.int64]) -> Arrays:
        numbers = np.searchsorted(self._ends, positions, side="right")
        parts, places = [], []
        for number in np.unique(numbers).tolist() or [0]:
            here = np.flatnonzero(numbers == number)
            parts.append(self._readers[number].read(positions[here] - (int(self._ends[number - 1]) if number else 0)))
            places.append(here)
        back = np.argsort(np.concatenate(places))
        inputs, targets = (np.concatenate(arrays)[back] for arrays in zip(*parts, strict=True))
        return inputs, targets


class _InMemory(Reader):
    """The samples of a split in memory."""

    def __init__(self, split: Split) -> None:
        self._inputs, self._targets = split.inputs.numpy(), split.targets.numpy()

    def __len__(self) -> int:
        return len(self._inputs)

    def read(self, positions: NDArray[np.int64]) -> Arrays:
        return self._inputs[positions], self._targets[positions]
