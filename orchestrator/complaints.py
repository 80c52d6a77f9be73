"""What is wrong with a field of a spec, in words: pydantic's own speak of tags, tuples and patterns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["in_words"]

_NUMBER = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text", "dict": "a mapping"}
_FUNCTION = re.compile(r"\^\[A-Za-z_\].*:")  # a pattern of names that stand on both sides of a colon


def in_words(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as what to do.

    Args:
        error: of `ValidationError.errors()`.
    """
    kind, context = str(error["type"]), error.get("ctx") or {}
    phrase = _PHRASES.get(kind)
    if phrase is not None:
        return phrase(error, context)
    for name, words in _NUMBER.items():
        if kind in (f"{name}_type", f"{name}_parsing"):
            return f"give {words}"
    return str(error["msg"]).removeprefix("Value error, ")


def _unknown_variant(error: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    del error
    known = re.findall(r"'([^']*)'", str(context["expected_tags"]))
    field = str(context["discriminator"]).strip("'")
    return f"there is no {field} {str(context['tag'])[:100]!r}; {_like(str(context['tag']), known)}"


def _no_variant(error: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    field = str(context["discriminator"]).strip("'")
    if field.endswith("()"):  # a function of pydantic's finds the variant by other fields
        return str(error["msg"])
    return f"say which by `{field}: NAME`"


def _one_of(error: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    known = re.findall(r"'([^']*)'", str(context["expected"]))
    if not known:
        return str(error["msg"])
    return f"not allowed; {_like(str(error.get('input')), known)}"


def _like(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"known here: {', '.join(known)}"


def _list(error: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    del context
    given = error.get("input")
    return f"give a list, such as [{given}]" if isinstance(given, str | int | float) else "give a list"


def _pattern(error: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    pattern = str(context["pattern"])
    if _FUNCTION.match(pattern):
        return "give a name in a module, such as my_package.module:function"
    return str(error["msg"])


def _too_short(error: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    del error
    least = int(context["min_length"])
    return f"give at least {least} item{'s' if least > 1 else ''}"


_PHRASES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], str]] = {
    "union_tag_invalid": _unknown_variant,
    "union_tag_not_found": _no_variant,
    "literal_error": _one_of,
    "tuple_type": _list,
    "list_type": _list,
    "too_short": _too_short,
    "string_pattern_mismatch": _pattern,
}
