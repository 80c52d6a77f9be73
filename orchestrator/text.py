"""Text from elsewhere (names, errors, values of a results folder) made safe and short enough to be shown."""

from __future__ import annotations

import re

__all__ = ["CUT", "anchor", "encodable", "one_line", "printable", "shortened"]

CUT = " [...] "  # stands where text was left out

# C0 and C1 controls (a terminal obeys them: ESC, CSI, OSC, BEL, CR), and the marks that turn the direction of a line
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[{_CONTROLS}]")
_UNSAFE_IN_A_LINE = re.compile(f"[\t\n\u2028\u2029{_CONTROLS}]")


_LONGEST_NAME = 80  # of a file


def anchor(name: str) -> str:
    """A name that is safe as a file name and as an anchor of a page."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST_NAME].strip("-.") or "figure"


def printable(text: str) -> str:
    r"""Text that a terminal shows and does not obey: control characters are written as escapes; lines stay lines.

    Example:
        >>> print(printable("a\x1b]0;title\x07b"))
        a\x1b]0;title\x07b
    """
    return _UNSAFE.sub(_escape, text)


def one_line(text: object) -> str:
    r"""The same without line breaks and tabs, so that a name can't pretend to be a further line.

    Example:
        >>> print(one_line("zoo\nsound: every checksum is right"))
        zoo\nsound: every checksum is right
    """
    return _UNSAFE_IN_A_LINE.sub(_escape, str(text))


def encodable(text: str) -> str:
    r"""Text that UTF-8 can hold: half characters (surrogates) are written as escapes.

    Example:
        >>> print(encodable("a\ud83d"))
        a\ud83d
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str, most: int) -> str:
    """Text of at most about `most` characters: beginning and end, with a mark where the middle was left out.

    Example:
        >>> shortened("a" * 50 + "z", 20)
        'aaaaaaaaa [...] aaaz'
    """
    if len(text) <= most:
        return text
    head = max(1, (most - len(CUT)) * 2 // 3 + 1)
    return text[:head] + CUT + text[len(text) - max(1, most - len(CUT) - head) :]


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
