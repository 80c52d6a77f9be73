"""Errors of units as rows keep them: short, and made in bounded time."""

from __future__ import annotations

import pytest

from landsweep.orchestrator.faults import LONGEST_ERROR, text_of


def doubled(levels: int) -> BaseException:
    error: Exception = ValueError("the first one")
    for _ in range(levels):
        error = ExceptionGroup("a group", [error, error])
    return error


def caused_by(error: BaseException) -> BaseException:
    outer = RuntimeError("outer")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error", [doubled(60), caused_by(doubled(60)), ExceptionGroup("wide", [ValueError("x")] * 20_000)]
)
def test_errors_with_more_errors_inside_than_can_be_gone_through(error: BaseException) -> None:
    """A group of 60 levels with two in each has 2**60 errors."""
    text = text_of(error, None)
    assert type(error).__name__ in text and "left out" in text and len(text) < LONGEST_ERROR + 100


def test_small_groups_and_circles_are_shown_whole() -> None:
    text = text_of(doubled(2), None)
    assert text.count("the first one") == 4 and "left out" not in text
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert {"ValueError: one", "ValueError: two"} <= set(text_of(one, None).splitlines())


def test_a_name_of_a_file_that_is_not_utf8_can_be_stored() -> None:
    text = text_of(FileNotFoundError(2, "No such file or directory", "data-\udcff.npy"), None)
    assert text.encode() and "data-\\udcff.npy" in text
    text = text_of(ValueError("in data-\udcff.npy"), None)
    assert text.encode() and "in data-\\udcff.npy" in text
