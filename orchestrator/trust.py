"""Which code may run: what the user's own spec names, or what a results folder names once its user has said so.

A results folder is shared, copied and published, so the names of code in it are data. `reading` marks a stretch of
work on such a folder; while it lasts, `load` gives nothing but the functions that this project brings for specs.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from landsweep.orchestrator.calling import about_to_call
from landsweep.orchestrator.errors import SpecError, Untrusted

__all__ = [
    "allow_program",
    "also_search",
    "first_names",
    "foreign_code",
    "load",
    "may_grant",
    "named_code",
    "own_code",
    "reading",
    "refuse_files",
    "refuse_new_code",
    "start_reading",
    "texts_of",
    "untrusted",
    "user_code",
]

OWN_PACKAGES = ("landsweep",)
_FOR_SPECS = ("landsweep.sweeps.function.examples", "torch.optim")  # modules whose public names any spec may use
_MOVED = {  # modules that specs of earlier versions name; rows are identified by these first names for good
    "sweeps.lab.functions": "landsweep.sweeps.function.examples",
    "orchestrator.testing.mortality": "landsweep.orchestrator.testing.mortality",
}
# Fields of specs that name files or results, relative to the folder of the spec.
_FILES = frozenset({"folder", "file", "tokenizer", "checkpoint", "sweep"})
_DIGEST = re.compile("[0-9a-f]+")
_PINNED = frozenset({"params", "metrics", "models", "note"})  # fields of models that a reference was pinned to

_reading: ContextVar[str | None] = ContextVar("reading", default=None)  # results whose names are only data
_folders: list[str] = []  # of the user's own modules


@contextlib.contextmanager
def reading(source: str, *, trusted: bool = False) -> Iterator[None]:
    """While this lasts, in this thread, names of code come from `source`, so nothing of it is imported.

    Args:
        source: a results folder, for the message.
        trusted: its user has said that its code may run, or it is a sweep of this user.
    """
    token = _reading.set(None if trusted else source)
    try:
        yield
    finally:
        _reading.reset(token)


def start_reading(source: str) -> None:
    """The same until `user_code` is called: for a command that works on one sweep."""
    _reading.set(source)


def user_code() -> None:
    """From here on, what the user's own spec names may run; modules beside where the user stands are found."""
    _reading.set(None)
    also_search(Path.cwd())


def also_search(folder: str | Path) -> None:
    """Look for the user's own modules in a folder too: after all that is installed, so that it replaces nothing."""
    for package in OWN_PACKAGES:
        importlib.import_module(package)  # now: one that is installed for editing is found after all of `sys.path`
    place = str(Path(folder).resolve())
    if place not in _folders:
        _folders.append(place)
    if place not in sys.path:
        sys.path.append(place)


def named_code(value: object) -> list[str]:
    """All texts in nested data that could name code, `package.module:function`, each once, in order."""
    if isinstance(value, str):
        return [value] if _parts(value) else []
    if isinstance(value, Mapping):
        inner = [*value.keys(), *value.values()]
    else:
        inner = list(value) if isinstance(value, list | tuple) else []
    return list(dict.fromkeys(name for item in inner for name in named_code(item)))


def foreign_code(value: object) -> list[str]:
    """The same without what any spec may use, and with every program and every trusted sweep that a spec names."""
    code = [name for name in named_code(value) if _for_specs(*(_parts(name) or ("", ""))) is None]
    return [*code, *map(_program, _programs(value)), *(f"all code of the sweep {name!r}" for name in _trusting(value))]


def own_code(value: object) -> list[str]:
    """The same without programs and without all that this project brings: what is the user's own, or of a library."""
    names = [name for name in named_code(value) if name.partition(":")[0].partition(".")[0] not in OWN_PACKAGES]
    return [*(n for n in names if _for_specs(*(_parts(n) or ("", ""))) is None), *_trusting(value)]


def _trusting(value: object) -> Iterator[str]:
    """The sweeps in nested data whose code may run, as the data say."""
    if isinstance(value, Mapping):
        if isinstance(value.get("sweep"), str) and value.get("trust", False) is not False:
            yield value["sweep"]
        for inner in value.values():
            yield from _trusting(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _trusting(inner)


def may_grant() -> bool:
    """Whether a spec may say that code of another sweep is trusted: not where the spec itself is a stranger's."""
    return _reading.get() is None


def _programs(value: object) -> Iterator[list[str]]:
    """The words of each command line in nested data: of what stands under `command` and is no plain text."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name == "command" and isinstance(inner, Mapping | list | tuple):
                line = inner.get("run", inner) if isinstance(inner, Mapping) else inner
                yield [text for _, text in texts_of(line, "")]
            yield from _programs(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _programs(inner)


def _program(words: Iterable[str]) -> str:
    return f"the program {' '.join(words)[:200]!r}"


def allow_program(words: Iterable[str]) -> None:
    """Ask before a program is started.

    Args:
        words: of its command line, for the message.

    Raises:
        Untrusted: it comes from a results folder that nobody has trusted.
    """
    if (source := _reading.get()) is not None:
        raise untrusted(source, [_program(words)])


def first_names(value: object) -> Any:  # noqa: ANN401 - nested data, as it was given
    """Nested data with the first name of every function that has moved: under that one it identifies rows for good.

    Example:
        >>> first_names({"function": "landsweep.sweeps.function.examples:descend", "note": "a: b"})
        {'function': 'sweeps.lab.functions:descend', 'note': 'a: b'}
    """
    if isinstance(value, str):
        module, colon, name = value.partition(":")
        return next((old for old, new in _MOVED.items() if colon and new == module), module) + colon + name
    if isinstance(value, Mapping):
        return {key: first_names(inner) for key, inner in value.items()}
    return [first_names(inner) for inner in value] if isinstance(value, list) else value


def _parts(path: str) -> tuple[str, str] | None:
    """Module and attribute of `package.module:name`; None for any other text."""
    module, _, attribute = path.partition(":")
    named = all(part.isidentifier() for text in (module, attribute) for part in text.split("."))
    return (_MOVED.get(module, module), attribute) if named else None


def load(path: str, folder: Path | None = None) -> object:
    """The object that `package.module:name` names.

    Args:
        path: module and attribute, with a colon between.
        folder: of the spec; the module is looked for there, after what is installed.

    Raises:
        SpecError: not of that form, no such module or attribute, or two modules of that name.
        Untrusted: the name comes from a results folder that nobody has trusted.
    """
    parts = _parts(path)
    if parts is None:
        raise SpecError(f"{path!r} must be of the form package.module:function")
    about_to_call(path)
    if (source := _reading.get()) is not None:
        if (thing := _for_specs(*parts)) is None:
            raise untrusted(source, [path])
        return thing
    if folder is not None:
        also_search(folder)
    try:
        module = _module(parts[0], path, folder)
    except SystemExit as e:
        raise SpecError(
            f"{path!r}: the module {parts[0]} calls sys.exit({'' if e.code is None else repr(e.code)}) while it is "
            'imported; put what it does as a script under `if __name__ == "__main__":`'
        ) from e
    return _attribute(module, parts[1], path)


def _for_specs(module: str, name: str) -> object | None:
    """One of the project's public functions or torch's optimizers; None for all else, also what these have imported."""
    if module not in _FOR_SPECS:
        return None
    imported = importlib.import_module(module)
    function = getattr(imported, name, None) if name in imported.__all__ else None
    home = str(getattr(function, "__module__", ""))
    return function if home == module or home.startswith(f"{module}.") else None


def untrusted(source: str, names: list[str]) -> Untrusted:
    """The refusal of what a results folder names."""
    return Untrusted(
        f"{source} names code that is not part of landsweep: {', '.join(names)}. To go on, this code would be "
        "imported and called as you, and it may do all that you may do. Nothing was run. Where you know who wrote "
        "it, say so: --trust, or Zoo(..., trust=True). Sweeps that you ran yourself, in the place where they are, "
        "need no such word."
    )


def refuse_files(spec: object, base: Path, where: str) -> None:
    """Refuse a spec from a results folder that nobody has trusted, if it names files outside of that folder.

    Args:
        spec: nested data.
        base: what relative paths in it are relative to.
        where: the results folder.

    Raises:
        Untrusted: names the field; a sweep would be computed from files of the user's, and its results are shared.
    """
    home = Path(os.path.realpath(where))
    for field, text in texts_of(spec, ""):
        outside = [text] if _leads_out(text) else []
        if not outside and _FILES.intersection(field.split(".")):
            outside = list(itertools.islice(_outside(base / text, home), 1))
        if outside:
            through = "" if outside[0] == text else f", for {outside[0]} leads out of it"
            raise Untrusted(
                f"{where}: {field}: {text!r} is not inside of this folder{through}, so the sweep would be computed "
                "from files of yours, and whoever gets its results learns of them. Nothing was run. Where you know "
                "who wrote it, say so: --trust"
            )


def _outside(place: Path, home: Path) -> Iterator[str]:
    """What of a place lies outside of a folder: itself, or what links in it lead to."""
    if not Path(os.path.realpath(place)).is_relative_to(home):
        yield str(place)
        return
    for folder, folders, files in os.walk(place):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
                yield str(path)


def refuse_new_code(data: object, spec: object, source: str) -> None:
    """Refuse settings from a row that name code which the sweep's spec does not name: no unit of the plan has them.

    Args:
        data: nested settings, as the row has them.
        spec: nested data, of the sweep.
        source: the row, for the message.

    Raises:
        Untrusted: names the code.
    """
    known, words = named_code(spec), {word for program in _programs(spec) for word in program}
    new = [name for name in named_code(data) if name not in known and name in foreign_code(name)]
    new += [_program(program) for program in _programs(data) if not words.issuperset(program)]
    if new:
        raise Untrusted(
            f"{source} names code that the spec of its sweep does not name: {', '.join(new)}. So the row was changed, "
            "and nothing was run, whatever is trusted; `landsweep verify DIR --deep` says more"
        )


def _leads_out(text: str) -> bool:
    """Whether a text is an absolute path, or one that climbs."""
    return text.startswith(("/", "~")) or "://" in text or ".." in text.split("/")


def texts_of(value: object, field: str) -> Iterator[tuple[str, str]]:
    """All texts in nested data, each with its field; those that are only for people are left out."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            no_file = name == "folder" and not inner and value.get("source") == "text"  # Python's own library
            if not no_file and not _names_nothing(name, inner, field):
                yield from texts_of(inner, f"{field}.{name}" if field else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_of(inner, field)


def _names_nothing(name: object, inner: object, field: str) -> bool:
    """Whether an entry is only for people, or what a spec was pinned to; names that authors choose may be the same."""
    match name:
        case "description":
            return not field and isinstance(inner, str)
        case "digests":
            return isinstance(inner, Mapping) and all(_DIGEST.fullmatch(str(text)) for text in inner.values())
        case "pinned_models":
            return isinstance(inner, Mapping) and _PINNED - {"note"} <= {*inner} <= _PINNED
    return False


def _module(name: str, path: str, folder: Path | None) -> ModuleType:
    """A module by name; one of the user's own is taken from its folder, whatever else has that name.

    Only the named module is looked for in this way: were its folder first on `sys.path`, a `random.py` beside a spec
    would replace Python's own for every library.
    """
    top = name.partition(".")[0]
    places = list(dict.fromkeys([*([str(folder.resolve())] if folder is not None else []), *_folders]))
    module_spec = None if top in OWN_PACKAGES else PathFinder.find_spec(top, places)
    if module_spec is not None and module_spec.loader is not None and module_spec.origin is not None:
        loaded = sys.modules.get(top)
        if loaded is None:
            module = module_from_spec(module_spec)
            sys.modules[top] = module
            try:
                module_spec.loader.exec_module(module)
            except BaseException:
                sys.modules.pop(top, None)
                raise
        elif not _same_file(getattr(loaded, "__file__", None), module_spec.origin):
            other = getattr(loaded, "__file__", None) or "Python itself"
            raise SpecError(
                f"{path!r}: there are two modules {top!r}: {module_spec.origin} and, imported already, {other}; rename "
                "yours, or use it in another process"
            )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name and not (name == e.name or name.startswith(f"{e.name}.")):
            raise  # the module is there, but something it imports is not
        looked = ", ".join([*places, *sys.path[:3]])
        raise SpecError(f"{path!r}: there is no module {name!r}; looked in {looked}, ...") from e


def _same_file(one: str | None, other: str) -> bool:
    return one is not None and os.path.realpath(one) == os.path.realpath(other)


def _attribute(module: ModuleType, attribute: str, path: str) -> object:
    value: object = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise SpecError(f"{path!r}: module {module.__name__} ({module.__file__}) has no {attribute!r}")
        value = getattr(value, part)
    return value
