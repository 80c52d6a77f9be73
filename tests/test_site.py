"""The pages of the documentation site that are made from the code; `make docs` builds the site and checks its links."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from landsweep.orchestrator.kind import kinds
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec_files import shipped_specs
from tests.support.app import app
from tests.support.paths import ROOT
from tests.support.ui import Looker, running_browser

PAGES = ("index", "start/index", "gallery/index", "zoo/index", "reference/zoo/index", "specs/zoo_digits_phase/index")


@pytest.fixture
def page_of(monkeypatch: pytest.MonkeyPatch) -> object:
    """A module of docs/site by its name."""
    monkeypatch.syspath_prepend(ROOT / "docs/site")
    return importlib.import_module


def test_every_field_of_every_spec_and_site_is_on_its_page_with_its_meaning(page_of: object) -> None:
    pages = _module(page_of, "fields_pages").pages()
    models = {name: kind.spec for name, kind in kinds().items()} | {"site": Site}
    assert set(pages) == {f"reference/{name}.md" for name in [*models, "index"]}
    for name, model in models.items():
        schema = model.model_json_schema()
        page = pages[f"reference/{name}.md"]
        for part in [schema, *schema.get("$defs", {}).values()]:
            for field, node in part.get("properties", {}).items():
                assert "const" in node or f"| `{field}` |" in page, (name, field)
        links, anchors = set(re.findall(r"\]\(#([\w-]+)\)", page)), set(re.findall(r"\{#([\w-]+)\}", page))
        assert links <= anchors, (name, links - anchors)
    assert "| `workers` |" in pages["reference/site.md"]
    lines = [line for page in pages.values() for line in page.splitlines() if line.startswith("| `")]
    wrong = [line for line in lines if len(re.findall(r"(?<!\\)\|", line)) != 5]
    assert not wrong, "a cell of a table has a bar of its own"


def test_every_command_and_option_is_on_its_page(page_of: object) -> None:
    import typer.main

    page = _module(page_of, "commands_page").page()
    sections = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    commands = vars(typer.main.get_command(app))["commands"]
    assert list(sections) == sorted(commands)
    for name, command in commands.items():
        for parameter in command.params:
            names = [n for n in parameter.opts if n.startswith("--")]
            assert all(n in sections[name] for n in names), (name, names)
        assert command.epilog.removeprefix("Example: ") in sections[name]
    assert "<code>--style report&#124;paper&#124;talk</code>" in sections["figures"]
    assert "<code>--units NUMBER</code>" in sections["track"] and "<code>--out TEXT</code>" in sections["run"]


def test_every_shipped_spec_has_a_page_and_a_place_in_the_gallery(page_of: object) -> None:
    module = _module(page_of, "specs_pages")
    pages = module.pages()
    assert set(pages) == {"gallery.md", *(f"specs/{name}.md" for name in shipped_specs())}
    for name, file in shipped_specs().items():
        fields = file.read_text(encoding="utf-8").split("\nkind:", 1)[1].strip()
        assert fields in pages[f"specs/{name}.md"] and f"](specs/{name}.md)" in pages["gallery.md"]
    pictures = re.findall(r"\]\((images/[\w/.-]+)\)", pages["gallery.md"])
    assert all((ROOT / "docs" / picture).is_file() for picture in pictures)
    assert all((ROOT / "docs" / p).stat().st_size <= 60_000 for p in pictures if "gallery/" in p)
    reasons = [reason for name in shipped_specs() if (reason := module.without_picture(name))]
    assert len(pictures) + len(reasons) == len(shipped_specs()), "each has a picture, or a reason"
    assert all(f": {reason}." in pages["gallery.md"] for reason in reasons)


def test_pages_of_the_python_interface_name_what_there_is(page_of: object) -> None:
    for _, names in _module(page_of, "python_page").SECTIONS.values():
        for name in names:
            if "integrations" in name:  # wants libraries that may be absent
                assert (ROOT / "src" / f"{name.replace('.', '/')}.py").is_file()
                continue
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                module, _, attribute = name.rpartition(".")
                assert hasattr(importlib.import_module(module), attribute), name


def _module(page_of: object, name: str) -> ModuleType:
    assert callable(page_of)
    module: ModuleType = page_of(name)
    return module


@pytest.mark.slow
def test_pages_of_the_site_in_a_dark_and_narrow_window(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'landsweep[docs]'")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    with running_browser() as browser, Looker(browser, color_scheme="dark") as looker:
        looker.page.set_viewport_size({"width": 400, "height": 800})
        for page in PAGES:
            looker.page.goto((tmp_path / f"{page}.html").as_uri())
            looker.until("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
            assert looker.page.evaluate("document.documentElement.scrollWidth") <= 400, page
            ground = looker.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert max(map(int, re.findall(r"\d+", ground)[:3])) < 80, page
            looker.keep(f"site-{page.replace('/', '-')}")
