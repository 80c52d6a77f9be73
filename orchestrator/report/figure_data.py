"""The numbers that a picture shows, read back from what is drawn: lines, points, bars and maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.drawing import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    Polygon,
    StrCategoryFormatter,
)

if TYPE_CHECKING:
    from landsweep.orchestrator.report.parts import Figure

__all__ = ["data_of", "numbers_of"]

_COLUMNS = ("panel", "mark", "name", "x", "y", "value")


def numbers_of(figure: Figure) -> pd.DataFrame:
    """What a figure shows as a table: its own data, or what is read back from its picture; empty without either."""
    if figure.data is not None:
        return figure.data
    return pd.DataFrame() if figure.picture is None else data_of(figure.picture)


def data_of(picture: Any) -> pd.DataFrame:  # noqa: ANN401 - matplotlib has no types
    """One line per point: the panel that it is in, the mark (line, point, bar, cell, outline), name, x, y and value.

    Bars have their own height as y, or their length as x if they lie; stacked ones too. Cells of a map have the middle
    of the cell as x and y, and what their colour stands for as value. Corners of histograms are an outline. Where an
    axis has words at all the places of a mark, x or y is the word. Guide lines that span a panel, and what has no
    numbers of its own, such as bands, are left out; of a picture without any, there is no line.
    """
    lines: list[tuple[object, ...]] = []
    for i, panel in enumerate(picture.axes):
        if getattr(panel, "_colorbar", None) is not None:
            continue
        title = panel.get_title() or panel.get_title("left") or f"panel {i + 1}"
        lines += [(title, *line) for line in _in_words(list(_marks(panel)), panel)]
    return pd.DataFrame(lines, columns=list(_COLUMNS)).dropna(axis="columns", how="all")


def _in_words(marks: list[tuple[Any, ...]], panel: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """Points of marks by the words at their places, on axes that have these instead of numbers."""
    frame = pd.DataFrame(marks, columns=list(_COLUMNS[1:]), dtype=object)
    for column, axis in (("x", panel.xaxis), ("y", panel.yaxis)):
        words = _words(axis)
        for _, places in frame.groupby(["mark", "name"], sort=False)[column]:
            if words and all(place in words for place in places):
                frame.loc[places.index, column] = [words[place] for place in places]
    return list(frame.itertuples(index=False, name=None))


def _words(axis: Any) -> Mapping[float, str]:  # noqa: ANN401
    """Place to label of an axis with labels of its own; empty where these are the numbers at the places, rounded."""
    formatter, places = axis.get_major_formatter(), [float(p) for p in axis.get_majorticklocs()]
    given = isinstance(formatter, FixedFormatter | FuncFormatter) and isinstance(axis.get_major_locator(), FixedLocator)
    if not given and not isinstance(formatter, StrCategoryFormatter):
        return {}
    words = {p: w.replace("\\$", "$") for p, w in zip(places, formatter.format_ticks(places), strict=True)}
    values = pd.to_numeric(pd.Series(list(words.values()), dtype=object), errors="coerce")
    return {} if np.allclose(values, places, rtol=0.01, atol=0) else words


def _marks(panel: Any) -> Iterator[tuple[object, ...]]:  # noqa: ANN401
    for line in panel.lines:
        if line.get_transform() == panel.transData:  # guides are placed in shares of the panel
            x, y = (np.asarray(part, dtype=object) for part in line.get_data(orig=True))
            yield from (("line", _name(line), a, b, None) for a, b in zip(x.ravel(), y.ravel(), strict=True))
    for image in panel.images:
        yield from _cells(image, image.get_array(), *_middles(image))
    for collection in panel.collections:
        yield from _collection(collection)
    for bars in panel.containers:
        lying = getattr(bars, "orientation", "vertical") == "horizontal"
        for bar in (b for b in bars if hasattr(b, "get_height")):
            x = bar.get_width() if lying else bar.get_x() + bar.get_width() / 2
            y = bar.get_y() + bar.get_height() / 2 if lying else bar.get_height()
            yield "bar", _name(bars), x, y, None
    for patch in panel.patches:
        if isinstance(patch, Polygon) and patch.get_fill() and patch.get_data_transform() == panel.transData:
            yield from (("outline", _name(patch), x, y, None) for x, y in patch.get_xy().tolist())


def _collection(collection: Any) -> Iterator[tuple[object, ...]]:  # noqa: ANN401
    if hasattr(collection, "get_coordinates"):  # a map of cells
        corners = np.asarray(collection.get_coordinates())
        middles = (corners[:-1, :-1] + corners[1:, 1:]) / 2
        yield from _cells(collection, collection.get_array(), middles[..., 0], middles[..., 1])
        return
    points: Any = np.ma.filled(np.ma.asarray(collection.get_offsets(), dtype=float), np.nan)
    values = collection.get_array()
    if type(collection).__name__ == "PathCollection" and len(points):
        colours = [None] * len(points) if values is None else np.asarray(values, dtype=float).ravel().tolist()
        for (x, y), value in zip(points.tolist(), colours, strict=True):
            yield "point", _name(collection), x, y, value


def _middles(image: Any) -> tuple[Any, Any]:  # noqa: ANN401
    left, right, bottom, top = image.get_extent()
    height, width = image.get_array().shape[:2]
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = bottom + (np.arange(height) + 0.5) * (top - bottom) / height
    x, y = np.meshgrid(x, y if image.origin == "lower" else y[::-1])
    return x, y


def _cells(mark: Any, array: Any, x: Any, y: Any) -> Iterator[tuple[object, ...]]:  # noqa: ANN401
    values: Any = np.ma.filled(np.ma.asarray(array, dtype=float), np.nan)
    if values.size == x.size:  # else it is a picture in colours
        for a, b, value in zip(x.ravel().tolist(), y.ravel().tolist(), values.ravel().tolist(), strict=True):
            yield "cell", _name(mark), a, b, value


def _name(mark: Any) -> str:  # noqa: ANN401
    label = str(mark.get_label() or "")
    return "" if label.startswith("_") else label
