"""The dataset card of a zoo: what it is, how it was made, how it may be used, how to load it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from orchestrator.report.html import FigureWriter, section_html
from orchestrator.report.parts import Figure, Section, Table
from sweeps.lab.zoo.reader import Zoo
from sweeps.lab.zoo.report import zoo_sections

__all__ = ["write_card"]

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;font-size:.85em}"
    "td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}"
    ".number{text-align:right}img{max-width:100%}figure{margin:1.5rem 0}figcaption{color:#444;font-size:.9em}"
    ".scroll{overflow-x:auto}pre{background:#f5f5f5;padding:1em;overflow-x:auto}"
)


def write_card(zoo: Zoo, to: Path) -> list[Path]:
    """Write `README.md`, `card.html` and `figures/` into a folder; gives the paths of the two pages."""
    to.mkdir(parents=True, exist_ok=True)
    head = zoo.head
    name = str(head.get("name", zoo.where.rstrip("/").rsplit("/", 1)[-1]))
    params = [c for c in zoo.swept if c in zoo.rows]
    sections = zoo_sections(params, zoo.rows, zoo.series()) if len(zoo) else [Section("The zoo", ["It has no model."])]
    figures = FigureWriter(to / "figures")
    body = "".join(section_html(section, figures) for section in sections)
    recipe = yaml.safe_dump(_recipe(head), sort_keys=False, default_flow_style=None, width=100)
    intro = str(head.get("spec", {}).get("description") or f"A model zoo of {len(zoo):,} networks.")
    page = to / "card.html"
    page.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{_STYLE}</style>"
        f"<h1>{name}</h1><p>{intro}</p>{body}<section><h2>How it was made</h2><pre>{recipe}</pre></section></html>",
        encoding="utf-8",
    )
    text = "\n".join(
        [_front_matter(zoo, name), f"# {name}", "", intro, "", *_use(zoo), *_markdown(sections), *_made(zoo, recipe)]
    )
    readme = to / "README.md"
    readme.write_text(text + "\n", encoding="utf-8")
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
    count = len(zoo)
    size = next((f"{a}<n<{b}" for a, b, most in _SIZES if count < most), "n>1M")
    licence = str(zoo.head.get("spec", {}).get("licence", "unknown")).lower()
    config = {"config_name": "models", "data_files": "rows/*.parquet"}
    matter = {"pretty_name": name, "license": licence, "size_categories": [size], "configs": [config]}
    matter["tags"] = ["model-zoo", "weight-space-learning", "landsweep"]
    return f"---\n{yaml.safe_dump(matter, sort_keys=False)}---\n"


_SIZES = (("n", "1K", 1_000), ("1K", "10K", 10_000), ("10K", "100K", 100_000), ("100K", "1M", 1_000_000))


def _use(zoo: Zoo) -> Iterator[str]:
    yield from ("## How to load it", "", "```python", "from sweeps.zoo import Zoo", 'zoo = Zoo("path/to/this/folder")')
    yield "zoo.rows                                  # a line per model: settings, metrics, split"
    yield "net = zoo[0].module()                     # the network with its final weights"
    yield 'pairs = zoo.part("train").dataset("test_accuracy")   # weight vectors and targets, for torch'
    yield from ("```", "")
    yield "Without this library: `rows/*.parquet` name for each model `weights_file`, `weights_pack`, `weights_slot`;"
    yield 'its tensor NAME at checkpoint LABEL is `file[f"{pack}/{label}/{NAME}"][slot]`.'
    told = zoo.rows["checkpoints"].dropna().unique() if "checkpoints" in zoo.rows else []
    labels = sorted({label for text in told for label in text.split()})
    yield from ("", f"Checkpoints: {', '.join(f'`{label}`' for label in labels) or 'none'}.", "")
    yield f"Licence: {zoo.head.get('spec', {}).get('licence', 'unknown')}."
    yield ""


def _markdown(sections: list[Section]) -> Iterator[str]:
    for section in sections:
        yield from (f"## {section.title}", "")
        for part in section.parts:
            if isinstance(part, Table):
                yield from _table(part)
            elif isinstance(part, Figure):
                yield from (f"![{part.caption}](figures/{part.name}.png)", "", f"*{part.caption}*", "")
            else:
                yield from (part, "")


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(map(str, table.header)) + " |"
    yield "|" + "---|" * len(table.header)
    for line in table.lines:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |"
    yield from ("", f"*{table.caption}*", "")


def _made(zoo: Zoo, recipe: str) -> Iterator[str]:
    head = zoo.head
    yield from ("## How it was made", "", "```yaml", recipe.rstrip(), "```", "")
    versions = ", ".join(f"{k} {v}" for k, v in head.get("versions", {}).items() if v)
    yield f"Made by landsweep, spec {head.get('fingerprint', '-')}, commit {head.get('git_commit') or '-'}; {versions}."
    yield "Each model can be trained again from its row: `landsweep regenerate FOLDER KEY`."
