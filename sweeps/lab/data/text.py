"""Text as bytes: files of any folder, or the source of Python's standard library, which is always there."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data.base import Data, Dimensions, FolderData, Split
from landsweep.sweeps.lab.data.foreign import reads_files

__all__ = ["Text"]

_GENERATED = ("_sysconfigdata", "sitecustomize", "usercustomize")  # differ between machines


class Text(FolderData):
    """Bytes [context] as tokens of a vocabulary of 256; the target of each position is the byte after it.

    The files are joined in the order of their paths and cut at `max_bytes`; the last part of that is `test`. Sequences
    do not overlap. Without `folder` the files are the running interpreter's own modules, `*.py` of its library folder:
    other versions of Python have other text, which the pinned digest tells.
    """

    source: Literal["text"]
    folder: str = Field(
        "", description="file, or folder with files, relative to the spec file; empty: Python's library"
    )
    pattern: str = Field("**/*.py", description="which files of a folder")
    max_bytes: int = Field(1_000_000, ge=4, description="where the text is cut")
    context: int = Field(64, ge=1, description="bytes in one sequence")
    test_fraction: float = Field(0.1, gt=0, lt=1, description="share of the text, at its end, to test on")

    def files(self, base: Path) -> Sequence[Path]:
        """The files in the order in which they are joined.

        Raises:
            SpecError: there is none.
        """
        if not self.folder:
            library = Path(sysconfig.get_path("stdlib"))
            return sorted(f for f in library.glob("*.py") if not f.name.startswith(_GENERATED))
        place = base / self.folder
        if place.is_file():
            return [place]
        files = [f for f in place.glob(self.pattern) if f.is_file()]
        if not files:
            raise SpecError(f"data.folder: {place} is no file and has no files {self.pattern!r}; see data.pattern")
        return sorted(files, key=lambda f: f.relative_to(place).as_posix())

    def text(self, base: Path) -> bytes:
        """The joined files, cut at `max_bytes`."""
        joined = bytearray()
        for file in self.files(base):
            if len(joined) >= self.max_bytes:
                break
            with file.open("rb") as f:
                joined += f.read(self.max_bytes - len(joined))
        return bytes(joined)

    def pinned(self, base: Path) -> Self:
        """The same with the digest of the text."""
        return self.model_copy(update={"digests": _digests(self.text(base))})

    def dimensions(self) -> Dimensions:
        return Dimensions((self.context,), 256, sequence=True)

    @reads_files
    def load(self, base: Path) -> Data:
        """Splits `train` and `test` on the CPU.

        Raises:
            SpecError: no file, other text than was pinned, or a split shorter than one sequence.
        """
        text = self.text(base)
        if self.digests is not None and _digests(text) != self.digests:
            where = self.folder or f"the library of Python in {sysconfig.get_path('stdlib')}"
            raise SpecError(
                f"data: {where} has other text than the spec was pinned to; put the old files back, or give the sweep "
                "another name to start anew"
            )
        cut = len(text) - round(self.test_fraction * len(text))
        parts = {"train": text[:cut], "test": text[cut:]}
        return Data.of({name: self._split(name, part) for name, part in parts.items()}, 256)

    def _split(self, name: str, text: bytes) -> Split:
        count = (len(text) - 1) // self.context
        if count < 1:
            raise SpecError(
                f"data.context: {self.context} is longer than the text of the split {name!r}, {len(text)} bytes; "
                f"at most {max(len(text) - 1, 0)} fits"
            )
        tokens = torch.from_numpy(np.frombuffer(text, np.uint8).astype(np.int64))
        used = count * self.context
        shape = (count, self.context)
        return Split(tokens[:used].view(shape), tokens[1 : used + 1].view(shape).clone())


def _digests(text: bytes) -> dict[str, str]:
    return {"text": hashlib.blake2b(text, digest_size=16).hexdigest()}
