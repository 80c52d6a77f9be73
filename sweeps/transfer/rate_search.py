"""Which learning rates to try: all of them, or only those that finding the best one takes."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["RateSearch"]


class RateSearch:
    """Looks for the lowest mean loss over a rising list of rates, for one recipe in one size.

    Adaptive: with the first seed, rates at a coarse stride, then around the best one at half the stride, and so on;
    then all seeds at the best rate and its neighbours, until the lowest mean has both beside it. Where the loss falls
    and then rises, that ends at the rate, and with the three points of its parabola, that the full grid gives.

    Args:
        rates: how many there are.
        seeds: how many models judge a rate.
        adaptive: False: all rates, all seeds.

    Example:
        >>> search, asked = RateSearch(17, 1, adaptive=True), 0
        >>> while (wants := search.wants()):
        ...     asked += len(wants)
        ...     for rate, seed in wants:
        ...         search.tell(rate, seed, (rate - 11.2) ** 2)
        >>> search.best(), asked
        (11, 9)
    """

    def __init__(self, rates: int, seeds: int, *, adaptive: bool) -> None:
        self._rates, self._seeds, self._adaptive = rates, seeds, adaptive
        self._losses: dict[tuple[int, int], float] = {}

    def tell(self, rate: int, seed: int, loss: float | None) -> None:
        """Report the loss of one model. One that failed (None), or has no number, counts as infinite."""
        self._losses[rate, seed] = math.inf if loss is None or math.isnan(loss) else loss

    def wants(self) -> list[tuple[int, int]]:
        """Positions of the rates and seeds whose losses are needed next; empty: the search has ended.

        Adaptive: every 2^k-th rate with the first seed, then ever closer around the lowest loss, then the lowest rate
        and its neighbours with all seeds, until the lowest mean has measured neighbours.
        """
        seeds = range(self._seeds)
        if not self._adaptive:
            return self._missing((r, s) for r in range(self._rates) for s in seeds)
        stride = 2 ** max(0, round(math.log2(max(self._rates - 1, 1) / 4)))
        level = {*range(0, self._rates, stride), self._rates - 1}
        needed = self._missing((r, 0) for r in level)
        while not needed and stride > 1:
            stride //= 2
            # The best of this level's rates: what finer levels have measured must not change what this one asks.
            level.update(self._around(min(level, key=lambda r: (self._losses[r, 0], r)), stride))
            needed = self._missing((r, 0) for r in level)
        if not needed:
            needed = self._missing((r, 0) for r in self._around(self._lowest(1), 1))
        if not needed:
            needed = self._missing((r, s) for r in self._around(self._lowest(1), 1) for s in seeds)
        if not needed:
            needed = self._missing((r, s) for r in self._around(self._lowest(self._seeds), 1) for s in seeds)
        return needed

    def best(self) -> int | None:
        """Position of the rate with the lowest mean over all seeds; None before any rate has all of them."""
        return self._lowest(self._seeds) if any(self._complete(r, self._seeds) for r in range(self._rates)) else None

    def _missing(self, wanted: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        return sorted(set(wanted) - self._losses.keys())

    def _around(self, rate: int, stride: int) -> list[int]:
        return [r for r in (rate - stride, rate, rate + stride) if 0 <= r < self._rates]

    def _complete(self, rate: int, seeds: int) -> bool:
        return all((rate, s) in self._losses for s in range(seeds))

    def _lowest(self, seeds: int) -> int:
        """The rate with the lowest mean over this many seeds, of those that have them all; of equal ones the first."""
        complete = [r for r in range(self._rates) if self._complete(r, seeds)]
        return min(complete, key=lambda r: sum(self._losses[r, s] for s in range(seeds)))
