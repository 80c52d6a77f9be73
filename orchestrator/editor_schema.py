"""The JSON schemas of a kind's spec and of a site as people write them, for editors.

The schema that pydantic makes of a model describes the model, not all that its validators accept: a plain list for an
axis, a number for devices. Models say so beside their fields, by `SHORT`, `FLAT` and `OPTIONAL`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Union

from pydantic import BaseModel, create_model

from landsweep.orchestrator.axes import PATHS
from landsweep.orchestrator.bases import BASE
from landsweep.orchestrator.schema import FLAT, ITEMS, OPTIONAL, SHORT, Node
from landsweep.orchestrator.site import LAUNCHERS, Site

__all__ = ["editor_schema", "site_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFS = "#/$defs/"
_PARTIAL = "partial."  # begins the names of definitions in which nothing is required
_OURS = (PATHS, SHORT, FLAT, OPTIONAL, "discriminator")  # keys that no editor knows
_BASE: Node = {
    "description": "the spec that this one builds on: a path relative to this file, or the name of a shipped spec",
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "file": {"type": "string"},
                "without": {"type": "array", "items": {"type": "string"}, "description": "fields that are left out"},
            },
            "required": ["file"],
            "additionalProperties": False,
        },
    ],
}


def editor_schema(model: type[BaseModel], kind: str) -> Node:
    """The schema of a spec file of a kind; with `base` no field is required, since the base may have it.

    Args:
        model: of the kind's specs.
        kind: its name.
    """
    raw, by_name = model.model_json_schema(), model.model_json_schema(by_alias=False)
    defs = {name: _with_both_names(node, by_name["$defs"][name]) for name, node in raw.pop("$defs", {}).items()}
    raw = _with_both_names(raw, by_name)
    whole = _written(raw, defs)
    whole["properties"] = {
        BASE: _BASE,
        **whole["properties"],
        "kind": {"const": kind, "description": "the kind of sweep"},
    }
    whole["required"] = sorted(
        {"kind", *whole.get("required", ())} - {"name"}
    )  # that of the file, where it is left out
    parts = {name: _written(node, defs) for name, node in defs.items()}
    partial = {_PARTIAL + name: _partial(node) for name, node in parts.items()}
    return {
        "$schema": _DIALECT,
        "title": f"landsweep: a spec of the kind {kind}",
        "if": {"required": [BASE]},
        "then": _partial(whole),
        "else": whole,
        "$defs": {**parts, **partial},
    }


def site_schema() -> Node:
    """The schema of a site file; its launcher is one of those that are installed."""
    launchers: Any = Union[(*(entry.load().options_type for entry in sorted(entry_points(group=LAUNCHERS))), None)]
    file = create_model("SiteFile", __base__=Site, launcher=(launchers, None))
    raw = file.model_json_schema()
    defs = raw.pop("$defs", {})
    parts = {name: _written(node, defs) for name, node in defs.items()}
    return {"$schema": _DIALECT, **_written(raw, defs), "title": "landsweep: a site", "$defs": parts}


def _with_both_names(node: Node, by_name: Node) -> Node:
    """A model some of whose fields have two names, such as `build` and `function`, with both of them."""
    names, others = list(node.get("properties", ())), list(by_name.get("properties", ()))
    pairs = [(one, other) for one, other in zip(names, others, strict=True) if one != other]
    needed = [pair for pair in pairs if pair[0] in node.get("required", ())]
    both = {**node, **({"properties": {**by_name["properties"], **node["properties"]}} if pairs else {})}
    if needed:
        both["required"] = [name for name in node["required"] if name not in {one for one, _ in needed}]
        both["allOf"] = [{"anyOf": [{"required": [one]}, {"required": [other]}]} for one, other in needed]
    return both


def _written(node: Any, defs: Mapping[str, Node]) -> Any:  # noqa: ANN401 - any part of a schema
    """A schema with the forms in which people write it, and without what only this project knows."""
    if isinstance(node, list):
        return [_written(inner, defs) for inner in node]
    if not isinstance(node, dict):
        return node
    forms = [*_forms(node, defs)]
    plain = {("anyOf" if name == "oneOf" else name): inner for name, inner in node.items() if name not in _OURS}
    if OPTIONAL in node:
        plain = _needs_less(plain, node[OPTIONAL], defs)
    if "properties" in plain:  # their names are the user's words, not those of schemas
        plain["properties"] = {name: _written(inner, defs) for name, inner in plain["properties"].items()}
    kept = ("properties", "default", "examples", "enum", "const")
    plain = {name: inner if name in kept else _written(inner, defs) for name, inner in plain.items()}
    if not forms:
        return plain
    about = {"description": plain["description"]} if "description" in plain else {}
    return {**about, "anyOf": [plain, *(_written(form, defs) for form in forms)]}


def _forms(node: Node, defs: Mapping[str, Node]) -> Iterator[Node]:
    """The further forms of what stands at a node."""
    short = node.get(SHORT, ())
    yield from [node["items"]] if short == ITEMS else short
    if FLAT in node:
        own = {name: inner for name, inner in node["properties"].items() if name != node[FLAT]}
        needs = [name for name in node.get("required", ()) if name != node[FLAT]]
        for member in _members(node["properties"][node[FLAT]], defs):
            yield {
                **member,
                "properties": {**member.get("properties", {}), **own},
                "required": [*member.get("required", ()), *needs],
            }


def _members(node: Node, defs: Mapping[str, Node]) -> Iterator[Node]:
    """The models that may stand at a node."""
    if "$ref" in node:
        yield from _members(defs[node["$ref"].removeprefix(_DEFS)], defs)
    elif "properties" in node:
        yield node
    for member in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _members(member, defs)


def _needs_less(node: Node, optional: list[str], defs: Mapping[str, Node]) -> Node:
    """The same, where these fields of a model may be left out."""
    models = [{**m, "required": [f for f in m.get("required", ()) if f not in optional]} for m in _members(node, defs)]
    rest = {name: inner for name, inner in node.items() if name not in ("$ref", "anyOf")}
    return {**rest, "anyOf": [*models, *(m for m in node.get("anyOf", ()) if m.get("type") == "null")]}


def _partial(node: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """The same schema where nothing is required."""
    if isinstance(node, list):
        return [_partial(inner) for inner in node]
    if not isinstance(node, dict):
        return copy.copy(node)
    less: Node = {}
    for name, inner in node.items():
        if name == "$ref":
            less[name] = _DEFS + _PARTIAL + inner.removeprefix(_DEFS)
        elif name == "properties":
            less[name] = {field: _partial(below) for field, below in inner.items()}
        elif name != "required":
            less[name] = _partial(inner)
    return less
