"""YAML as specs hold it: JSON's values, each key once, in bounded time and memory; and what a file says, written back.

What YAML 1.1 reads in its own way is text here, as written: dates, and numbers to the base 60 such as 12:30. A number
that would be read as another one is refused: 010 (eight to some, ten to others), 1e999 (no float is so large).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from landsweep.orchestrator.errors import SpecError

__all__ = ["end_of_value", "line_in", "load_yaml", "read_yaml", "write_yaml"]

_DEEPEST = 64  # mappings and lists inside each other
_LARGEST = 4 * 2**20  # characters, with everything that an anchor stands for written out
_MOST_DIGITS = 1000
_TAG = "tag:yaml.org,2002:"
_KNOWN = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
_OWN = {_TAG + name for name in ("int", "float", "timestamp", "value")}  # that this file reads in its own way
_INT = r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$"
_FLOAT = (
    r"^[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|"
    r"\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)


class _Loader(yaml.SafeLoader):
    """YAML with JSON's numbers: plain PyYAML reads 1e-3 as text."""

    def __init__(self, text: str, source: str = "") -> None:
        super().__init__(text)
        self.name = source
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            place = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _refused(f"more than {_DEEPEST} lists and mappings inside each other", place)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back: the text '1e-3' in quotes, and no anchors."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _write_list(dumper: yaml.SafeDumper, data: Sequence[object]) -> yaml.Node:
    """Numbers and words in one line, such as `[1e-3, 1]`; lists of lists and mappings below each other."""
    nested = any(isinstance(item, Mapping | list | tuple) for item in data)
    return dumper.represent_sequence(_TAG + "seq", data, flow_style=not nested)


_Dumper.add_representer(list, _write_list)
_Dumper.add_representer(tuple, _write_list)


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OWN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _class.add_implicit_resolver(_TAG + "int", re.compile(_INT), list("-+0123456789"))
    _class.add_implicit_resolver(_TAG + "float", re.compile(_FLOAT), list("-+0123456789."))


def _refused(problem: str, place: yaml.Mark | None) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place)


def load_yaml(text: str, source: str) -> Any:  # noqa: ANN401 - YAML holds anything
    """What a YAML text says.

    Args:
        text: one document.
        source: what to call it in a message.

    Raises:
        SpecError: it is no YAML, holds a key twice, what JSON does not have, or more than a spec could; with the line.
    """
    try:
        if len(text) > _LARGEST:
            raise SpecError(f"{source} has {len(text):,} characters; {_LARGEST:,} are allowed")
        loader = _Loader(text, source)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as e:
        raise SpecError(f"{source} is not valid YAML: {e}") from e
    except (ValueError, KeyError, OverflowError, RecursionError) as e:  # a tag that does not fit its value
        raise SpecError(f"{source} is not valid YAML: {type(e).__name__}: {e}") from e


def end_of_value(text: str) -> int:
    """Position after the first value of a YAML text, its quotes and brackets included."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return len(text) if node is None else int(node.end_mark.index)


def line_in(source: str, place: Sequence[str | int], value: object) -> int | None:
    """The line of a YAML file in which a field is given.

    Args:
        source: what messages call it; where this is no file of YAML, nothing is known of lines.
        place: keys and positions that lead to the field. Those that the file does not have, such as names of variants,
            are passed over.
        value: that stands there; where the file has another one, the field was changed since, and has no line.
    """
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        return None
    try:
        written, node = _twice(path.read_text(encoding="utf-8"))
    except (SpecError, OSError, ValueError):
        return None
    line = None
    for part in place:
        if isinstance(node, yaml.MappingNode) and part in written:
            key, node = next(((k, v) for k, v in node.value if k.value == part), (None, None))
            written, line = written[part], None if key is None else key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node, written = node.value[part], written[part]
            line = node.start_mark.line + 1
    return line if written == value else None


@lru_cache(maxsize=1)
def _twice(text: str) -> tuple[Any, yaml.Node | None]:
    """What a YAML text says, and its nodes with their lines: kept, for a spec may be wrong in many places."""
    return load_yaml(text, ""), yaml.compose(text, Loader=_Loader)


def _check(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Refuse what a spec can't hold; how many characters a node has with its anchors written out."""
    size = sizes.get(id(node), 0)
    if size is None:
        raise _refused("an anchor contains itself", node.start_mark)
    if size:
        return size
    sizes[id(node)] = None
    if node.tag not in _KNOWN:
        tag = node.tag.replace(_TAG, "!!")
        raise _refused(f"a spec can't hold {tag}: give numbers, text, lists and mappings", node.start_mark)
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node)
        size = len(node.value) + 1
    else:
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            below = [part for pair in node.value for part in pair]
        else:
            below = node.value
        size = 1
        for part in below:
            size += _check(part, sizes)
            if size > _LARGEST:
                raise _refused(
                    f"with its anchors written out this has more than {_LARGEST:,} characters", node.start_mark
                )
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (_TAG + "str", _TAG + "merge"):
            shown = f"{key.value} is none; write '{key.value}'" if isinstance(key, yaml.ScalarNode) else "here is none"
            raise _refused(f"keys are text, and {shown}", key.start_mark)
        if key.value in lines:
            raise _refused(f"the key {key.value!r} is already in line {lines[key.value]}", key.start_mark)
        lines[key.value] = key.start_mark.line + 1


def _check_scalar(node: yaml.ScalarNode) -> None:
    text = node.value
    if node.tag == _TAG + "int":
        if re.match(r"[-+]?0[0-9_]", text):
            raise _refused(f"{text} begins with 0; give the number without it, or the text '{text}'", node.start_mark)
        if len(text) > _MOST_DIGITS:
            raise _refused(f"a whole number of {len(text):,} digits; {_MOST_DIGITS:,} are allowed", node.start_mark)
    elif node.tag == _TAG + "float" and not text.lstrip("+-").startswith((".i", ".I", ".n", ".N")):
        value, digits = float(text), re.split("[eE]", text)[0]
        if abs(value) == float("inf") or (value == 0 and re.search("[1-9]", digits)):
            raise _refused(
                f"{text} is too large or too small for a float; give one between 1e-308 and 1e308, or '{text}' as text",
                node.start_mark,
            )
    try:
        node.value = text.encode("utf-16", "surrogatepass").decode("utf-16")  # JSON writes one character as two halves
    except UnicodeDecodeError:
        raise _refused(
            "half of a surrogate pair is no character; write the character itself", node.start_mark
        ) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        SpecError: no such file, not text in UTF-8, not YAML (see `load_yaml`), or not a mapping.
    """
    if not path.is_file():
        raise SpecError(f"there is no file {path}; give the path of a YAML file")
    if path.stat().st_size > 4 * _LARGEST:
        raise SpecError(f"{path} has {path.stat().st_size:,} bytes; a spec has at most {_LARGEST:,} characters")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise SpecError(f"{path} is not text in UTF-8 ({e.reason} at byte {e.start}); give a YAML file") from e
    data = load_yaml(text, str(path))
    if not isinstance(data, dict):
        raise SpecError(f"{path} must hold `field: value` lines, but holds {type(data).__name__}")
    return data


def write_yaml(data: Mapping[str, Any] | Sequence[Any]) -> str:
    """YAML that `read_yaml` reads back as the same values, of the same types."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
