"""Where the value of a secret ends, by its syntax: a word, quoted text, a call, a list or dict, a block of lines.

Everything here goes forward through the text and looks a bounded number of characters beyond what it takes, so the
time grows with the length of the text alone.
"""

from __future__ import annotations

import re

__all__ = ["block_end", "is_block", "value_end"]

_OPENED = re.compile(r"(?P<run>\\*+)(?P<quote>\"\"\"|'''|[\"'`])")
_PREFIX = re.compile(r"[&*]?(?:[bBrRuUfFL]{1,2}|[$@])?")  # of a quoted text, in Python, shells and C
_QUOTES = {quote: re.compile(rf"(?<!\\)(\\*+){quote}") for quote in "\"'`"}
_AFTER_QUOTES = re.compile(r"\Z|[\s,;:.)\]}>&|\"'`\\/?!<-]")  # anything else: the quote belongs to the value
_AFTER_PIECE = re.compile(r"\Z|[\s,;:)\]}>&|/?!<\\]|\.(?![A-Za-z_])")
_TOKEN = re.compile(r"(?<!\w)[bBrRuUfF]{0,2}(?P<run>\\*+)(?P<quote>\"\"\"|'''|[\"'])|\\+[\"']?|[()\[\]{}\n]")
_PLAIN = re.compile(r"[^\s\"'`(\[{\\]*+")
_PARAMETER = re.compile(r"[^\s\"'`(\[{\\&]*+")
_STRICT = re.compile(r"[^\s\"'`(\[{\\&;,}\])]*+")
_INDENT = re.compile(r"[^\S\n]*+(?:-[^\S\n]+)*+")
_BLANKS = re.compile(r"[^\S\n]*+")
_BLOCK = re.compile(r"[^\S\n]*+(?:[|>][-+\d]{0,3}[^\S\n]*+)?(?:#[^\n]*+)?(?=\n)")
_TRAILING = ";,}])"
_MORE = 500  # characters to look beyond a quote that seems to stand within a value
_LOOSE = 500  # and beyond lines that are not indented for the bracket that closes a list


def value_end(text: str, start: int, *, kind: str = "loose") -> int:
    r"""Where the value that begins at `start` ends; `start` itself if there is none.

    Args:
        text: any.
        start: of the value, behind the sign and its blanks.
        kind: of a bare word: `loose` ends before a blank only, `parameter` also before `&`, `strict` also before `;`,
            `,` and closing brackets.

    Example:
        >>> [t[value_end(t, 0) :] for t in (r"'a\'b', 1", "b'x')", "SecretStr('x'), 1", "['x', {'y': 1}]; z", "a,b c")]
        [', 1', ')', ', 1', '; z', ' c']
    """
    plain = {"loose": _PLAIN, "parameter": _PARAMETER, "strict": _STRICT}[kind]
    position = solid = _first_piece(text, start)  # solid: the end of quoted text and brackets, which are never trimmed
    while not (solid == position > start and _AFTER_PIECE.match(text, position)):
        position = _matched(plain, text, position)
        sign = text[position : position + 1]
        quote = _OPENED.match(text, position)
        if sign in ("(", "[", "{"):
            position = solid = _group_end(text, position)
        elif quote is not None and _AFTER_QUOTES.match(text, quote.end()):
            break
        elif quote is not None:
            joined = _closed(text, quote) if position == solid > start else None  # 'a'"b", as shells join them
            position, solid = (quote.end(), solid) if joined is None else (joined, joined)
        elif sign == "\\":
            position += 2 if text[position + 1 : position + 2] not in ("", "\n") else 1
        else:
            break
    while position > solid and text[position - 1] in _TRAILING:
        position -= 1
    return position


def _first_piece(text: str, start: int) -> int:
    """The end of the quoted text or the tag with which a value begins; its start if it begins otherwise."""
    if text.startswith("<", start):
        end = text.find(">", start, start + _MORE)
        return start if end < 0 or "\n" in text[start:end] else end + 1
    opening = _OPENED.match(text, _matched(_PREFIX, text, start))
    if opening is None:
        return start
    return _closed(text, opening) or _line_end(text, start)  # without an end the text was cut


def is_block(text: str, start: int) -> bool:
    """Whether a value begins on the line below `start`: nothing else stands here, or a sign of a block in YAML."""
    return _BLOCK.match(text, start) is not None


def block_end(text: str, start: int) -> int:
    r"""The end of the line of `start`, and of the lines below that are indented deeper than it, or items of a list.

    Example:
        >>> block_end("- password: |\n    x\n\n    y\n  user: ann", 12)
        26
    """
    indent = _indent(text, start)
    end = taken = _line_end(text, start)
    while end < len(text):
        first = _matched(_BLANKS, text, end + 1)
        following = _line_end(text, first)
        if first < following:
            depth = first - end - 1
            if depth < indent or (depth == indent and not text.startswith("- ", first)):
                break
            taken = following
        end = following
    return taken


def _matched(pattern: re.Pattern[str], text: str, start: int) -> int:
    """The end of what matches there; `start` where nothing does."""
    match = pattern.match(text, start)
    return start if match is None else match.end()


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _indent(text: str, place: int) -> int:
    """How far the words of the line of a place are indented, behind the dashes of a list."""
    line = text.rfind("\n", 0, place) + 1
    return _matched(_INDENT, text, line) - line


def _closed(text: str, opening: re.Match[str]) -> int | None:
    """The end of a quoted text, behind its quote; None if it has none.

    A quote with k backslashes, in a text within a text, is closed by one with as many, or twice as many for each one
    that is itself escaped. One that a letter follows is taken for an apostrophe if a better one comes soon.
    """
    quote, run = opening["quote"], len(opening["run"])
    if len(quote) == 3:
        end = text.find(quote, opening.end())
        return None if end < 0 else end + 3
    first = None
    for match in _QUOTES[quote].finditer(text, opening.end()):
        if first is not None and (match.end() > first + _MORE or "\n" in text[first : match.start()]):
            break
        count = len(match[1])
        if count < run:  # the text around it ends
            return match.start() if first is None else first
        if count % (2 * (run + 1)) == run:
            if _AFTER_QUOTES.match(text, match.end()):
                return match.end()
            first = match.end() if first is None else first
    return first


def _group_end(text: str, start: int) -> int:
    """Behind the bracket that closes the one at `start`; where none does, the end of the block of lines."""
    indent = _indent(text, start)
    depth, position, limit, block = 0, start, len(text), None
    while (token := _TOKEN.search(text, position, limit)) is not None:
        position = token.end()
        if token["quote"]:
            position = _closed(text, token) or position
        elif token[0] == "\n":
            first = _matched(_BLANKS, text, position)
            if block is None and text[first : first + 1] not in ("", "\n", *")]}") and first - position <= indent:
                block, limit = token.start(), min(limit, position + _LOOSE)
        elif token[0] in "([{":
            depth += 1
        elif token[0] in ")]}":
            depth -= 1
            if not depth:
                return position
    return len(text) if block is None else block
