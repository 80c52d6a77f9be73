"""What units have printed, as it is kept in a results folder: `units/KEY/stdout.txt`, `stderr.txt` and `log.txt`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.storage.inside import is_name, refuse_odd
from landsweep.orchestrator.storage.store import Store

__all__ = ["UNITS", "unit_output"]

UNITS = "units"  # folder of the results
_STREAMS = ("stdout", "stderr", "log")
_SHOWN = 20  # keys


def unit_output(store: Store, key: str) -> str:
    """All that the last attempt of a unit has printed.

    Args:
        store: of the results.
        key: of the unit, or how it begins.

    Raises:
        SpecError: no unit with output has such a key, or several have; or the folder of all of them is a link.
    """
    if not is_name(key):
        raise SpecError(f"--unit {key!r}: give the key of a unit, or its first digits; they are in the column `key`")
    keys = _keys(store)
    fitting = [k for k in keys if k.startswith(key)]
    if len(fitting) != 1:
        raise SpecError(f"--unit {key}: {_advice(keys, fitting)}")
    parts = []
    for stream in _STREAMS:
        file = f"{UNITS}/{fitting[0]}/{stream}.txt"
        if store.path is not None and (store.path / file).is_symlink():
            parts.append(f"--- {stream} of {fitting[0]} is a link, to {(store.path / file).readlink()}: not shown ---")
            continue
        refuse_odd(store.path, file)
        try:
            text = store.read(file).decode("utf-8", "replace").rstrip()
        except FileNotFoundError:
            continue
        if text:
            parts.append(f"--- {stream} of {fitting[0]} ---\n{text}")
    return "\n".join(parts) or f"the unit {fitting[0]} has printed nothing"


def _advice(keys: Sequence[str], fitting: Sequence[str]) -> str:
    """What to do about a key that names no unit with output, or several."""
    if not keys:
        return "no unit of this sweep has kept any output"
    some = ", ".join((fitting or keys)[:_SHOWN])
    if fitting:
        return f"the keys of {len(fitting)} units begin with it; give more digits of one: {some}"
    return f"no unit with such a key has printed anything; these have: {some}"


def _keys(store: Store) -> list[str]:
    """Keys of the units that have a folder.

    On this machine nothing below is looked at: what a program has left there may be too deep, or have any name.
    """
    if store.path is None:
        return sorted({name.split("/")[0] for name, _ in store.list(UNITS, deep=True) if "/" in name})
    if (store.path / UNITS).is_symlink():
        raise SpecError(
            f"{store.path / UNITS} is a link, to {(store.path / UNITS).readlink()}, and what lies there is not shown; "
            "link the whole results folder instead"
        )
    try:
        with os.scandir(store.path / UNITS) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
