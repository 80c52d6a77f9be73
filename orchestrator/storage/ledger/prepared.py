"""Arrays that are computed once per sweep: trained weights, directions. Kept in `prepared/`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import safetensors.numpy

from landsweep.orchestrator.errors import NotDeterministic
from landsweep.orchestrator.storage.arrays import digest_of, encode
from landsweep.orchestrator.storage.ledger.parts import Damage
from landsweep.orchestrator.storage.readers import object_or_none
from landsweep.orchestrator.storage.store import Store

__all__ = ["about_prepared", "check_prepared", "load_prepared", "save_prepared", "set_aside_prepared"]


def save_prepared(
    store: Store,
    file: str,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    about: Mapping[str, Any],
    *,
    exact: bool = True,
) -> None:
    """Keep arrays as `prepared/<file>`, and a small JSON beside them with their digest.

    Args:
        store: of the sweep.
        file: name, ending in `.safetensors`.
        arrays: name to array.
        about: what else to remember: seconds, host.
        exact: whether rows depend on these very arrays; False for timings, which differ from run to run.

    Raises:
        NotDeterministic: arrays were kept under this name before, the new ones differ, and there are rows, which
            belong to the old ones.
        StorageError: they can't be written.
    """
    solid = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    digest = digest_of(solid)
    before = about_prepared(store, file)
    if exact and before is not None and before.get("digest") != digest and store.list("rows"):
        raise NotDeterministic(
            f"{store.where}/prepared/{file} was lost or damaged and computed again, but the result differs from the "
            f"first one (made on {before.get('host', 'an unknown host')}): the existing rows belong to the old "
            f"arrays. Put the old file back, or start anew in another folder with --out."
        )
    data = encode(solid)
    sidecar = {**about, "file": file, "digest": digest, "bytes": _hash(data)}
    store.replace(f"prepared/{file}", data, durable=True)
    store.replace(_sidecar(file), json.dumps(sidecar, indent=2).encode(), durable=True)


def load_prepared(store: Store, file: str) -> dict[str, np.ndarray[Any, Any]] | None:
    """The arrays kept as `prepared/<file>`; None if there are none, or damaged ones, which are set aside.

    Raises:
        StorageError, Unreachable: they can't be read, or not be moved.
    """
    try:
        data = store.read(f"prepared/{file}")
    except FileNotFoundError:
        return None
    about = about_prepared(store, file)
    if about is None or about.get("bytes") != _hash(data):
        store.move(f"prepared/{file}", f"damaged/{file}")
        return None
    try:
        arrays: dict[str, np.ndarray[Any, Any]] = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError):
        store.move(f"prepared/{file}", f"damaged/{file}")
        return None
    return arrays


def about_prepared(store: Store, file: str) -> dict[str, Any] | None:
    """What `save_prepared` remembered; None if nothing, or if it was remembered of another file.

    It is `about`, with `digest` of the arrays, `bytes` (hash of the file) and its name, `file`, which earlier versions
    did not keep. The name says what the arrays are made from, so a pair of files does not count in place of another.
    """
    try:
        about = object_or_none(store.read(_sidecar(file)))
    except FileNotFoundError:
        return None
    return about if about is not None and about.get("file", file) == file else None


def check_prepared(store: Store, needed: Iterable[str] = ()) -> list[Damage]:
    """Verify every prepared file, without setting any aside.

    Args:
        store: of the sweep.
        needed: names of files that must be there, besides those whose digest is there.
    """
    names = {name for name, _ in store.list("prepared")}
    with_digest = {name.removesuffix(".json") + ".safetensors" for name in names if name.endswith(".json")}
    files = {name for name in names if name.endswith(".safetensors")}
    damaged = []
    for name in sorted(files | with_digest | {*needed}):
        if name not in files:
            damaged.append(Damage(f"prepared/{name}", "the file is missing"))
        elif (about := about_prepared(store, name)) is None:
            damaged.append(Damage(f"prepared/{name}", "the file with its digest is missing, damaged, or another one"))
        elif about.get("bytes") != store.checksum(f"prepared/{name}"):
            damaged.append(Damage(f"prepared/{name}", "its checksum does not match its bytes"))
    return damaged


def set_aside_prepared(store: Store, needed: Iterable[str], *, complete: bool) -> list[Damage]:
    """Set damaged prepared files aside, so that they are computed again; also gives those that are missing.

    Args:
        store: of the sweep, whose lock is held.
        needed: names of the files that the sweep needs now. Digests of others that are gone are set aside too.
        complete: all units have rows, so that all of these files have been there.
    """
    needed = {*needed}
    damaged = check_prepared(store, needed if complete else ())
    for damage in damaged:
        file = damage.path.removeprefix("prepared/")
        store.move(damage.path, f"damaged/{file}")
        if file not in needed:
            store.move(_sidecar(file), f"damaged/{file.removesuffix('.safetensors')}.json")
    return damaged


def _sidecar(file: str) -> str:
    return f"prepared/{file.removesuffix('.safetensors')}.json"


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
