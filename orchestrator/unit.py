"""Units, their keys, and the random streams that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from landsweep.orchestrator.canonical import Value, as_python, canonical

__all__ = ["Keys", "Unit", "as_python", "canonical", "digest", "stream_seed"]

_KEY_BYTES = 16


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


def digest(value: object, size: int = _KEY_BYTES) -> str:
    """Hash of a value's canonical text: `2 * size` hexadecimal digits."""
    return blake2b(canonical(value).encode(), digest_size=size).hexdigest()


class Keys:
    """Makes units of one sweep: hashes kind@version and context once, then only the params.

    Args:
        kind: name of the kind.
        version: of the kind's numbers; raise it when the same spec gives other rows.
        context: all that the rows depend on beside the params.
        defaults: for each param that existing units do not have, the value that they had: a unit of this value is
            one of them, so its key leaves the param out.
    """

    def __init__(
        self, kind: str, version: int, context: Mapping[str, Any], defaults: Mapping[str, Value] | None = None
    ) -> None:
        self._defaults = {name: canonical(value) for name, value in (defaults or {}).items()}
        self._prefix = blake2b(f"{kind}@{version}\n{canonical(context)}\n".encode(), digest_size=_KEY_BYTES)

    def unit(
        self, params: Mapping[str, Value], definitions: Mapping[str, object] | None = None, pack: str = ""
    ) -> Unit:
        """The unit with these params.

        Args:
            params: name to value.
            definitions: for a param whose value is only a name (a model's name, say), what the name stands for.
            pack: name of the group of units that may be computed together; see `Unit`.
        """
        identity = params if not definitions else {**params, **{k: [params[k], definitions[k]] for k in definitions}}
        if self._defaults:
            identity = {name: value for name, value in identity.items() if not self.left_out(name, value)}
        return self.unit_of_text(params, canonical(identity), pack)

    def left_out(self, name: str, value: object) -> bool:
        """Whether a param of this value is no part of a key, since existing units had the value without the param."""
        return name in self._defaults and canonical(value) == self._defaults[name]

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
