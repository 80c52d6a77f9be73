"""What a session gives, item by item."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from landsweep.orchestrator.row import Outcome, Progress

__all__ = ["without_lulls"]


def without_lulls(items: Iterator[Outcome | Progress | None]) -> Generator[Outcome | Progress, None, None]:
    """The items but None, which a session yields while nothing happens; to close this is to leave the session."""
    try:
        for item in items:
            if item is not None:
                yield item
    finally:
        items.close()  # type: ignore[attr-defined] # sessions are generators
