"""Tables as text for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from landsweep.orchestrator.report.values import shown

__all__ = ["columns_text"]


_LONGEST = 1000  # characters of a cell


def _short(value: object) -> str:
    return shown(value, 5, _LONGEST)


def columns_text(
    header: Sequence[str], lines: Sequence[Sequence[object]], cell: Callable[[object], str] = _short
) -> str:
    """Columns of equal width; those of numbers stand to the right.

    Args:
        header: name of each column.
        lines: cells in the order of the header.
        cell: writes one cell; by default numbers with five digits.

    Example:
        >>> print(columns_text(("law", "n"), [("power", 20), ("chinchilla", 7)]))
        law          n
        power       20
        chinchilla   7
    """
    texts = [[cell(value) for value in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
    right = [all(isinstance(line[i], int | float) for line in lines) for i in range(len(widths))]

    def padded(line: Sequence[str]) -> str:
        return "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True)).rstrip()

    return "\n".join(padded(line) for line in (header, *texts))
