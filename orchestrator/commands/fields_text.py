"""What a spec may hold at a place, as text: fields with types, defaults and meaning, read from the models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.schema import Node, place_at

__all__ = ["fields_text", "type_text"]

_MOST_WORDS = 60  # characters of a default
_MOST_CHOICES = 12
_KEY = "NAME"  # stands for a key that the user chooses


def fields_text(kind: SweepKind[Any], path: str) -> str:
    """The fields at a path of a kind's spec, such as `recipe.net`.

    Raises:
        SpecError: there is no such place; names what there is.
    """
    parts = path.split(".")
    for i in range(1, len(parts) + 1):
        above, here = place_at(kind.spec, parts[: i - 1]), place_at(kind.spec, parts[:i])
        if len(here.path) < i:
            place = ".".join(parts[: i - 1]) or f"a spec of the kind {kind.name}"
            known = f"its fields are {', '.join(above.fields)}" if above.fields else "it has no fields"
            raise SpecError(f"{path}: {place} has no field {parts[i - 1]!r}; {known}")
    defs = kind.spec.model_json_schema().get("$defs", {})
    options = place_at(kind.spec, parts).options
    texts = [_option(option, defs) for option in options if option.get("type") != "null"]
    if any(_has_fields(node, defs) for option in options for node in _values(option)):
        texts.append(fields_text(kind, f"{path}.{_KEY}"))
    return f"{kind.name}: {path}\n\n" + "\n\n".join(dict.fromkeys(texts))


def _option(option: Node, defs: Mapping[str, Node]) -> str:
    """One of the things that may stand at a place."""
    if not (properties := option.get("properties")):
        return f"  {type_text(option, defs)}"
    tags = [f"{n}: {p['const']}" for n, p in properties.items() if "const" in p]
    about = (option.get("description") or "").strip().split("\n\n")[0].replace("\n", " ")
    lines = [f"  {', '.join(tags)}" if tags else f"  {option.get('title', 'fields')}"]
    lines[0] += f"  ({about.rstrip('.')})" if about else ""
    for name, node in properties.items():
        if "const" not in node:
            lines.append(f"    {_field(name, node, name in option.get('required', ()), defs)}")
    return "\n".join(lines)


def _values(option: Node) -> list[Node]:
    """What stands under the keys of a mapping."""
    values = [option.get("additionalProperties"), *option.get("patternProperties", {}).values()]
    return [node for node in values if isinstance(node, dict)]


def _field(name: str, node: Node, required: bool, defs: Mapping[str, Node]) -> str:
    need = "required" if required else "optional"
    if not required and "default" in node:
        text = json.dumps(node["default"], ensure_ascii=False)
        need = f"default {text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 3] + '...'}"
    more = ", has fields" if _has_fields(node, defs) else ""
    doc = (node.get("description") or "").strip().replace("\n", " ")
    return f"{name} ({type_text(node, defs)}, {need}{more}): {doc}".rstrip(": ")


def type_text(node: Node, defs: Mapping[str, Node]) -> str:
    """A type in words, with its bounds."""
    if "const" in node:
        return json.dumps(node["const"])
    if "enum" in node:
        shown = ", ".join(map(str, node["enum"][:_MOST_CHOICES]))
        return f"one of {shown}" + (", ..." if len(node["enum"]) > _MOST_CHOICES else "")
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        target = defs.get(name, {})
        tags = [str(p["const"]) for p in target.get("properties", {}).values() if "const" in p]
        if tags:
            return tags[0]
        return name if "properties" in target else type_text(target, defs)
    if members := node.get("anyOf") or node.get("oneOf") or node.get("allOf"):
        texts = dict.fromkeys("null" if m.get("type") == "null" else type_text(m, defs) for m in members)
        return " or ".join(list(texts)[:_MOST_CHOICES]) + (" or ..." if len(texts) > _MOST_CHOICES else "")
    return _plain(node, defs)


def _plain(node: Node, defs: Mapping[str, Node]) -> str:
    kind = node.get("type")
    if kind == "array":
        items = node.get("items")
        return f"list of {type_text(items, defs)}" if isinstance(items, dict) else "list"
    if kind == "object":
        values = _values(node)
        return f"mapping to {type_text(values[0], defs)}" if values else "mapping"
    words = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {node[word]:g}" for word, sign in signs.items() if word in node]
    return " ".join([words.get(str(kind), str(kind or "anything")), ", ".join(bounds)]).rstrip()


def _has_fields(node: Node, defs: Mapping[str, Node]) -> bool:
    """Whether there is more to see below."""
    if "$ref" in node:
        return _has_fields(defs.get(node["$ref"].rsplit("/", 1)[-1], {}), defs)
    if node.get("properties"):
        return True
    below = [node.get("items"), *_values(node), *(node.get("anyOf") or node.get("oneOf") or ())]
    return any(isinstance(inner, dict) and _has_fields(inner, defs) for inner in below)
