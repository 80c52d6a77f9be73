"""Rules and claims that are deep, long or full of blanks are read or refused in words, and at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.claim import Claim
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.verdicts import check_claims, judge
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.rules import chosen
from landsweep.sweeps.laws.fitting.expressions import evaluate

T = TypeVar("T")
ROWS = pd.DataFrame({"key": ["a", "b"] * 5, "x": np.arange(10.0), "t": ["u", "v"] * 5, "loss top": np.arange(10.0)})
DEEP = {
    "minus": "-" * 980 + "1 < 2",
    "sum": "+".join(["1"] * 490) + " < 2",
    "powers": "9**" * 300 + "9 < 1",
    "brackets": "(" * 490 + "1" + ")" * 490 + " < 1",
    "abs": "abs(" * 190 + "1" + ")" * 190 + " < 2",
    "names": "a" + ".b" * 480 + " < 1",
    "condition": "mean(x, " + "-" * 900 + "x < 1) < 2",
    "logs": "log(" * 190 + "1" + ")" * 190 + " < 1",
    "comparisons": " < ".join("1" for _ in range(240)),
    "conditions": "mean(x, " + " and ".join(["x < 5"] * 110) + ") < 9",
    "nested conditions": "count(x, " + "(x < 5) and (" * 60 + "x < 5" + ")" * 60 + ") < 9",
}


def below(calls: int, do: Callable[[], T]) -> T:
    """As the command line does it: with many calls before."""
    return do() if calls == 0 else below(calls - 1, do)


@pytest.mark.parametrize("sort", DEEP)
def test_claims(sort: str) -> None:
    def decided() -> str:
        claim = Claim(says="so", holds=DEEP[sort], exact=True)
        check_claims([claim], [Column("x", "x"), Column("t", "t", type="text")])
        return judge([claim], ROWS, {})[0].outcome.value

    try:
        assert below(300, decided) in ("held", "not held", "undecided")
    except (UsageError, ValueError) as e:
        assert "recursion" not in str(e)


@pytest.mark.parametrize("sort", DEEP)
def test_arithmetic_of_columns(sort: str) -> None:
    try:
        values = below(300, lambda: evaluate(DEEP[sort].partition(" <")[0][:199], {"x": np.arange(4.0)}))
    except UsageError as e:
        assert "recursion" not in str(e)
    else:
        assert np.shape(values) in ((), (4,))


def test_an_expression_may_have_many_levels() -> None:
    assert evaluate("-" * 90 + "x", {"x": np.array([2.0])}) == 2
    assert evaluate("+".join(["x"] * 90), {"x": np.array([2.0])}) == 180
    with pytest.raises(UsageError, match="more than 100 operations"):
        evaluate("-" * 120 + "x", {"x": np.array([2.0])})


BLANKS = " " * 20_000


@pytest.mark.parametrize(
    "rule",
    [f"x < 5 {BLANKS} and {BLANKS} x > 3{BLANKS}", f"{BLANKS}x{BLANKS}<{BLANKS}5{BLANKS}and\tx > 3",
     f"x\n<\t5 and{BLANKS}x > 3"],
)  # fmt: skip
def test_rules_with_many_blanks(rule: str) -> None:
    assert chosen(rule, ROWS).tolist() == chosen("x < 5 and x > 3", ROWS).tolist() == [i == 4 for i in range(10)]


@pytest.mark.parametrize(
    "rule",
    [f"x < 5{BLANKS}an", f"x{BLANKS}missin", f"x{BLANKS}top{BLANKS}", "x top " + "9" * 5000, "x < " + "9" * 9999 + "z"],
)
def test_rules_that_can_not_be_read(rule: str) -> None:
    with pytest.raises(UsageError):
        chosen(rule, ROWS)


def test_rules_are_read_as_before() -> None:
    assert chosen("loss top top 3", ROWS).sum() == 3
    assert chosen("t == u", ROWS).sum() == chosen("`t` == 'v'", ROWS).sum() == 5
    assert chosen("x missing", ROWS).sum() == 0
