"""Units, their keys, and the random streams that belong to them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from orchestrator.axes import Value

__all__ = ["Keys", "Unit", "as_python", "canonical", "digest", "stream_seed"]

_KEY_BYTES = 16
_PLAIN = {type(None), bool, int, float, str}


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest piece of work and the grain of resume.

    Attributes:
        key: 32 hexadecimal digits; the hash of kind@version, context and params.
        params: what distinguishes this unit from the others of its sweep.
        pack: units with the same text may be computed together; empty where that gains nothing. No part of the key,
            and known to planner and schedule alone.
    """

    key: str
    params: Mapping[str, Value]
    pack: str = field(default="", compare=False)

    def __reduce__(self) -> tuple[type[Unit], tuple[str, Mapping[str, Value]]]:
        """Pickle by two fields: units cross to workers by the thousand, and the default looks each field up."""
        return Unit, (self.key, self.params)


def canonical(value: object) -> str:
    """One text per value: sorted keys, no spaces, 1.0 written as 1 and -0.0 as 0.

    Example:
        >>> canonical({"b": 1.0, "a": [True, None, 0.1, -0.0]})
        '{"a":[true,null,0.1,0],"b":1}'

    Scalars of NumPy and of Arrow, as the cells of a table are, count as the Python values that they hold.

    Raises:
        TypeError: the value holds something that has no stable text, such as a function or an object.
        ValueError: the value holds nan or inf.
    """
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(_normal(value))  # what json.dumps writes, ten times faster: most values of axes are numbers
    return json.dumps(_normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _normal(value: object) -> object:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list | tuple):
        return [_normal(v) for v in value]
    if isinstance(value, Mapping):
        if not all(isinstance(k, str) for k in value):
            raise TypeError(f"keys of a mapping must be text, got {list(value)}")
        return {k: _normal(v) for k, v in value.items()}
    if (plain := as_python(value)) is not value:
        return _normal(plain)
    kind = type(value).__name__
    raise TypeError(f"{value!r} of type {kind} can't be part of an identity; use numbers, text, lists and mappings")


def as_python(value: Any) -> Any:  # noqa: ANN401 - a cell of a table
    """A cell of a table as a Python value: scalars of NumPy and Arrow are unpacked, all else is given back as it is.

    Example:
        >>> import numpy as np
        >>> as_python(np.int64(64)), as_python("x")
        (64, 'x')
    """
    if type(value) in _PLAIN:
        return value
    if hasattr(value, "as_py"):
        return value.as_py()
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def digest(value: object, size: int = _KEY_BYTES) -> str:
    """Hash of a value's canonical text: `2 * size` hexadecimal digits."""
    return blake2b(canonical(value).encode(), digest_size=size).hexdigest()


class Keys:
    """Makes units of one sweep: hashes kind@version and context once, then only the params.

    Args:
        kind: name of the kind.
        version: of the kind's numbers; raise it when the same spec gives other rows.
        context: all that the rows depend on beside the params.
    """

    def __init__(self, kind: str, version: int, context: Mapping[str, Any]) -> None:
        self._prefix = blake2b(f"{kind}@{version}\n{canonical(context)}\n".encode(), digest_size=_KEY_BYTES)

    def unit(
        self, params: Mapping[str, Value], definitions: Mapping[str, object] | None = None, pack: str = ""
    ) -> Unit:
        """The unit with these params.

        Args:
            params: name to value.
            definitions: for a param whose value is only a name (a model's name, say), what the name stands for.
            pack: see `Unit`.
        """
        identity = params if not definitions else {**params, **{k: [params[k], definitions[k]] for k in definitions}}
        return self.unit_of_text(params, canonical(identity), pack)

    def unit_of_text(self, params: Mapping[str, Value], identity: str, pack: str = "") -> Unit:
        """The unit whose identity is already canonical text: the fast way for grids."""
        state = self._prefix.copy()
        state.update(identity.encode())
        return Unit(state.hexdigest(), params, pack)


def stream_seed(unit: Unit, stream: str) -> int:
    """Seed of a named random stream of a unit, 0 <= seed < 2**63.

    Drawn from the param `seed` where there is one, so that units that differ only in other params share their
    streams (a paired comparison); else from the whole key. Never from worker, shard or order.

    Args:
        unit: whose stream.
        stream: its name, such as `init`, `order`, `dropout`, `noise`, `probe`.
    """
    source: object = unit.params.get("seed", unit.key)
    return int.from_bytes(blake2b(canonical([source, stream]).encode(), digest_size=8).digest(), "big") >> 1
