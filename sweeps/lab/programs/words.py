"""The words of a command line: text with placeholders, such as `--lr={learning_rate}`, filled for each unit.

Each word is one argument of the program. No shell reads it, so a value can hold spaces, quotes and dollar signs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

from landsweep.orchestrator.canonical import Value

__all__ = ["FIXED", "as_word", "filled", "names_in", "unknown_names"]

FIXED = {  # placeholders that every unit has
    "seed": "of the unit: 0 <= seed < 2**31, unless an axis has this name",
    "dir": "the unit's own folder; it is still there when the unit is tried again",
    "key": "of the unit: 32 hexadecimal digits",
    "attempt": "how often the unit was begun: 1, 2, ...",
    "folder": "the folder of the spec",
    "python": "the Python that runs landsweep",
}

_PART = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z_][\w.-]*)\}|(?P<stray>[{}])")


def names_in(word: str) -> list[str]:
    """The placeholders in a word.

    Example:
        >>> names_in("{a}/{b.c}/{{d}}")
        ['a', 'b.c']

    Raises:
        ValueError: it has a brace that belongs to none.
    """
    names = []
    for part in _PART.finditer(word):
        if part["stray"]:
            raise ValueError(f"{word!r}: a single brace; write {{name}} for a value, {{{{ and }}}} for braces")
        if part["name"]:
            names.append(part["name"])
    return names


def filled(word: str, values: Mapping[str, str]) -> str:
    """A word with its placeholders filled, `{{` and `}}` as braces.

    Example:
        >>> filled("lr={lr} {{x}}", {"lr": "0.1"})
        'lr=0.1 {x}'
    """

    def text(part: re.Match[str]) -> str:
        return values[part["name"]] if part["name"] else part[0][0]

    return _PART.sub(text, word)


def as_word(value: Value) -> str:
    """A value as a program reads it: numbers so that they are read back exactly, flags and null in lower case.

    Example:
        >>> [as_word(v) for v in (0.0001, 64, True, None, "adam w", 1e-7)]
        ['0.0001', '64', 'true', 'null', 'adam w', '1e-07']
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return value if isinstance(value, str) else repr(value)


def unknown_names(words: Iterable[str], known: Collection[str]) -> str | None:
    """Complaint about the first placeholder that is not known, or None."""
    for word in words:
        for name in names_in(word):
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {{{close[0]}}}? " if close else ""
                return f"{word!r}: there is no placeholder {{{name}}}; {hint}known here: {', '.join(known)}"
    return None
