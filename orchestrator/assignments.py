"""`field=value`: changes of a spec or site, as they are typed after a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from landsweep.orchestrator.axes import PATHS
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.reading import end_of_value, load_yaml
from landsweep.orchestrator.schema import values_at
from landsweep.orchestrator.spec import Section

__all__ = ["override", "split_changes"]

_DEEPEST = 64  # fields inside each other


def override(data: Mapping[str, Any], assignments: Sequence[str], model: type[Section] | None = None) -> dict[str, Any]:
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


def split_changes(changes: list[str] | None) -> tuple[list[str], list[str]]:
    """Changes of the spec, changes of the site (without their `site.`)."""
    site = [c.removeprefix("site.") for c in changes or () if c.startswith("site.")]
    return [c for c in changes or () if not c.startswith("site.")], site


def _assigned(text: str, source: str) -> Any:  # noqa: ANN401 - YAML holds anything
    """The value of an assignment: YAML, in which `#` starts no comment."""
    stripped = text.strip()
    if "#" not in stripped or "\n" in stripped:
        return load_yaml(text, source)
    if stripped[0] not in "[{\"'":
        return stripped  # no number, flag or null has a `#`
    value = load_yaml(text, source)
    if rest := stripped[end_of_value(stripped) :].strip():
        raise SpecError(f"{source}: {rest!r} comes after the end of the value; put the whole text in quotes")
    return value


def _keys(path: str, data: Mapping[str, Any], model: type[Section] | None) -> list[str]:
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


def _length(model: type[Section] | None, above: Sequence[str], parts: Sequence[str]) -> int:
    """How many parts are the key of a mapping; more than one only where its keys are paths."""
    options = [] if model is None else [o for o in values_at(model, above) if o.get(PATHS)]
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
