"""The front end's files: what they may not do, and that they need nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

STATIC = ROOT / "orchestrator" / "ui" / "static"
FILES = sorted(STATIC.iterdir())
SCRIPTS = [file for file in FILES if file.suffix == ".js"]
FORBIDDEN = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|createContextualFragment|srcdoc"
    r"|setHTML"
)


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda p: p.name)
def test_no_text_becomes_html_or_code(file: Path) -> None:
    assert not re.search(FORBIDDEN, file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.name)
def test_nothing_comes_from_another_place(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"(?m)(^|\s)//.*$", "", text) or file.suffix != ".html"
    assert not re.search(r"https?:|@import|url\(", text)
    for name in re.findall(r'from "\./([\w.]+)"', text):
        assert (STATIC / name).is_file()


def test_the_page_has_no_script_of_its_own() -> None:
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""] and not re.search(r"\son\w+=", page)


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda p: p.name)
def test_a_file_fits_the_eye(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("// ") and text.count("\n") <= 400
