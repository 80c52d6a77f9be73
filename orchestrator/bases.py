"""Specs that build on specs: `base: other.yaml`, with changes.

Mappings are merged field by field; everything else that a spec gives replaces what its base gives. A mapping that is of
another variant than the base's (another `net`, `method` or `source`, another form of an axis) replaces it too, since
the fields of two variants do not mix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landsweep.orchestrator.axes import PATHS
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.reading import read_yaml
from landsweep.orchestrator.schema import place_at
from landsweep.orchestrator.section import Section
from landsweep.orchestrator.spec_files import is_file, spec_folder, spec_path
from landsweep.orchestrator.trust import texts_of

__all__ = ["BASE", "Layer", "layers_of", "merged"]

BASE = "base"
_KIND = "kind"
_OWN = ("name",)  # fields of a base that are its own
_PATHS = ("folder", "file", "tokenizer", "sweep", "checkpoint", "cwd")  # fields whose texts are paths
_LONGEST_PATH = 1000
_FORM = "give the path of a spec file, or {file: FILE, without: [axes.y, ...]}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One spec of a chain, without its line `base`.

    Attributes:
        fields: that it gives.
        source: its file, for messages.
        folder: what paths in it would be relative to, were it run itself.
        without: fields of its base that it leaves out, as paths.
    """

    fields: Mapping[str, Any]
    source: str
    folder: Path
    without: tuple[str, ...] = ()


def layers_of(fields: Mapping[str, Any], source: str, folder: Path) -> list[Layer]:
    """A spec and those that it builds on, the last of them first.

    Args:
        fields: as in its file.
        source: its file, for messages.
        folder: what paths in it are relative to, that of its base too.

    Raises:
        SpecError: a base is not there, builds on itself, or is another kind of sweep.
    """
    layers: list[Layer] = []
    seen: list[Path] = []
    while True:
        base = fields.get(BASE)
        given, without = _base(base, source) if BASE in fields else ("", ())
        own = {name: value for name, value in fields.items() if name != BASE}
        layers.append(Layer(own, source, folder, without))
        if BASE not in fields:
            return _of_one_kind(layers[::-1])
        file = _file(given, source, folder)
        if file.resolve() in seen:
            chain = " -> ".join(str(place) for place in [*seen, file.resolve()])
            raise SpecError(f"{source}: base: {given} builds on itself: {chain}")
        seen.append(file.resolve())
        fields, source, folder = read_yaml(file), str(file), spec_folder(file)


def merged(layers: Sequence[Layer], model: type[Section]) -> dict[str, Any]:
    """The fields of a chain as one spec.

    Args:
        layers: as `layers_of` gives them.
        model: of the kind.

    Raises:
        SpecError: a field that is to be left out is not there, or a base names a file by a path relative to itself.
    """
    fields: dict[str, Any] = {}
    for i, layer in enumerate(layers):
        if i + 1 < len(layers):
            _refuse_moved_files(layer, layers[-1])
        fields = {name: value for name, value in fields.items() if name not in _OWN}
        for path in layer.without:
            fields = _without(fields, path, layer.source)
        fields = _over(fields, layer.fields, model, ())
    return fields


def _base(base: object, source: str) -> tuple[str, tuple[str, ...]]:
    """The file, and the fields that are left out."""
    if isinstance(base, str) and base:
        return base, ()
    if isinstance(base, Mapping) and isinstance(base.get("file"), str) and set(base) <= {"file", "without"}:
        without = base.get("without", [])
        if isinstance(without, list) and all(isinstance(path, str) and path for path in without):
            return base["file"], tuple(without)
    raise SpecError(f"{source}: base: {_FORM} (given: {str(base)[:100]!r})")


def _file(given: str, source: str, folder: Path) -> Path:
    if "://" in given:
        raise SpecError(f"{source}: base: {given}: a base is a file; fetch it, and name the copy")
    beside = folder / Path(given).expanduser()
    try:
        return beside if is_file(beside) else spec_path(given if "/" not in given else beside)
    except SpecError as e:
        raise SpecError(f"{source}: base: {e}; a path is relative to {folder}") from e


def _of_one_kind(layers: list[Layer]) -> list[Layer]:
    kinds = {str(layer.fields[_KIND]): layer.source for layer in layers if _KIND in layer.fields}
    if len(kinds) > 1:
        (one, first), (other, last) = list(kinds.items())[:2]
        raise SpecError(f"{last}: kind: {other}, but its base {first} is of the kind {one}; leave `kind` out")
    return layers


def _over(base: Mapping[str, Any], changes: Mapping[str, Any], model: type[Section], path: tuple[str, ...]) -> Any:  # noqa: ANN401
    """The fields of `base` with those of `changes` over them."""
    fields = dict(base)
    for name, value in changes.items():
        below = (*path, name)
        old = fields.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not _another(old, value, model, below):
            fields[name] = _over(old, value, model, below)
        else:
            fields[name] = value
    return fields


def _another(old: Mapping[str, Any], new: Mapping[str, Any], model: type[Section], path: tuple[str, ...]) -> bool:
    """Whether the new mapping is of another variant than the old one."""
    options = place_at(model, path).options
    fields = {name for option in options if option.get(PATHS) for name in option.get("properties", {})}
    if fields and not new.keys().isdisjoint(fields):
        return True
    tags = {name for option in options for name, node in option.get("properties", {}).items() if "const" in node}
    return any(name in new and new[name] != old.get(name) for name in tags)


def _without(fields: Mapping[str, Any], path: str, source: str) -> dict[str, Any]:
    """The fields but for one; a key with dots is meant as a whole where there is one."""
    for name in sorted(fields, key=len, reverse=True):
        if path == name:
            return {key: value for key, value in fields.items() if key != name}
        if path.startswith(f"{name}.") and isinstance(fields[name], Mapping):
            return {**fields, name: _without(fields[name], path[len(name) + 1 :], source)}
    raise SpecError(f"{source}: base.without: the base has no field {path!r}; there are {', '.join(fields) or 'none'}")


def _may_be_path(field: str, text: str) -> bool:
    """Whether a text is a relative path as far as one can tell: most texts of a spec are names."""
    if not text or len(text) > _LONGEST_PATH or "://" in text or Path(text).is_absolute() or "\0" in text:
        return False
    return field.rpartition(".")[2] in _PATHS or "/" in text or bool(Path(text).suffix)


def _refuse_moved_files(layer: Layer, last: Layer) -> None:
    """Refuse a base in another folder that names files: paths of a spec are relative to the file that is run."""
    if layer.folder.resolve() == last.folder.resolve():
        return
    for field, text in texts_of(layer.fields, ""):
        beside, meant = layer.folder / text, last.folder / text
        if _may_be_path(field, text) and beside.exists() and (not meant.exists() or not beside.samefile(meant)):
            raise SpecError(
                f"{layer.source}: {field}: {text!r} is beside this base, but paths are relative to the spec that "
                f"is run, {last.source}. Give {field} there, or an absolute path here"
            )
