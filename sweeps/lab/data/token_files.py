"""Token files, of any size: raw ones as nanoGPT writes them, those of llm.c with a header, and NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data, Dimensions
from landsweep.sweeps.lab.data.foreign import reads_files
from landsweep.sweeps.lab.data.shards import OpenFiles, ShardData
from landsweep.sweeps.lab.data.stored import Arrays, Reader, StoredSplit

__all__ = ["TokenFiles", "TokenReader", "TokenShard", "token_splits"]

_HEADERS = {20240520: (1, "<u2"), 20240801: (7, "<u4")}  # of llm.c: magic number to version and type of a token
_HEADER_BYTES = 1024  # 256 int32: magic number, version, count of tokens, zeros
_TYPES = ("u1", "u2", "u4", "i4", "i8")  # of NumPy arrays
_LOOKS = 16  # places of each shard at which tokens are checked before work starts
_LOOK = 4096  # tokens


@dataclass(frozen=True, slots=True)
class TokenShard:
    """Where the tokens of one file are.

    Attributes:
        path: of the file.
        start: first byte.
        tokens: how many there are.
        dtype: of one, as NumPy writes it.
    """

    path: Path
    start: int
    tokens: int
    dtype: str

    @classmethod
    def of(cls, path: Path, dtype: str) -> TokenShard:
        """The shard in a file.

        Args:
            path: of the file.
            dtype: of the tokens of a raw file.

        Raises:
            SpecError: the file is no token file, or is cut off.
        """
        size = path.stat().st_size
        if path.suffix == ".npy":
            return cls._numpy(path, size)
        with path.open("rb") as f:
            header = np.frombuffer(f.read(12), "<i4")
        if len(header) == 3 and (magic := int(header[0])) in _HEADERS:
            version, known = _HEADERS[magic]
            if header[1] != version:
                raise SpecError(
                    f"data: {path} begins as a file of llm.c with the magic number {magic}, but is of version "
                    f"{header[1]}, not {version}; write it as that one, or without a header"
                )
            return cls(path, _HEADER_BYTES, int(header[2]), known)._whole(size)
        width = np.dtype(dtype).itemsize
        if size % width:
            raise SpecError(
                f"data: {path} has {size} bytes, which are no whole number of tokens of {dtype}; it is cut off, or "
                "data.dtype is wrong"
            )
        return cls(path, 0, size // width, dtype)

    @classmethod
    def _numpy(cls, path: Path, size: int) -> TokenShard:
        try:
            with path.open("rb") as f:
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = read[np.lib.format.read_magic(f)](f)
                start = f.tell()
        except (ValueError, KeyError, EOFError) as e:
            raise SpecError(f"data: {path} is no NumPy array: {e}") from e
        if len(shape) != 1 or dtype.str[1:] not in _TYPES or dtype.str[0] == ">":
            raise SpecError(
                f"data: {path} holds {dtype} {list(shape)}; tokens are one row of little-endian {', '.join(_TYPES)}"
            )
        return cls(path, start, int(shape[0]), dtype.str)._whole(size)

    def _whole(self, size: int) -> TokenShard:
        needed = self.start + self.tokens * np.dtype(self.dtype).itemsize
        if size != needed:
            state = "cut off" if size < needed else "longer than that"
            raise SpecError(
                f"data: {self.path} should have {needed} bytes for {self.tokens} tokens, but has {size}: it is {state}"
            )
        return self

    def check(self, vocabulary: int) -> None:
        """Look at tokens here and there, before work starts; all are checked when they are read.

        Raises:
            SpecError: one is beyond the vocabulary.
        """
        width = np.dtype(self.dtype).itemsize
        with self.path.open("rb") as f:
            for i in range(_LOOKS):
                first = max(0, self.tokens - _LOOK) * i // (_LOOKS - 1)
                f.seek(self.start + first * width)
                tokens = np.frombuffer(f.read(min(_LOOK, self.tokens) * width), self.dtype)
                _check_tokens(tokens, vocabulary, self.path, first)


def _check_tokens(tokens: NDArray[Any], vocabulary: int, path: Path, first: int) -> None:
    """Refuse tokens that the vocabulary does not have.

    Args:
        tokens: [n], next to each other in the file.
        vocabulary: how many there are.
        path: of the file, for the message.
        first: number of the first one in the file.

    Raises:
        SpecError: one is too large, or negative.
    """
    outside = (tokens >= vocabulary) | (tokens < 0)
    if outside.any():
        at = int(outside.argmax())
        raise SpecError(
            f"data.vocabulary: {path} has the token {int(tokens[at])} at place {first + at}, but the vocabulary has "
            f"{vocabulary}, from 0; raise it, or check data.dtype ({tokens.dtype.name}) of a raw file"
        )


class TokenReader(Reader):
    """Sequences of tokens and those that follow; sequences do not overlap, and none goes over the end of a shard.

    Files are read, not mapped: a mapped file that is cut off later kills its process, and its pages count as memory.

    Args:
        shards: in order.
        context: tokens in one sequence.
        vocabulary: how many tokens there are.
    """

    def __init__(self, shards: Sequence[TokenShard], context: int, vocabulary: int) -> None:
        self._shards, self._context, self._vocabulary = list(shards), context, vocabulary
        self._ends = np.cumsum([max(0, s.tokens - 1) // context for s in shards])  # sequences up to each shard's end
        self._files = OpenFiles(_open, os.close)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, positions: NDArray[np.int64]) -> Arrays:
        tokens = np.empty((len(positions), self._context + 1), np.int64)
        shards = np.searchsorted(self._ends, positions, side="right")
        for row, position, number in zip(tokens, positions.tolist(), shards.tolist(), strict=True):
            shard = self._shards[number]
            first = (position - (int(self._ends[number - 1]) if number else 0)) * self._context
            width = np.dtype(shard.dtype).itemsize
            read = os.pread(self._files[shard.path], len(row) * width, shard.start + first * width)
            if len(read) < len(row) * width:
                raise SpecError(f"data: {shard.path} has become shorter since the sweep began; put the old file back")
            row[:] = stored = np.frombuffer(read, shard.dtype)
            if row.max() >= self._vocabulary or row.min() < 0:
                _check_tokens(stored, self._vocabulary, shard.path, first)
        return tokens[:, :-1], tokens[:, 1:]


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def token_splits(shards: Mapping[str, Sequence[TokenShard]], context: int, vocabulary: int, processes: int) -> Data:
    """Data whose splits are sequences of tokens on disk.

    Raises:
        SpecError: a split is shorter than one sequence.
    """
    splits = {}
    for name, files in shards.items():
        reader = TokenReader(files, context, vocabulary)
        if not len(reader):
            tokens = max(s.tokens for s in files)
            raise SpecError(
                f"data.context: {context} is longer than the split {name!r}, of which the longest file has {tokens} "
                f"tokens; at most {max(tokens - 1, 0)} fits"
            )
        splits[name] = StoredSplit(name, reader, processes)
    return Data(splits, vocabulary, (context,))


class TokenFiles(ShardData):
    """Tokens [context] from files on disk; the target of each position is the token after it.

    A file is one of: raw little-endian tokens (`.bin` of nanoGPT), the same after a header of 256 int32 (llm.c:
    magic number 20240520 for uint16, 20240801 for uint32), or a NumPy array [n] of whole numbers (`.npy`).
    """

    source: Literal["token_files"]
    vocabulary: int = Field(ge=2, le=2**31, description="how many tokens there are; all are below it")
    context: int = Field(1024, ge=1, description="tokens in one sequence")
    dtype: Literal["uint8", "uint16", "uint32"] = Field(
        "uint16", description="of the tokens in raw files; the others say it themselves"
    )

    def holds(self, file: Path) -> bool:
        return super().holds(file) and file.suffix in (".bin", ".npy")

    def dimensions(self) -> Dimensions:
        return Dimensions((self.context,), self.vocabulary, sequence=True, splits=tuple(self.shards))

    @reads_files
    def load(self, base: Path) -> Data:
        """The splits, on disk.

        Raises:
            SpecError: files are missing, cut off or changed, or have tokens beyond the vocabulary.
        """
        dtype = f"<u{np.dtype(self.dtype).itemsize}" if self.dtype != "uint8" else "|u1"
        shards = {name: [TokenShard.of(f, dtype) for f in files] for name, files in self.verified_splits(base).items()}
        for shard in (s for files in shards.values() for s in files):
            shard.check(self.vocabulary)
        return token_splits(shards, self.context, self.vocabulary, self.processes)
