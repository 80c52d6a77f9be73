"""matplotlib as figures use it, imported in one place: what lies where the user stands does not set it up.

It reads `matplotlibrc` of the current folder before the user's own settings. That folder may come from anybody, and its
file could have TeX run on words of its own, which read files of the user's into a figure, or end each report.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """While this lasts, the current folder is one in which only the administrator can write."""
    try:
        here = os.open(os.curdir, os.O_RDONLY)
    except OSError:  # it was removed, or can't be read: then neither can a file in it
        yield
        return
    try:
        os.chdir("/")
        yield
    finally:
        os.fchdir(here)
        os.close(here)


@contextlib.contextmanager
def _without_backend() -> Iterator[None]:
    """While this lasts, no window system is named: figures are drawn without one, and a name may be nonsense."""
    name = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if name is not None:
            os.environ["MPLBACKEND"] = name
    if name:
        with contextlib.suppress(ValueError):
            rcParams["backend"] = name  # for the user's own code, as matplotlib has it


with _elsewhere(), _without_backend():
    from matplotlib import colormaps, rc_context, rcParams
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.category import StrCategoryFormatter
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

__all__ = [
    "Figure",
    "FigureCanvasAgg",
    "FixedFormatter",
    "FixedLocator",
    "FuncFormatter",
    "ListedColormap",
    "LogLocator",
    "LogNorm",
    "MaxNLocator",
    "Normalize",
    "NullFormatter",
    "Polygon",
    "ScalarMappable",
    "StrCategoryFormatter",
    "Text",
    "colormaps",
    "drawn",
    "rc_context",
]


def drawn(picture: Any, **options: Any) -> bytes:  # noqa: ANN401 - matplotlib has no types
    """A picture as the bytes of a file. Text that is no valid mathematics is drawn as it stands.

    Args:
        picture: a matplotlib figure.
        options: of its `savefig`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks, panels that are narrow
        buffer = io.BytesIO()
        try:
            picture.savefig(buffer, **options)
        except ValueError:
            buffer = io.BytesIO()
            with rc_context({"text.parse_math": False}):
                for text in picture.findobj(Text):
                    text.set_parse_math(False)
                picture.savefig(buffer, **options)
    return buffer.getvalue()
