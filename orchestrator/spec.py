"""Specs: immutable descriptions of *what* to compute.

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
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from landsweep.orchestrator.canonical import Value
from landsweep.orchestrator.claim import Claim
from landsweep.orchestrator.complaints import in_words
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.reading import line_in
from landsweep.orchestrator.schema import place_at
from landsweep.orchestrator.section import Section
from landsweep.orchestrator.text import shortened
from landsweep.orchestrator.trust import first_names
from landsweep.orchestrator.unit import canonical, digest

__all__ = ["DEFAULTS", "IsAxis", "IsLabel", "IsNamedAxis", "Section", "Spec", "differences", "parse"]


M = TypeVar("M", bound="Section")

_MOST_COMPLAINTS, _LONGEST = 20, 2000  # of one error; characters of each

DEFAULTS = "defaults"  # among the definitions: what rows had that lack a param


class IsAxis:
    """Marks a field that decides which units exist."""


class IsNamedAxis(IsAxis):
    """Marks a mapping name -> definition, each name being a value of an axis."""


class IsLabel:
    """Marks a field that changes neither units nor rows."""


class Spec(Section):
    """What a sweep computes. Subclass it for a kind and add fields.

    Attributes:
        kind: the registered kind this spec belongs to.
        name: label and default directory of the results.
    """

    takes_defaults: ClassVar[bool] = False  # whether its axes can say what rows without them had

    kind: Annotated[str, IsLabel()] = Field(description="the kind of sweep; see `landsweep kinds`")
    name: Annotated[str, IsLabel()] = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=200,  # a file's name has at most 255
        description="name of the sweep and of its results folder",
    )
    description: Annotated[str, IsLabel()] = Field("", description="one or two sentences for report and tracking")
    claims: Annotated[tuple[Claim, ...], IsLabel()] = Field(
        (), description="what the rows should show; the report says of each whether it holds"
    )

    def pinned(self, folder: Path) -> Self:
        """This spec with every file it names pinned by digest, so that identity follows content, not paths.

        Args:
            folder: what relative paths are relative to: the folder of the spec file.
        """
        del folder
        return self

    def given(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as one writes them in a file: tags of unions stay."""
        fields: dict[str, Any] = {"kind": self.kind, "name": self.name, **_as_written(self)}
        return fields

    def settled(self) -> bool:
        """Whether its plan and columns are known; False for a spec whose inputs are only read when it is pinned."""
        return True

    @classmethod
    def _marked(cls, marker: type) -> list[str]:
        return [n for n, f in cls.model_fields.items() if any(isinstance(m, marker) for m in f.metadata)]

    def context(self) -> dict[str, Any]:
        """All that the rows depend on beside the params; functions that have moved keep their first names here."""
        not_context = {*self._marked(IsAxis), *self._marked(IsLabel)}
        return {k: first_names(v) for k, v in self.model_dump(mode="json").items() if k not in not_context}

    def defaults(self) -> dict[str, Value]:
        """For each param that is new in a sweep with rows: the value that they had without it."""
        return {}

    def definitions(self) -> dict[str, dict[str, Any]]:
        """What can't change within a sweep: for each named axis name to definition, and the defaults of new axes."""
        dumped, defaults = self.model_dump(mode="json"), self.defaults()
        named = {field: first_names(dumped[field]) for field in self._marked(IsNamedAxis)}
        return named | ({DEFAULTS: dict(defaults)} if defaults else {})

    def fingerprint(self) -> str:
        """The sweep's identity: 16 hexadecimal digits over kind and context."""
        return digest([self.kind, self.context()], size=8)


def _as_written(value: Any) -> Any:  # noqa: ANN401 - nested data and models
    if isinstance(value, BaseModel):
        if value.__pydantic_decorators__.model_serializers:  # it says itself how it is written
            return value.model_dump(mode="json", exclude_defaults=True)
        fields = {n: f for n, f in type(value).model_fields.items() if not f.exclude}
        kept = {n: getattr(value, n) for n, f in fields.items() if _is_tag(f) or not _is_default(f, getattr(value, n))}
        return {n: _as_written(v) for n, v in kept.items()}
    if isinstance(value, Mapping):
        return {str(k): _as_written(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_as_written(v) for v in value]
    return to_jsonable_python(value)


def _is_tag(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _is_default(field: FieldInfo, value: object) -> bool:
    return not field.is_required() and bool(field.get_default(call_default_factory=True, validated_data={}) == value)


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


def parse(model: type[M], data: Mapping[str, Any], source: str) -> M:
    """Data as a model, with errors that name field, given value and what is allowed.

    Raises:
        SpecError: one line for each of the first 20 things that are wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as e:
        errors = [dict(err) for err in e.errors()]
        own = [err for err in errors if not _follows(err, errors)]
        shown = own[:_MOST_COMPLAINTS]
        lines = [shortened(_complaint(model, err), _LONGEST) + _line(source, err) for err in shown]
        lines += [f"... and {more:,} more like these"] if (more := len(own) - len(shown)) else []
        raise SpecError(f"{source}:\n" + "\n".join(f"  - {line}" for line in lines)) from e


def _follows(err: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list only counts as too short because of what is wrong with its items."""
    place = err["loc"]
    return err["type"] == "too_short" and any(e["loc"] != place and e["loc"][: len(place)] == place for e in errors)


def _complaint(model: type[Section], err: Mapping[str, Any]) -> str:
    loc = [str(part) for part in err["loc"]]
    if err["type"] == "extra_forbidden":
        place = place_at(model, loc[:-1])
        inside = [f"{f}.{loc[-1]}" for f in place.fields if loc[-1] in place_at(model, [*loc[:-1], f]).fields]
        close = inside or difflib.get_close_matches(loc[-1], place.fields, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        fields = ", ".join(place.fields) or "none"
        return f"{'.'.join([*place.path, loc[-1]])}: unknown field; {hint}known here: {fields}"
    if err["type"] == "missing":
        return f"{'.'.join([*place_at(model, loc[:-1]).path, loc[-1]])}: missing; this field is required"
    message = in_words(err)
    if not loc:  # of several fields together: the message names them
        return message
    return f"{'.'.join(place_at(model, loc).path or loc)}: {message} (given: {_given(err.get('input'))})"


def _line(source: str, err: Mapping[str, Any]) -> str:
    """Where the file of a spec gives what is wrong; of a field that is missing, the section that lacks it."""
    place = err["loc"][:-1] if err["type"] == "missing" else err["loc"]
    line = line_in(source, place, err.get("input"))
    return "" if line is None else f" (line {line})"


def _given(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
