"""What mkdocs calls: pages that are made from the code, and links that leave `docs/`.

The documents are written for the code host, where they may link to any file of the repository. On the site each of
these files gets a page of its own, and the links are turned to it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))  # mkdocs loads a hook as a file, not as part of a package

import commands_page
import fields_pages
import python_page
import specs_pages
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!!)\]\(([^)#\s:]+)(#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".md": "markdown"}
MADE_OF_FILES = {"sweeps/specs": "gallery.md"}  # places of the repository whose page has another name


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation by what is generated, and by the decisions."""
    sections = {title: entries for entry in config.nav or [] for title, entries in entry.items()}
    reference = sections["Reference"]
    reference[1:1] = [{f"Kind {name}": f"reference/{name}.md"} for name in fields_pages.kind_names()]
    reference.insert(1 + len(fields_pages.kind_names()), {"Sites": "reference/site.md"})
    sections["Inside"] += [
        {"Contributing": page_of("CONTRIBUTING.md")},
        {"Decisions": [f"decisions/{name}" for name in decisions()]},
        {"Changes": page_of("CHANGELOG.md")},
        {"Files that pages name": [page_of(place) for place in linked_files()]},
        {"Specs": [f"specs/{name}.md" for name in specs_pages.names()]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    pages = {
        **fields_pages.pages(),
        **specs_pages.pages(),
        "reference/commands.md": commands_page.page(),
        "reference/python.md": python_page.page(),
        **{page_of(place): file_page(place) for place in [*linked_files(), "CONTRIBUTING.md", "CHANGELOG.md"]},
    }
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that leave `docs/` to the pages of these files."""
    del config, files
    source = page.file.src_uri
    home = original_folder(source)

    def turned(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        place = os.path.normpath(home / target)
        if place.startswith("docs/") and home != Path():
            return match[0]
        goal = place.removeprefix("docs/") if place.startswith("docs/") else page_of(place)
        if goal == "decisions":
            goal = f"decisions/{decisions()[0]}"
        return f"]({os.path.relpath(goal, Path(source).parent)}{anchor})"

    return LINK.sub(turned, markdown) if home is not None else markdown


def decisions() -> list[str]:
    """Files of the decisions, in order."""
    return sorted(file.name for file in (DOCS / "decisions").glob("*.md"))


def original_folder(source: str) -> Path | None:
    """Where the text of a page stands in the repository; None for one that was written for the site."""
    if source in (page_of("CONTRIBUTING.md"), page_of("CHANGELOG.md")):
        return Path()
    return Path("docs", source).parent if (DOCS / source).is_file() else None


def page_of(place: str) -> str:
    """The page of a file or folder of the repository."""
    if place in MADE_OF_FILES:
        return MADE_OF_FILES[place]
    if place.startswith("sweeps/specs/"):
        return f"specs/{Path(place).stem}.md"
    return f"repository/{place if place.endswith('.md') else place + '.md'}"


def linked_files() -> list[str]:
    """Files and folders outside of `docs/` that documents link to, with the files inside of such folders."""
    places: set[str] = set()
    for document in [*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md"]:
        for target, _ in LINK.findall(document.read_text(encoding="utf-8")):
            place = os.path.normpath(document.parent.relative_to(ROOT) / target)
            if not place.startswith("docs/") and (ROOT / place).exists():
                places.add(place)
                if (ROOT / place).is_dir():
                    places |= {str(file.relative_to(ROOT)) for file in (ROOT / place).glob("*.yaml")}
    return sorted(place for place in places if page_of(place).startswith("repository/") and not place.endswith(".md"))


def file_page(place: str) -> str:
    """A file of the repository as a page: documents as they are, code in a block, folders as lists."""
    path = ROOT / place
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    if path.is_dir():
        names = sorted(file.name for file in path.glob("*.yaml"))
        links = [f"- [{name}]({path.name}/{name}.md)" for name in names]
        return f"# {place}\n\n" + "\n".join(links) + "\n"
    text = path.read_text(encoding="utf-8")
    return f"# {place}\n\n````{LANGUAGES.get(path.suffix, '')}\n{text}````\n"
