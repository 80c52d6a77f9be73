"""Places inside a model, followed through its JSON schema.

Between a field and what stands below it a schema may have references (`$ref`) and unions (`anyOf`); keys of mappings
and positions of lists are no fields of it. And where a field is a union, pydantic puts the tag of the member that was
chosen into the `loc` of an error, which no user has written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from pydantic import BaseModel

__all__ = ["FLAT", "ITEMS", "OPTIONAL", "SHORT", "Node", "Place", "place_at", "values_at"]

Node: TypeAlias = dict[str, Any]  # a schema, or one inside of it

# Extras of the schema of a model or field, which say what its validators accept beside it (`editor_schema`).
SHORT = "also_written"  # schemas of short forms, such as a list for an axis; or `ITEMS`
ITEMS = "one of its items"  # a list may be written as its only item
FLAT = "written_on_one_level"  # a field whose own fields may stand in its place
OPTIONAL = "may_leave_out"  # required fields of the model at this place that another place fills in


@dataclass(frozen=True, slots=True)
class Place:
    """A place inside a model.

    Attributes:
        path: names of fields, keys and positions, as a user writes them.
        options: schemas of what may stand there, one for each member of a union; none is a reference.
    """

    path: list[str]
    options: list[Node]

    @property
    def fields(self) -> list[str]:
        """Names of the fields that may stand there."""
        return list(dict.fromkeys(name for option in self.options for name in option.get("properties", {})))


def place_at(model: type[BaseModel], loc: Sequence[str]) -> Place:
    """The place that pydantic calls `loc`. Parts that the schema does not know are passed over, as tags are.

    Example:
        >>> from typing import Annotated, Literal
        >>> from pydantic import BaseModel, Field
        >>> class Mlp(BaseModel):
        ...     type: Literal["mlp"]
        ...     width: int
        >>> class Cnn(BaseModel):
        ...     type: Literal["cnn"]
        ...     channels: int
        >>> class Zoo(BaseModel):
        ...     models: dict[str, Annotated[Mlp | Cnn, Field(discriminator="type")]]
        >>> try:
        ...     Zoo.model_validate({"models": {"small": {"type": "mlp", "width": "wide"}}})
        ... except ValueError as e:
        ...     loc = e.errors()[0]["loc"]
        >>> loc
        ('models', 'small', 'mlp', 'width')
        >>> place_at(Zoo, loc).path, place_at(Zoo, loc[:-1]).fields, place_at(Zoo, loc[:2]).fields
        (['models', 'small', 'width'], ['type', 'width'], ['type', 'width', 'channels'])
    """
    schema = _schema(model)
    defs = schema.get("$defs", {})
    nodes, path = [schema], []
    for part in loc:
        if members := [member for node in nodes for member in _tagged(node, part, defs)]:
            nodes = members  # the tag narrows the union, but is no step of the path
        elif below := [inner for node in nodes for option in _options(node, defs) for inner in _below(option, part)]:
            nodes = below
            path.append(part)
    return Place(path, [option for node in nodes for option in _options(node, defs)])


@cache
def _schema(model: type[BaseModel]) -> Node:
    """Of a model; it takes tens of milliseconds, and a model does not change."""
    return model.model_json_schema()


def values_at(model: type[BaseModel], path: Sequence[str]) -> list[Node]:
    """Schemas of the values of the mapping at a path: of what stands under a key that no field has."""
    return place_at(model, [*path, ""]).options


def _below(node: Node, part: str) -> list[Node]:
    """Schemas of what stands under a name, key or position."""
    if part in node.get("properties", {}):
        return [node["properties"][part]]
    if part.isdigit() and (positions := node.get("prefixItems")):
        return [positions[min(int(part), len(positions) - 1)]]
    values = [node.get("additionalProperties"), node.get("items"), *node.get("patternProperties", {}).values()]
    return [schema for schema in values if isinstance(schema, dict)]  # `true` and `false` are schemas too


def _tagged(node: Node, tag: str, defs: Mapping[str, Node]) -> Iterator[Node]:
    """The members of unions at this node that a tag stands for; unions may lie inside each other."""
    node = _resolved(node, defs)
    if (member := node.get("discriminator", {}).get("mapping", {}).get(tag)) is not None:
        yield {"$ref": member}
    else:
        for inner in node.get("anyOf") or node.get("allOf") or ():
            yield from _tagged(inner, tag, defs)


def _options(node: Node, defs: Mapping[str, Node]) -> Iterator[Node]:
    """The members of the union at this node, or the node where it is none; without references."""
    node = _resolved(node, defs)
    members = node.get("anyOf") or node.get("oneOf") or node.get("allOf")
    if not members:
        yield node
    for member in members or ():
        yield from _options(member, defs)


def _resolved(node: Node, defs: Mapping[str, Node]) -> Node:
    while "$ref" in node:
        node = defs[node["$ref"].rsplit("/", 1)[-1]]
    return node
