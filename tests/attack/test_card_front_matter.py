"""The first lines of a zoo's `README.md` are YAML for the hub, and plain Markdown to whoever does not know that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from landsweep.sweeps.zoo.card import _front_matter

TAGS = "<script>alert(1)</script><img src=x onerror=alert(1)> &amp; \"quoted\" 'so' \\ \x1b é" + " <b>" * 60


class Models(SimpleNamespace):
    """As much of a zoo as the lines need."""

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("text", ["a zoo", "a: b", "yes", TAGS, "<p>\n---\n# x"])
def test_no_text_of_its_makers_is_html(text: str) -> None:
    lines = _front_matter(cast(Any, Models(head={"spec": {"licence": text}})), text)
    begin, middle, end = lines.split("---\n")
    assert begin == end == ""
    assert not any(tag in middle for tag in ("<script", "<img", "<p", "<b"))
    read = yaml.safe_load(middle)
    assert (read["pretty_name"], read["license"]) == (text, text.lower())
