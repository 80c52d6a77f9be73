"""How packs are computed: the back-end and size are timed once per sweep, as a preparation, for all workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from landsweep.orchestrator.accelerators import free_memory
from landsweep.orchestrator.kind import Arrays, Preparation, Workbench
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.device import device_name
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import FEW, LARGEST, Choice, choose

__all__ = ["Choices", "calibrated", "calibrations", "pack_named"]

_PREFIX = "pack-"


def calibrations(backend: str, packs: Mapping[str, int]) -> tuple[Preparation, ...]:
    """One preparation for each pack key with enough models to gain from training together.

    Args:
        backend: of the spec.
        packs: pack key to the number of models.
    """
    if backend == "loop":
        return ()
    fewest = FEW if backend == "auto" else 2
    return tuple(
        Preparation(_PREFIX + key, {"pack": key, "backend": backend}, pack=key)
        for key, models in packs.items()
        if models >= fewest
    )


def pack_named(preparation: str) -> str:
    """The pack key of one of `calibrations`, by its name."""
    return preparation.removeprefix(_PREFIX)


def calibrated(backend: str, recipe: Recipe, bench: Workbench) -> Arrays:
    """The arrays of one of `calibrations`: `size` [1], and `backend`, `device` and perhaps `note` as bytes of text.

    Args:
        backend: of the spec.
        recipe: any with the pack key.
        bench: of the worker that times it.
    """
    if backend == "auto":
        data = recipe.data.load(bench.folder).to(bench.device)
        choice = choose(recipe, data, device=bench.device, base=bench.folder)
    else:
        choice = _pinned(backend, bench.device)
    free_memory()  # of the largest packs that were tried; neighbours may share the device
    texts = {"backend": choice.backend, "device": device_name(bench.device)}
    if choice.note:
        texts["note"] = f"{choice.backend} trains it, {choice.note}"
    return {"size": np.array([choice.size]), **{name: _bytes(text) for name, text in texts.items()}}


class Choices:
    """The choice for each pack key: as timed for the whole sweep, or else as this worker times it now.

    Args:
        backend: of the spec.
        prepared: by name, the arrays of the preparations.
        bench: of this worker.

    What once did not fit into memory is not tried again, see `shrink`.
    """

    def __init__(self, backend: str, prepared: Mapping[str, Arrays], bench: Workbench) -> None:
        self._backend = backend
        self._prepared = prepared
        self._bench = bench
        self._largest: dict[str, int] = {}
        self._micro_batches: dict[str, int] = {}

    def split(self, recipe: Recipe) -> bool:
        """Let models with this pack key compute half as many samples at a time; returns whether that is possible."""
        now = self.micro_batch(recipe) or recipe.batch_size
        self._micro_batches[recipe.pack_key()] = -(-now // 2)
        return now > 1

    def micro_batch(self, recipe: Recipe) -> int | None:
        """How many samples such models compute at a time: what fits into memory, or else as their recipe says."""
        return self._micro_batches.get(recipe.pack_key(), recipe.micro_batch)

    def shrink(self, pack: str, size: int) -> None:
        """Limit packs with this key to this size from now on."""
        self._largest[pack] = size

    def fits(self, pack: str, size: int) -> bool:
        """Whether a pack of this size and key is not known to be too large."""
        return size <= self._largest.get(pack, size)

    def of(self, recipe: Recipe, data: Data, pack: str) -> Choice:
        """The choice for models of a pack key.

        Timings on a device of another name do not count.

        Args:
            recipe: whose timing counts; for a branch that of its main run.
            data: of the recipe.
            pack: the pack key.
        """
        choice = self._timed(recipe, data)
        return replace(choice, size=min(choice.size, self._largest.get(pack, choice.size)))

    def _timed(self, recipe: Recipe, data: Data) -> Choice:
        arrays = self._prepared.get(_PREFIX + recipe.pack_key())
        if arrays is not None and _text(arrays["device"]) == device_name(self._bench.device):
            note = _text(arrays["note"]).partition(", ")[2] if "note" in arrays else ""
            return Choice(_text(arrays["backend"]), int(arrays["size"][0]), note=note)
        if self._backend == "auto":
            return choose(recipe, data, device=self._bench.device, base=self._bench.folder)
        return _pinned(self._backend, self._bench.device)


def _pinned(backend: str, device: str) -> Choice:
    return Choice(backend, 1 if backend == "loop" else LARGEST[_class(device)])


def _class(device: str) -> str:
    return device.split(":")[0]


def _bytes(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(text.encode(), np.uint8).copy()


def _text(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    return np.asarray(array, np.uint8).tobytes().decode()
