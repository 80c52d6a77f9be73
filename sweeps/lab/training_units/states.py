"""States of packs in training, from which another worker or a later run can resume.

A later run may cut shards differently, so the models of one pack may go to several workers. Each of these restores the
whole pack, since a state is one computation, and trains only the models that it was given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.storage.arrays import digest_of
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.unit import Unit, digest
from landsweep.sweeps.lab.training import FIXED_ARRAYS
from landsweep.sweeps.lab.training.state import PARTS
from landsweep.sweeps.lab.training.state_parts import files_of

__all__ = ["SavedState", "StateFiles", "States"]

_FOLDER = "states"
_INDEX = ".index.safetensors"
_ELSEWHERE = "elsewhere"  # entry of a state: digests by which the other files that hold arrays of it are called
_PLACES = "places"  # entry of an index: number of each kept state and files of its parts, the newest first


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state of an earlier run, or of a worker that died.

    Attributes:
        name: of its files.
        units: of the pack, in order.
        alive: keys of the units that were still to be returned.
    """

    name: str
    units: tuple[Unit, ...]
    alive: frozenset[str]


class StateFiles:
    """The files of one pack's states; a new state replaces the oldest one.

    Weights of checkpoints never change, and can be most of a state. So they are written once, into files of their own,
    and the file that is replaced each time names them. These files are named by a digest of their arrays, so two
    trainings of one pack can't confuse theirs.

    Args:
        artifacts: of the sweep; None where there is no results folder, and then nothing is saved.
        name: of the state.
        kept: how many are kept.

    Attributes:
        stem: path that the names of its files begin with.
    """

    def __init__(self, artifacts: Artifacts | None, name: str, kept: int = 1) -> None:
        self._artifacts, self._kept = artifacts, kept
        self.stem = f"{_FOLDER}/{name}"
        self._places: list[tuple[int, list[str]]] = []  # as under `_PLACES`
        self._written: dict[str, str] = {}  # array that never changes: digest of the file it lies in

    def load(self) -> dict[str, NDArray[Any]] | None:
        """The newest of `all`; None if there is none."""
        return next(self.all(), None)

    def all(self) -> Iterator[dict[str, NDArray[Any]]]:
        """The kept states, the newest first, without those that lack a file or have a damaged one."""
        self._places = self._listed()
        for place in list(self._places) or [(0, [])]:
            if (arrays := self._load(place[0])) is not None:
                yield arrays
            elif place in self._places:
                self._places.remove(place)

    def _listed(self) -> list[tuple[int, list[str]]]:
        index = None if self._artifacts is None else self._artifacts.load(self.stem + _INDEX)
        if index is None:
            return []
        entries: list[Any] = json.loads(index[_PLACES].tobytes()) if _PLACES in index else [[0, []]]
        own = f"{self.stem}.part-"  # whatever else an index may name is none of its files
        return [
            (int(number), [f for f in parts if f.startswith(own) and "/" not in f[len(own) :]])
            for number, parts in entries
        ]

    def _names(self, places: Sequence[tuple[int, Sequence[str]]]) -> set[str]:
        """Files of these states."""
        return {self._file(number) for number, _ in places} | {file for _, parts in places for file in parts}

    def _file(self, number: int) -> str:
        return f"{self.stem}.{number}.safetensors" if number else f"{self.stem}.safetensors"

    def _load(self, number: int) -> dict[str, NDArray[Any]] | None:
        self._written = {}
        arrays = None if self._artifacts is None else self._artifacts.load(self._file(number))
        if self._artifacts is None or arrays is None:
            return None
        if _ELSEWHERE not in arrays:
            return arrays
        written: dict[str, str] = {}
        for file in json.loads(arrays.pop(_ELSEWHERE).tobytes()):
            more = self._artifacts.load(f"{self.stem}.weights-{file}.safetensors")
            if more is None:
                return None
            arrays |= more
            written |= dict.fromkeys(more, file)
        self._written = written
        return arrays

    def save(self, units: Sequence[Unit], wanted: Collection[str], state: Mapping[str, NDArray[Any]]) -> None:
        """Save a state.

        Args:
            units: of the pack, in order.
            wanted: keys of the units that are to be returned.
            state: of their training, later than the one that this object has saved or loaded before.
        """
        if self._artifacts is None:
            return
        fixed = {name for name in state if name.startswith(FIXED_ARRAYS)}
        fresh = {name: np.asarray(state[name], order="C") for name in fixed - self._written.keys()}
        if fresh:
            content = digest_of(fresh)
            self._artifacts.keep(f"{self.stem}.weights-{content}.safetensors", fresh)
            self._written |= dict.fromkeys(fresh, content)
        changing = {name: a for name, a in state.items() if name not in fixed}
        if fixed:
            changing[_ELSEWHERE] = _text(sorted({self._written[name] for name in fixed}))
        number, parts = self._next(), files_of(state[PARTS]) if PARTS in state else []
        self._artifacts.keep(self._file(number), changing)
        kept = [(number, parts), *(place for place in self._places if place[0] != number)][: self._kept]
        index = {"units": _text([[u.key, dict(u.params), u.key in wanted] for u in units])}
        if kept != [(0, [])]:
            index[_PLACES] = _text(kept)
        self._artifacts.keep(self.stem + _INDEX, index)
        for file in self._names(self._places) - self._names(kept):
            self._artifacts.drop(file)
        self._places = kept

    def _next(self) -> int:
        """Number of the next state: a free one, or else that of the oldest state."""
        taken = [number for number, _ in self._places]
        return next((n for n in range(self._kept) if n not in taken), taken[-1] if taken else 0)

    def drop(self) -> None:
        """Delete the state, whoever has saved it."""
        if self._artifacts is None:
            return
        self._written, self._places = {}, []
        self._artifacts.drop(self.stem + _INDEX)
        own = re.compile(re.escape(self.stem) + r"(\.\d+|\.weights-[0-9a-f]+|\.part-\d+-\d+)?\.safetensors")
        for file in self._artifacts.files(_FOLDER):
            if own.fullmatch(f"{_FOLDER}/{file}"):
                self._artifacts.drop(f"{_FOLDER}/{file}")


class States:
    """The states in a results folder.

    Args:
        artifacts: of the sweep; None where there is no results folder, and then there are none.
    """

    def __init__(self, artifacts: Artifacts | None) -> None:
        self._artifacts = artifacts
        files = [] if artifacts is None else artifacts.files(_FOLDER)
        self._left = [f.rpartition("/")[2].removesuffix(_INDEX) for f in files if f.endswith(_INDEX)]
        self._read: dict[str, SavedState] = {}

    @staticmethod
    def name(pack: str, units: Sequence[Unit], wanted: Collection[str]) -> str:
        """Name of the state of a pack with these units, of which only `wanted` are to be returned."""
        return f"{pack}-{digest([[u.key, u.key in wanted] for u in units], size=8)}"

    def files(self, name: str, kept: int = 1) -> StateFiles:
        """The files of the state of this name, of which there may be none yet; the latest `kept` states stay."""
        return StateFiles(self._artifacts, name, kept)

    def left(self, pack: str) -> list[SavedState]:
        """States of this pack key that lay there when this worker began."""
        states = []
        for name in (n for n in self._left if n.startswith(f"{pack}-")):
            if name not in self._read and (saved := self._index(name)) is not None:
                self._read[name] = saved
            if name in self._read:
                states.append(self._read[name])
        return states

    def drop(self, name: str) -> None:
        """Delete a state."""
        self.files(name).drop()

    def _index(self, name: str) -> SavedState | None:
        arrays = None if self._artifacts is None else self._artifacts.load(f"{_FOLDER}/{name}{_INDEX}")
        if arrays is None:
            return None
        try:
            entries = json.loads(arrays["units"].tobytes())
            units = tuple(Unit(key, dict(params)) for key, params, _ in entries)
            alive = frozenset(key for key, _, wanted in entries if wanted)
            whole = name == self.name(name.rpartition("-")[0], units, alive)
        except (KeyError, ValueError, TypeError, RecursionError):  # of an earlier version, which had no digest
            return None
        return SavedState(name, units, alive) if whole else None


def _text(value: object) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)
