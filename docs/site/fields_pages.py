"""The reference of all fields of specs and sites, from the models that check them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from landsweep.orchestrator.commands.fields_text import type_text
from landsweep.orchestrator.kind import kinds
from landsweep.orchestrator.reading import write_yaml
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.summaries import summaries

__all__ = ["kind_names", "pages"]

Node = dict[str, Any]
_LONGEST = 80  # characters of a default


def kind_names() -> list[str]:
    """Names of the kinds, as the navigation has them."""
    return list(summaries())


def pages() -> dict[str, str]:
    """A page for each kind, one for sites, and a page that leads to them."""
    made = {f"reference/{name}.md": _kind_page(name, kind) for name, kind in kinds().items()}
    schema = Site.model_json_schema()
    intro = (
        "A site says where a sweep runs: `--site FILE`, the name of an installed one, or single fields as "
        "`site.FIELD=VALUE`. Sections `launcher` are on the pages of [clusters](../clusters.md)."
    )
    made["reference/site.md"] = "\n\n".join(["# Sites", intro, *_sections(schema, "Fields")]) + "\n"
    made["reference/index.md"] = _index()
    return made


def _index() -> str:
    lines = [f"| [{name}]({name}.md) | {_cell(about)} |" for name, about in summaries().items()]
    return (
        "# Fields of specs\n\nEvery field that a spec may have, with its type, its default and its meaning. "
        "`landsweep kinds KIND PATH` prints the same for one place, such as `landsweep kinds zoo recipe.net`, and "
        "`landsweep new KIND` writes a small spec to begin with.\n\n| kind | what it computes |\n|---|---|\n"
        + "\n".join(lines)
        + "\n\nWhere a sweep runs is written in a [site](site.md).\n"
    )


def _kind_page(name: str, kind: Any) -> str:  # noqa: ANN401 - any kind
    schema = kind.spec.model_json_schema()
    example = write_yaml(kind.example().given())
    parts = [f"# Kind {name}", f"{kind.summary[:1].upper()}{kind.summary[1:]}.", "## A small spec that runs"]
    parts += [f"```yaml\n{example}```", *_sections(schema, "Fields of the spec")]
    return "\n\n".join(parts) + "\n"


def _sections(schema: Node, title: str) -> Iterator[str]:
    """The fields of the model itself, then those of all sections inside of it."""
    defs: Mapping[str, Node] = schema.get("$defs", {})
    yield f"## {title}"
    yield _table(schema, defs)
    shown = [(name, node) for name, node in sorted(defs.items()) if node.get("properties")]
    for name, node in shown:
        tags = [f"`{field}: {inner['const']}`" for field, inner in node["properties"].items() if "const" in inner]
        yield f"## {name} {{#{_anchor(name)}}}"
        about = _cell(_first_paragraph(node.get("description", "")))
        yield f"{about} Written {', '.join(tags)}." if tags else about
        yield _table(node, defs)


def _table(node: Node, defs: Mapping[str, Node]) -> str:
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, field in node.get("properties", {}).items():
        if "const" in field:
            continue
        inside = [d for d in dict.fromkeys(_refs(field)) if defs.get(d, {}).get("properties")]
        links = ", ".join(f"[{d}](#{_anchor(d)})" for d in inside)
        kind = _cell(type_text(field, defs)) if not inside else links
        if inside and _container(field):
            kind = f"{_container(field)} {links}"
        need = "required" if name in node.get("required", ()) else _default(field)
        lines.append(f"| `{name}` | {kind} | {need} | {_cell(field.get('description', ''))} |")
    return "\n".join(lines) if len(lines) > 2 else "No further fields."


def _container(field: Node) -> str:
    """`list of` or `mapping to`, where a field holds sections that way."""
    words = {"array": "list of", "object": "mapping to"}
    return words.get(str(field.get("type")), "")


def _default(field: Node) -> str:
    if "default" not in field:
        return ""
    text = json.dumps(field["default"], ensure_ascii=False)
    return f"`{_cell(text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...')}`"


def _refs(node: object) -> Iterator[str]:
    """Names of the definitions that a field refers to, in the order in which they stand there."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rsplit("/", 1)[-1]
        for name, inner in node.items():
            if name not in ("discriminator", "default"):
                yield from _refs(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _refs(inner)


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name).lower()


def _first_paragraph(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip().split("\n\n")[0])


def _cell(text: str) -> str:
    """Text for a cell of a table: one line, without what Markdown or HTML would read in its own way."""
    plain = re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"(?<!`)\[(?=[^\]]*\]\()", "\\[", plain).strip()
