"""Odd values, and how often they are tried: a few by `make test`, LANDSWEEP_FUZZ by `make fuzz`."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from landsweep.orchestrator.errors import LandsweepError

__all__ = ["JSON", "ODD", "RAW", "changed", "fuzz", "mutated", "refusing"]

TRIES = int(os.environ.get("LANDSWEEP_FUZZ", "25"))
ALWAYS_THE_SAME = "LANDSWEEP_FUZZ" not in os.environ
fuzz = settings(
    max_examples=TRIES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=ALWAYS_THE_SAME,
)

ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1e308,
        10**40,
        "",
        "x",
        "../x",
        "\x1b]0;t\x07",
        "\ud800",
        "[/b]",
        [],
        {},
        [[]],
        {"a": None},
        "9" * 5000,
    ]
)
JSON = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
RAW = st.sampled_from(
    [b"", b"{", b"null", b"[]", b"[" * 100_000, b'{"a":' * 50_000, b"\xff",
     b"\x00" * 100, b'{"phase": "x", "phase": 1}',
     b"9" * 6000, b"NaN", b'"\\ud800"', b"{}" + b" " * 100_000, b"\xef\xbb\xbf{}"]
) | st.binary(max_size=60)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, content: dict[str, Any]) -> dict[str, Any]:
    """A few fields absent, new or of another type."""
    data: dict[str, Any] = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        place: Any = data
        while True:
            names = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            name = draw(st.sampled_from(names)) if names else None
            if name is None or not isinstance(place[name], dict | list) or draw(st.booleans()):
                break
            place = place[name]
        how = draw(st.sampled_from(["drop", "odd", "any", "new"]))
        if how == "new" and isinstance(place, dict):
            place[draw(st.text(max_size=5))] = copy.deepcopy(draw(JSON))
        elif name is not None and how == "drop" and isinstance(place, dict):
            del place[name]
        elif name is not None:
            place[name] = copy.deepcopy(draw(ODD if how == "odd" else JSON))  # the strategy gives the same one again
    return data


@st.composite
def changed(draw: st.DrawFn, content: dict[str, Any]) -> bytes:
    """The JSON of a file with a few fields changed, cut off, or other bytes in its place."""
    if draw(st.integers(0, 4)) == 0:
        return draw(RAW)
    text = json.dumps(draw(mutated(content)))
    return text[: draw(st.sampled_from([len(text)] * 4 + [len(text) // 2]))].encode("utf-8", "surrogatepass")


def refusing(read: Callable[[], object]) -> None:
    """Reading gives something or an error that is meant for the user."""
    with contextlib.suppress(LandsweepError):
        read()
