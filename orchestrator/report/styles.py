"""Pictures at the sizes of papers and talks."""

from __future__ import annotations

from typing import Any

from landsweep.orchestrator.report.drawing import Text, drawn, rc_context

__all__ = ["styled"]

_COLUMN, _PAGE = 3.3, 6.8  # inches: one and both columns of most templates
_WIDE = 1.9  # a picture that is this many times as wide as high needs both columns
_TYPE = {"paper": (5.5, 8.0), "talk": (11.0, 18.0)}  # points: the least and the largest
_SCALE = {"paper": 0.72, "talk": 1.35}
_TALK = 10.0  # inches
_RC = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}  # text stays text


def styled(picture: Any, file_format: str, style: str) -> bytes:  # noqa: ANN401 - matplotlib has no types
    """A picture in a style, as the bytes of a file; the picture itself is changed.

    Args:
        picture: a matplotlib figure.
        file_format: pdf, svg or png.
        style: report, paper or talk.
    """
    if style in _TYPE:
        width, height = picture.get_size_inches()
        target = _TALK if style == "talk" else _PAGE if width > _WIDE * height or len(picture.axes) > 3 else _COLUMN
        picture.set_size_inches(target, target * height / width)
        least, largest = _TYPE[style]
        for text in picture.findobj(Text):
            text.set_fontsize(min(largest, max(least, text.get_fontsize() * _SCALE[style])))
        for line in (line for panel in picture.axes for line in panel.lines):
            line.set_linewidth(line.get_linewidth() * _SCALE[style])
    with rc_context(_RC):
        return drawn(picture, format=file_format, dpi=300, bbox_inches="tight", pad_inches=0.02)
