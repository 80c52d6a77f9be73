"""Token files that are made from documents: written once on each machine, while memory stays flat."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.unit import digest
from landsweep.sweeps.lab.data.token_files import TokenShard
from landsweep.sweeps.lab.streams import counted, stream

__all__ = ["Encoder", "cache_folder", "cached_shards"]

Document: TypeAlias = str | list[int]

_VERSION = 2
_BATCH = 1000  # documents
_LARGEST = 1 << 24  # characters, or tokens, of a batch; the last document may be longer


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes tokens of text.

    Attributes:
        tokenizer: of the package `tokenizers`; None: bytes are tokens.
        end: token after each document; None: there is none.
        vocabulary: how many tokens there are.
    """

    tokenizer: Any
    end: int | None
    vocabulary: int

    @classmethod
    def of(cls, file: Path | None, end: str | int | None, vocabulary: int | None) -> Self:
        """The encoder of a tokenizer file.

        Raises:
            SpecError: the package is not there, the file is no tokenizer, or has no such token.
        """
        if file is None:
            if isinstance(end, str):
                raise SpecError(f"data.end: {end!r} is the text of a token, which bytes don't have; give its number")
            return cls(None, 256 if end is None else end, vocabulary or 257)._checked()
        tokenizer = _tokenizer(file)
        if isinstance(end, str):
            number = tokenizer.token_to_id(end)
            if number is None:
                raise SpecError(f"data.end: the tokenizer {file} has no token {end!r}")
            end = int(number)
        return cls(tokenizer, end, vocabulary or tokenizer.get_vocab_size())._checked()

    def _checked(self) -> Self:
        least = 256 if self.tokenizer is None else self.tokenizer.get_vocab_size()
        if self.vocabulary < least:
            raise SpecError(f"data.vocabulary: {self.vocabulary} is less than the {least} tokens of the tokenizer")
        if self.end is not None and not 0 <= self.end < self.vocabulary:
            raise SpecError(f"data.end: {self.end} is no token; they go from 0 to {self.vocabulary - 1}")
        return self

    def encode(self, documents: Sequence[Document]) -> list[list[int]]:
        """The tokens of each document, with the end."""
        texts = [d for d in documents if isinstance(d, str)]
        if self.tokenizer is None:
            encoded = iter([list(t.encode()) for t in texts])
        else:
            encoded = iter([e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)])
        end = [] if self.end is None else [self.end]
        return [(next(encoded) if isinstance(d, str) else d) + end for d in documents]


def _tokenizer(file: Path) -> Any:  # noqa: ANN401 - of a package that may not be there
    try:
        from tokenizers import Tokenizer
    except ImportError as e:
        raise SpecError("data.tokenizer: needs the package tokenizers: pip install 'landsweep[text]'") from e
    try:
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()  # documents are neither cut nor filled up
        tokenizer.no_padding()
        return tokenizer
    except Exception as e:  # the package raises nothing more special
        raise SpecError(f"data.tokenizer: {file} is no tokenizer file: {e}") from e


def cache_folder(kind: str) -> Path:
    """Where files of a kind that can be made again lie on this machine; any of them may be deleted at any time."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "landsweep" / kind
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def cached_shards(
    identity: object,
    documents: Callable[[str], Iterator[tuple[Path, Document]]],
    splits: Sequence[str],
    encoder: Encoder,
    test_fraction: float | None,
) -> dict[str, list[TokenShard]]:
    """For each split its tokens, as one file in the cache.

    Args:
        identity: all that the tokens depend on, beside the encoder's end and vocabulary.
        documents: of a split, each with the file it comes from.
        splits: their names.
        encoder: of the documents.
        test_fraction: share of the documents of `train` that become `test`; None: none.

    Raises:
        SpecError: a token is beyond the vocabulary, or a split has no document.
    """
    name = digest([_VERSION, identity, encoder.end, encoder.vocabulary], size=16)
    folder = cache_folder("tokens") / name
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(mode=0o700)
            counts = dict.fromkeys((*splits, *(("test",) if test_fraction else ())), 0)
            for split in splits:
                _write(partial, split, documents(split), encoder, test_fraction, counts)
            (partial / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
            partial.rename(folder)
    counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
    if empty := [split for split, n in counts.items() if not n]:
        raise SpecError(f"data: there are no documents in the split {empty[0]!r}")
    dtype = _dtype(encoder)
    shards = {split: TokenShard(folder / f"{split}.bin", 0, n, dtype) for split, n in counts.items()}
    for shard in shards.values():
        if not shard.path.is_file() or shard.path.stat().st_size != shard.tokens * np.dtype(dtype).itemsize:
            raise SpecError(f"data: {shard.path} in the cache is damaged; delete {folder}, and it is made again")
    return {split: [shard] for split, shard in shards.items()}


def _dtype(encoder: Encoder) -> str:
    return "<u2" if encoder.vocabulary <= 1 << 16 else "<u4"


def _write(
    folder: Path,
    split: str,
    documents: Iterator[tuple[Path, Document]],
    encoder: Encoder,
    test_fraction: float | None,
    counts: dict[str, int],
) -> None:
    """Append the tokens of documents to the files of their splits, and count them."""
    root, number = stream(0, "test documents"), 0
    with ExitStack() as stack:
        files: Mapping[str, BinaryIO] = {s: stack.enter_context((folder / f"{s}.bin").open("ab")) for s in counts}
        for batch in _batches(documents):
            for (source, _), tokens in zip(batch, encoder.encode([d for _, d in batch]), strict=True):
                array = np.asarray(tokens, np.int64)
                _check(array, encoder.vocabulary, source)
                held_out = test_fraction is not None and counted(root, number) < test_fraction * 2**63
                place = "test" if held_out else split
                files[place].write(array.astype(_dtype(encoder)).tobytes())
                counts[place] += len(array)
                number += 1


def _batches(documents: Iterator[tuple[Path, Document]]) -> Iterator[list[tuple[Path, Document]]]:
    """Documents in their order, some at once, which fit into memory whatever their lengths."""
    batch, size = list[tuple[Path, Document]](), 0
    for document in documents:
        batch.append(document)
        size += len(document[1])
        if len(batch) == _BATCH or size >= _LARGEST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check(tokens: NDArray[np.int64], vocabulary: int, source: Path) -> None:
    outside = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if len(outside):
        raise SpecError(
            f"data.vocabulary: {source} has the token {outside[0]}, but the vocabulary has {vocabulary}, from 0"
        )


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Only one process of this machine at a time; the others wait, and then find what it has made."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
