"""Specs: immutable descriptions of *what* to compute, read from YAML, changed by `field=value`.

A field of a spec is one of three things:

- **context** (the default): changes what a unit gives. All context together is the sweep's identity.
- **axis**: decides which units exist. Marked `Annotated[..., IsAxis()]`. Growing an axis keeps all rows.
- **label**: changes nothing (`name`). Marked `Annotated[..., IsLabel()]`.

A mapping of names to definitions, such as the models of a landscape, is an axis too (`IsNamedAxis()`): names may be
added, but what a name stands for can't change within a sweep.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.axes import PATHS
from orchestrator.errors import SpecError
from orchestrator.reading import end_of_value, load_yaml, read_yaml
from orchestrator.unit import canonical, digest

__all__ = ["IsAxis", "IsLabel", "IsNamedAxis", "Model", "Spec", "differences", "override", "parse", "read_yaml"]


M = TypeVar("M", bound="Model")
_DEEPEST = 64  # fields inside each other


class IsAxis:
    """Marks a field that decides which units exist."""


class IsNamedAxis(IsAxis):
    """Marks a mapping name -> definition, each name being a value of an axis."""


class IsLabel:
    """Marks a field that changes neither units nor rows."""


class Model(BaseModel):
    """Base of everything in a spec or site: frozen, unknown fields refused, no number is nan or inf.

    Fields that take anything hold nan and inf too, also when they are dumped.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, ser_json_inf_nan="constants"
    )


class Spec(Model):
    """What a sweep computes. Subclass it for a kind and add fields.

    Attributes:
        kind: the registered kind this spec belongs to.
        name: label and default directory of the results.
    """

    kind: Annotated[str, IsLabel()] = Field(description="the kind of sweep; see `landsweep kinds`")
    name: Annotated[str, IsLabel()] = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=200,  # a file's name has at most 255
        description="name of the sweep and of its results folder",
    )
    description: Annotated[str, IsLabel()] = Field("", description="one or two sentences for report and tracking")

    def pinned(self, folder: Path) -> Self:
        """This spec with every file it names pinned by digest, so that identity follows content, not paths.

        Args:
            folder: what relative paths are relative to: the folder of the spec file.
        """
        del folder
        return self

    @classmethod
    def _marked(cls, mark: type) -> list[str]:
        return [n for n, f in cls.model_fields.items() if any(isinstance(m, mark) for m in f.metadata)]

    def context(self) -> dict[str, Any]:
        """All that the rows depend on beside the params."""
        aside = {*self._marked(IsAxis), *self._marked(IsLabel)}
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in aside}

    def definitions(self) -> dict[str, dict[str, Any]]:
        """For each named axis: name to definition."""
        dumped = self.model_dump(mode="json")
        return {field: dict(dumped[field]) for field in self._marked(IsNamedAxis)}

    def fingerprint(self) -> str:
        """The sweep's identity: 16 hexadecimal digits over kind and context."""
        return digest([self.kind, self.context()], size=8)


def differences(old: object, new: object, path: str = "") -> list[str]:
    """What differs between two contexts, a line each: `field: was old, is new`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines: list[str] = []
        for name in [*old, *(k for k in new if k not in old)]:
            where = f"{path}.{name}" if path else str(name)
            if name not in new:
                lines.append(f"{where}: was {_short(old[name])}, is no longer there")
            elif name not in old:
                lines.append(f"{where}: was not there, is {_short(new[name])}")
            else:
                lines += differences(old[name], new[name], where)
        return lines
    return [] if canonical(old) == canonical(new) else [f"{path}: was {_short(old)}, is {_short(new)}"]


def _short(value: object) -> str:
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."


def override(data: Mapping[str, Any], assignments: Sequence[str], model: type[Model] | None = None) -> dict[str, Any]:
    """A copy of nested mappings with `path.to.field=value` assignments made.

    A value is YAML, except that `#` begins no comment: `colour=#ff0000` is text. A part of the path is a key of the
    mapping that it stands in; where one of the keys there has dots, it is meant as a whole. In a mapping whose keys
    are paths (`axes` and `space`) all that comes before a field of an axis or a setting is one key.

    Args:
        data: nested mappings.
        assignments: such as `axes.x.linear=[-1,1,51]`.
        model: of the data: it says which mappings have paths as keys.

    Example:
        >>> override({"axes": {"x": {"linear": [-1, 1, 11]}}}, ["axes.x.linear=[-1, 1, 101]", "name=fine"])
        {'axes': {'x': {'linear': [-1, 1, 101]}}, 'name': 'fine'}

    Raises:
        SpecError: an assignment has no `=`, goes through something that has no fields, or its value is no YAML.
    """
    result: dict[str, Any] = _unshared(data)
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        if not sign or not path or path.count(".") >= _DEEPEST:
            raise SpecError(f"{assignment[:200]!r} is not of the form field=value, such as axes.x.linear=[-1,1,51]")
        if any("\ud800" <= c <= "\udfff" for c in assignment):  # bytes that are no UTF-8 arrive so
            raise SpecError(f"{assignment!r} is not text in UTF-8")
        *parents, last = _keys(path, result, model)
        place: Any = result
        for part in parents:
            place = _child(place, part, path)
        value = _assigned(text, f"the value of {path}")
        if isinstance(place, list):
            place[_index(place, last, path)] = value
        elif isinstance(place, dict):
            place[last] = value
        else:
            raise SpecError(f"{path}: {'.'.join(parents)} is {place!r} and has no field {last!r}")
    return result


def _assigned(text: str, source: str) -> Any:  # noqa: ANN401 - YAML holds anything
    """The value of an assignment: YAML, in which `#` begins no comment."""
    stripped = text.strip()
    if "#" not in stripped or "\n" in stripped:
        return load_yaml(text, source)
    if stripped[0] not in "[{\"'":
        return stripped  # no number, flag or null has a `#`
    value = load_yaml(text, source)
    if rest := stripped[end_of_value(stripped) :].strip():
        raise SpecError(f"{source}: {rest!r} comes after its end; put the whole text in quotes")
    return value


def _keys(path: str, data: Mapping[str, Any], model: type[Model] | None) -> list[str]:
    """A path as the keys that it goes through: most are one part of it, some have dots."""
    keys: list[str] = []
    parts = path.split(".")
    place: Any = data
    while parts:
        n = 1
        if isinstance(place, Mapping):
            whole = [i for i in range(len(parts), 0, -1) if ".".join(parts[:i]) in place]
            n = whole[0] if whole else _length(model, keys, parts)
        key = ".".join(parts[:n])
        place = place.get(key) if isinstance(place, Mapping) else None
        keys, parts = [*keys, key], parts[n:]
    return keys


def _length(model: type[Model] | None, above: Sequence[str], parts: Sequence[str]) -> int:
    """How many parts are the key of a mapping; more than one only where its keys are paths."""
    options = [] if model is None else [o for o in _at(model, above) if o.get(PATHS)]
    fields = {name for option in options for name in option.get("properties", {})}
    if not fields:
        return 1
    return next((i for i, part in enumerate(parts) if i and part in fields), len(parts))


def _unshared(value: Any) -> Any:  # noqa: ANN401 - nested YAML
    """A copy in which places that a YAML anchor made one object are two: a change of one must not change the other."""
    if isinstance(value, Mapping):
        return {k: _unshared(v) for k, v in value.items()}
    return [_unshared(v) for v in value] if isinstance(value, list) else value


def _child(place: Any, part: str, path: str) -> Any:  # noqa: ANN401 - nested YAML
    if isinstance(place, list):
        return place[_index(place, part, path)]
    if isinstance(place, dict):
        return place.setdefault(part, {})
    raise SpecError(f"{path}: there is {place!r} where {part!r} should be a field")


def _index(items: list[Any], part: str, path: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise SpecError(f"{path}: {part!r} must be a position from 0 to {len(items) - 1} of a list")
    return int(part)


def parse(model: type[M], data: Mapping[str, Any], source: str) -> M:
    """Data as a model, with errors that name field, given value and what is allowed.

    Raises:
        SpecError: one line for each thing that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as e:
        lines = [_complaint(model, dict(err)) for err in e.errors()]
        raise SpecError(f"{source}:\n" + "\n".join(f"  - {line}" for line in lines)) from e


def _complaint(model: type[Model], err: Mapping[str, Any]) -> str:
    loc = [str(part) for part in err["loc"]]
    if err["type"] == "extra_forbidden":
        path, known = _walk(model, loc[:-1])
        close = difflib.get_close_matches(loc[-1], known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{'.'.join([*path, loc[-1]])}: unknown field; {hint}known here: {', '.join(known) or 'none'}"
    if err["type"] == "missing":
        return f"{'.'.join([*_walk(model, loc[:-1])[0], loc[-1]])}: missing; this field is required"
    message = str(err["msg"]).removeprefix("Value error, ")
    if not loc:  # of several fields together: the message names them
        return message
    return f"{'.'.join(_walk(model, loc)[0] or loc)}: {message} (given: {_given(err.get('input'))})"


def _given(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _walk(model: type[Model], loc: Sequence[str]) -> tuple[list[str], list[str]]:
    """The path `loc` without the tags that pydantic puts in for the chosen member of a union, and the fields there."""
    path, options = _place(model, loc)
    return path, list(dict.fromkeys(f for option in options for f in option.get("properties", {})))


def _at(model: type[Model], above: Sequence[str]) -> list[dict[str, Any]]:
    """What the values of the mapping at this path may be."""
    return _place(model, [*above, ""])[1]


def _place(model: type[Model], loc: Sequence[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """The same path, and the schemas of what may stand there."""
    schema: dict[str, Any] = model.model_json_schema()
    defs = schema.get("$defs", {})

    def below(option: dict[str, Any], part: str) -> list[dict[str, Any]]:
        maps = [option.get("additionalProperties"), option.get("items"), *option.get("patternProperties", {}).values()]
        if part in option.get("properties", {}):
            return [option["properties"][part]]
        if part.isdigit() and (places := option.get("prefixItems")):
            return [places[min(int(part), len(places) - 1)]]
        return [m for m in maps if isinstance(m, dict)]

    nodes, path = [schema], []
    for part in loc:
        if chosen := [o for node in nodes for o in _tagged(node, part, defs)]:
            nodes = chosen
            continue
        found = [n for node in nodes for o in _options(node, defs) for n in below(o, part)]
        if found:
            path.append(part)
        nodes = found or nodes
    return path, [o for node in nodes for o in _options(node, defs)]


def _tagged(node: dict[str, Any], tag: str, defs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The member of a union that a tag stands for."""
    if "$ref" in node:
        return _tagged(defs[node["$ref"].rsplit("/", 1)[-1]], tag, defs)
    if (member := node.get("discriminator", {}).get("mapping", {}).get(tag)) is not None:
        return [{"$ref": member}]
    return [o for n in node.get("anyOf") or node.get("allOf") or () for o in _tagged(n, tag, defs)]


def _options(node: dict[str, Any], defs: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _options(defs[node["$ref"].rsplit("/", 1)[-1]], defs)
    union = node.get("anyOf") or node.get("oneOf") or node.get("allOf")
    return [o for n in union for o in _options(n, defs)] if union else [node]
