"""Named arrays as the bytes of one safetensors file that carries a digest of them and of its own name.

So a file with a changed byte, one that was cut off, and one that took the place of another are told from what was
written. Files without a digest, of earlier versions, are read as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import safetensors.numpy

__all__ = ["Spoilt", "digest_of", "encode", "has_digest", "pack", "unpack"]

_DIGEST = "landsweep.digest"


class Spoilt(Exception):
    """The bytes of a file of arrays are not those that were written; the message says how that shows."""


def digest_of(arrays: Mapping[str, np.ndarray[Any, Any]], name: str = "") -> str:
    """Hash of names, types, shapes and values: the same whatever the version of the file format.

    Args:
        arrays: name to array; each contiguous, in C order.
        name: hashed too, where there is one.
    """
    state = blake2b(name.encode(), digest_size=16)
    for key in sorted(arrays):
        a = arrays[key]
        state.update(f"{key}\n{a.dtype.str}\n{a.shape}\n".encode())
        state.update(a.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def encode(arrays: Mapping[str, np.ndarray[Any, Any]], about: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file: the same bytes for the same input, in any process.

    Args:
        arrays: name to array.
        about: text for its header.
    """
    solid = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    data: bytes = safetensors.numpy.save(solid, None if about is None else dict(about))
    if about is None or len(about) < 2:
        return data
    # The library writes the texts in an order that changes from call to call.
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[end:]])


def pack(file: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The bytes of a file with its digest.

    Args:
        file: its path under the results folder, by which alone `unpack` accepts it.
        arrays: name to array.
    """
    solid = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    return encode(solid, {_DIGEST: digest_of(solid, file)})


def unpack(file: str, data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays that `pack` was given.

    Raises:
        Spoilt: these are not the bytes that were written as this file.
    """
    try:
        arrays: dict[str, np.ndarray[Any, Any]] = safetensors.numpy.load(data)
        about = _about(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as e:
        raise Spoilt("it is cut off, or no file of arrays") from e
    if about is not None and about.get(_DIGEST) != digest_of(arrays, file):
        raise Spoilt("its digest is not that of its arrays and its name")
    return arrays


def has_digest(data: bytes) -> bool:
    """Whether a file that `unpack` accepts was proved by a digest; those of earlier versions have none."""
    return _about(data) is not None


def _about(data: bytes) -> dict[str, str] | None:
    """What the header says beside the arrays; None: nothing, as earlier versions wrote it."""
    about: dict[str, str] | None = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    return about
