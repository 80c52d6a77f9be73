"""Plots that can be turned and zoomed, in a page that needs nothing from elsewhere.

Plotly's library is 4.8 MB of code. A page holds it once, compressed to 1.9 MB, and the browser unpacks it. Where it
can't, or runs no scripts, the picture of each plot stays on the page.
"""

from __future__ import annotations

import base64
import functools
import gzip
from typing import Any

import plotly.io
from markupsafe import Markup
from plotly.offline import get_plotlyjs

__all__ = ["packed_library", "plot_json"]

_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@functools.cache
def packed_library() -> Markup:
    """plotly.js, compressed, as base64: no character of it means anything in HTML."""
    return Markup(base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode())


def plot_json(plot: Any) -> Markup:  # noqa: ANN401 - a tree of a Plotly figure
    """Data and layout of a plot as JSON for an element of a page, which no text in it can end.

    Args:
        plot: as `without_tags` gives it.
    """
    text = str(plotly.io.to_json(plot, validate=False))
    for sign, escaped in _ESCAPED.items():
        text = text.replace(sign, escaped)
    return Markup(text)
