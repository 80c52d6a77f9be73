"""docs/attacks.md: its tests are there, and make as many attacks as it says."""

from __future__ import annotations

import importlib
import math
import re
from typing import Any

from tests.support.paths import ROOT

PAGE = (ROOT / "docs/attacks.md").read_text(encoding="utf-8")
LINE = re.compile(r"\| (\d+) \| `(tests/[\w/]+)\.py::(\w+)` \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+)\.py::(\w+)`")


def named_test(file: str, name: str) -> Any:
    return getattr(importlib.import_module(file.replace("/", ".")), name)


def attacks_of(function: Any) -> int:
    """How many `make test-all` makes: the test is given their number as `n`, or is run once for each."""
    values = [mark.args for mark in function.pytestmark if mark.name == "parametrize"]
    return math.prod(given[-1].values[0] if names == "n" else len(given) for names, given in values)


def test_the_tests_that_the_page_names_are_there() -> None:
    named = TEST.findall(PAGE)
    assert len(named) > 25
    for file, name in named:
        assert callable(named_test(file, name))


def test_the_numbers_of_the_page_are_those_of_the_tests() -> None:
    lines = LINE.findall(PAGE)
    table = PAGE.partition("## Odd content")[0]
    assert len(lines) == sum(line.startswith("|") for line in table.splitlines()) - 2, "each line names one test"
    assert {name: int(n) for n, _, name in lines} == {
        name: attacks_of(named_test(file, name)) for _, file, name in lines
    }
