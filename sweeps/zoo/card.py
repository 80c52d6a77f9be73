"""The dataset card of a zoo: what it is, how it was made, how it may be used, how to load it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from landsweep.orchestrator.report.html import FigureView, Page, PageWriter, SectionView, TableView, page_html
from landsweep.orchestrator.report.parts import PageSection
from landsweep.orchestrator.report.values import brief, ordered
from landsweep.orchestrator.storage.inside import folder_in, write_in
from landsweep.orchestrator.text import one_line, printable
from landsweep.sweeps.lab.trained_models.reader import Zoo
from landsweep.sweeps.zoo.report import zoo_sections

__all__ = ["size_category", "write_card"]


def write_card(zoo: Zoo, to: Path) -> list[Path]:
    """Write `README.md`, `card.html`, `figures/` and `tables/` into a folder; gives the paths of the two pages.

    What the zoo's makers wrote (names, descriptions, errors) is shown and never read as HTML or Markdown.
    """
    folder_in(to, ".")
    head = zoo.head
    name = str(head.get("name", zoo.where.rstrip("/").rsplit("/", 1)[-1]))
    params = [c for c in zoo.swept if c in zoo.rows]
    spec = head.get("spec") or {}
    names = {"recipe": tuple(spec.get("recipes") or ()), "branch": tuple(spec.get("branches") or ())}
    sections = (
        zoo_sections(params, zoo.rows, zoo.series(), names)
        if len(zoo)
        else [PageSection("The zoo", ["It has no model."])]
    )
    writer = PageWriter(to)
    views = [writer.section(section) for section in sections]
    recipe = yaml.safe_dump(brief(_recipe(head)), sort_keys=False, default_flow_style=None, width=100)
    intro = str(spec.get("description") or f"A model zoo of {len(zoo):,} networks.")
    content = Page(name, views, _facts(zoo), "What was swept", recipe, kind="model zoo", intro=intro)
    page = write_in(to, "card.html", page_html(content))
    beginning = [_front_matter(zoo, name), f"# {_plain(name)}", "", _plain(intro), ""]
    text = "\n".join([*beginning, *_use(zoo), *_markdown(views), *_made(zoo, recipe)])
    readme = write_in(to, "README.md", text + "\n")
    return [readme, page]


def _recipe(head: Mapping[str, Any]) -> dict[str, Any]:
    """What the spec says about the units, empty fields left out."""
    spec = head.get("spec", {})
    fields = ("recipe", "recipes", "axes", "zip", "samples", "seeds")
    return {k: _without_empty(spec[k]) for k in fields if spec.get(k) not in (None, {}, [], ())}


def _without_empty(value: Any) -> Any:  # noqa: ANN401 - nested JSON
    if isinstance(value, Mapping):
        return {k: _without_empty(v) for k, v in value.items() if v is not None}
    return [_without_empty(v) for v in value] if isinstance(value, list) else value


def _front_matter(zoo: Zoo, name: str) -> str:
    """What the Hugging Face hub reads."""
    licence = str(zoo.head.get("spec", {}).get("licence", "unknown")).lower()
    config = {"config_name": "models", "data_files": "rows/*.parquet"}
    texts = _without_tags("pretty_name", name) + _without_tags("license", licence)
    matter = {
        "size_categories": [size_category(len(zoo))],
        "configs": [config],
    }
    matter["tags"] = ["model-zoo", "weight-space-learning", "landsweep"]
    return f"---\n{texts}{yaml.safe_dump(matter, sort_keys=False)}---\n"


def _without_tags(field: str, text: str) -> str:
    """A text as YAML without the signs of HTML: to many a reader of Markdown these lines are a text like all others."""
    if not _SIGNS.search(text):
        return yaml.safe_dump({field: text})
    quoted = yaml.safe_dump(text, default_style='"', width=math.inf)
    escaped = _SIGNS.sub(lambda sign: f"\\x{ord(sign[0]):02X}", quoted)
    return f"{field}: {escaped}"


def size_category(models: int) -> str:
    """The class of size in which the hub lists a data set.

    Example:
        >>> size_category(16), size_category(1000), size_category(10**12)
        ('n<1K', '1K<n<10K', 'n>1T')
    """
    return next((name for name, most in _SIZES if models < most), "n>1T")


_SIZES = (
    ("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7),
    ("10M<n<100M", 10**8), ("100M<n<1B", 10**9), ("1B<n<10B", 10**10), ("10B<n<100B", 10**11), ("100B<n<1T", 10**12),
)  # fmt: skip


def _use(zoo: Zoo) -> Iterator[str]:
    yield from (
        "## How to load it",
        "",
        "```python",
        "from landsweep.sweeps.zoo.kind import Zoo",
        'zoo = Zoo("path/to/this/folder")',
    )
    yield "zoo.rows                                  # a line per model: settings, metrics, split"
    yield "net = zoo[0].module()                     # the network with its final weights"
    yield 'pairs = zoo.part("train").dataset("test_accuracy")   # weight vectors and targets, for torch'
    yield from ("```", "")
    yield "Without this library: `rows/*.parquet` name for each model `weights_file`, `weights_pack`, `weights_slot`;"
    yield 'its tensor NAME at checkpoint LABEL is `file[f"{pack}/{label}/{NAME}"][slot]`.'
    lists = zoo.rows["checkpoints"].dropna().unique() if "checkpoints" in zoo.rows else []
    labels = ordered({label for text in lists for label in str(text).split()})
    yield from ("", f"Checkpoints: {', '.join(_plain(label) for label in labels) or 'none'}.", "")
    yield f"Licence: {_plain(zoo.head.get('spec', {}).get('licence', 'unknown'))}."
    yield ""


def _markdown(sections: list[SectionView]) -> Iterator[str]:
    for section in sections:
        yield from (f"## {_plain(section.title)}", "")
        for _, part in section.parts:
            if isinstance(part, TableView):
                yield from _table(part)
            elif isinstance(part, FigureView):
                caption = _plain(part.caption)
                picture = f"![{caption}]({part.file})" if part.image else _plain(part.problem)
                yield from (picture, "", f"*{caption}*", "")
            else:
                yield from (_plain(part), "")


def _table(table: TableView) -> Iterator[str]:
    for line in (table.header, ["---"] * len(table.header), *table.lines):
        yield "| " + " | ".join(cell if cell == "---" else _plain(cell) for cell in line) + " |"
    yield from ("", f"*{_plain(table.caption)}*", "")


_SIGNS = re.compile(r"[<>&]")
_MARKS = re.compile(r"[\\`*_\[\]|~$!#]")


def _plain(text: object) -> str:
    """Text in a line of Markdown as it stands: no mark, link, table or HTML of its own."""
    safe = _MARKS.sub(lambda m: "\\" + m[0], one_line(text).replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"(?i)\b(https?|ftp|mailto|www)(?=[:.])", "\\1\u200b", safe)


def _facts(zoo: Zoo) -> dict[str, str | None]:
    head = zoo.head
    return {
        "models": f"{len(zoo):,}",
        "licence": head.get("spec", {}).get("licence"),
        "fingerprint": head.get("fingerprint"),
        "commit": head.get("git_commit"),
        "versions": _versions(head) or None,
    }


def _versions(head: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in (head.get("versions") or {}).items() if v)


def _made(zoo: Zoo, recipe: str) -> Iterator[str]:
    head = zoo.head
    yield from ("## How it was made", "")
    yield from ("    " + line for line in printable(recipe).splitlines())  # indented: no text in it can end the block
    origin = f"spec {head.get('fingerprint', '-')}, commit {head.get('git_commit') or '-'}; {_versions(head)}"
    yield from ("", f"Made by landsweep, {_plain(origin)}.")
    yield "Each model can be trained again from its row: `landsweep regenerate FOLDER KEY`."
