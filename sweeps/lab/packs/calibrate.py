"""Which back-end, and how many models in a pack: timed on the device that will train, not guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["SIZES", "Choice", "calibrate"]

SIZES = (8, 16, 32, 64, 128, 256, 512)
_STEPS = 4  # timed for each candidate, after one that warms up
_MARGIN = 0.95  # a pack must take less than this share of the loop's time: timings are noisy, and the loop is simple
_HOPELESS = 1.3  # so many times slower than the loop, or than a smaller pack: larger ones are not tried
_NEAR = 1.15  # of sizes that differ by no more than this the smallest is taken: it leaves room in the caches
_SLOW = 0.1  # seconds per step: networks so large fill a device alone, and trying packs of them would take minutes


@dataclass(frozen=True, slots=True)
class Choice:
    """How recipes of one pack key are trained.

    Attributes:
        backend: name of the back-end.
        size: most models in one pack.
        seconds: for each candidate, such as `bmm@32`, seconds per step of one model; empty where nothing was timed.
        note: which faster back-ends were passed over because they compute something else, and what; empty: none.
    """

    backend: str
    size: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def label(self) -> str:
        """For a row: `bmm@32`."""
        return f"{self.backend}@{self.size}"


def calibrate(backends: Sequence[str], time_steps: Callable[[str, int, int], float], largest: int) -> Choice:
    """The fastest way to train.

    Args:
        backends: candidates beside the loop.
        time_steps: of a back-end, a pack size and a number of steps: seconds of the shortest of these steps.
        largest: pack size.
    """
    seconds = {"loop@1": time_steps("loop", 1, _STEPS)}
    if seconds["loop@1"] > _SLOW:
        return Choice("loop", 1, seconds)
    for backend in backends:
        best = float("inf")
        for size in (s for s in SIZES if s <= largest):
            taken = time_steps(backend, size, _STEPS) / size
            seconds[f"{backend}@{size}"] = taken
            if taken > _HOPELESS * best or taken > _HOPELESS * seconds["loop@1"]:
                break
            best = min(best, taken)
    least = min(seconds.values())
    if least > _MARGIN * seconds["loop@1"]:
        return Choice("loop", 1, seconds)
    first = next(name for name, s in seconds.items() if s <= _NEAR * least)
    name, _, models = first.partition("@")
    return Choice(name, int(models), seconds)
