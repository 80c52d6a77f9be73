"""States of packs in training, kept so that another worker, or another run, goes on from them.

A later run may cut shards elsewhere, and then some of a pack's models come to one worker and the rest to another. Each
restores the whole pack, for a state is one computation, and goes on with the models that it was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.artifacts import Artifacts
from orchestrator.unit import Unit, digest

__all__ = ["Kept", "States"]

_FOLDER = "states"
_INDEX = ".index.safetensors"


@dataclass(frozen=True, slots=True)
class Kept:
    """A state that an earlier run, or a worker that died, has left.

    Attributes:
        name: of its files.
        units: of the pack, in order.
        alive: keys of those that were still asked for.
    """

    name: str
    units: tuple[Unit, ...]
    alive: frozenset[str]


class States:
    """Keeps, finds and drops states in the results folder.

    Args:
        artifacts: of the sweep; None where there is no results folder, and then nothing is kept.
    """

    def __init__(self, artifacts: Artifacts | None) -> None:
        self._artifacts = artifacts
        files = [] if artifacts is None else artifacts.files(_FOLDER)
        self._left = [f.rpartition("/")[2].removesuffix(_INDEX) for f in files if f.endswith(_INDEX)]
        self._read: dict[str, Kept] = {}

    @staticmethod
    def name(pack: str, units: Sequence[Unit], wanted: Collection[str]) -> str:
        """Name of the state of a pack with these units, of which only some may be wanted."""
        return f"{pack}-{digest([[u.key, u.key in wanted] for u in units], size=8)}"

    def left(self, pack: str) -> list[Kept]:
        """States of this pack key that lay there when this worker began."""
        found = []
        for name in (n for n in self._left if n.startswith(f"{pack}-")):
            if name not in self._read and (kept := self._index(name)) is not None:
                self._read[name] = kept
            if name in self._read:
                found.append(self._read[name])
        return found

    def load(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The state of this name; None if there is none, or a damaged one, which is set aside."""
        return None if self._artifacts is None else self._artifacts.load(f"{_FOLDER}/{name}.safetensors")

    def save(
        self, name: str, units: Sequence[Unit], wanted: Collection[str], state: Mapping[str, NDArray[Any]]
    ) -> None:
        """Keep a state, replacing an older one of this name."""
        if self._artifacts is None:
            return
        self._artifacts.keep(f"{_FOLDER}/{name}.safetensors", state)
        about = json.dumps([[u.key, dict(u.params), u.key in wanted] for u in units]).encode()
        self._artifacts.keep(f"{_FOLDER}/{name}{_INDEX}", {"units": np.frombuffer(about, np.uint8)})

    def drop(self, name: str) -> None:
        """Forget a state."""
        if self._artifacts is not None:
            self._artifacts.drop(f"{_FOLDER}/{name}{_INDEX}")
            self._artifacts.drop(f"{_FOLDER}/{name}.safetensors")

    def _index(self, name: str) -> Kept | None:
        arrays = None if self._artifacts is None else self._artifacts.load(f"{_FOLDER}/{name}{_INDEX}")
        if arrays is None:
            return None
        try:
            told = json.loads(arrays["units"].tobytes())
            units = tuple(Unit(key, dict(params)) for key, params, _ in told)
            alive = frozenset(key for key, _, wanted in told if wanted)
            whole = name == self.name(name.rpartition("-")[0], units, alive)
        except (KeyError, ValueError, TypeError, RecursionError):  # of an earlier version, which had no digest
            return None
        return Kept(name, units, alive) if whole else None
