"""The page on the architecture names what is there."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
TOPS = ("orchestrator", "sweeps", "cluster", "tests", "src")
PATHS = sorted({name for name in re.findall(r"`([\w./-]+)`", TEXT) if name.split("/")[0] in TOPS and "/" in name})


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_true(path: str) -> None:
    place = ROOT / path
    assert place.is_dir() if path.endswith("/") else place.is_file()


def test_the_picture_names_every_room() -> None:
    picture = TEXT.split("```")[1]
    words = set(re.findall(r"\w+", picture))
    for top, shown in (("sweeps", "all"), ("cluster", "folders"), ("sweeps/lab", "folders")):
        rooms = {p.name for p in (ROOT / top).iterdir() if p.is_dir() and (p / "__init__.py").exists()}
        rooms -= {"testing"}
        assert rooms <= words, (top, shown, rooms - words)


def test_classes_that_it_names_are_defined_where_it_says() -> None:
    for name, path in re.findall(r"`(\w+)` \(`([\w./]+\.py)`\)", TEXT):
        assert re.search(rf"^(class|def) {name}\b", (ROOT / path).read_text(encoding="utf-8"), re.M), (name, path)
