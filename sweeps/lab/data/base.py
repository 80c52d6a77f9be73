"""What every data source gives, and what they share: pinning files, checking arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.streams import generator

__all__ = [
    "Data",
    "Dimensions",
    "DrawnData",
    "FolderData",
    "ImageData",
    "InputKind",
    "Source",
    "Split",
    "images",
    "labels",
    "pin",
    "required",
]

InputKind: TypeAlias = Literal["vectors", "images", "tokens"]


@dataclass(frozen=True, slots=True)
class Split:
    """Samples and what they should give.

    Attributes:
        inputs: [n, *shape], floating point; or [n, context] whole numbers from 0 for tokens.
        targets: [n] whole numbers from 0 for classes, [n, context] for the classes of each position, or floating point
            [n, outputs].
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def cast(self, dtype: torch.dtype) -> Self:
        """The same with all floating-point numbers of one type, that of the weights; whole numbers stay."""
        inputs, targets = (t.to(dtype) if t.is_floating_point() else t for t in (self.inputs, self.targets))
        return type(self)(inputs, targets)

    def to(self, device: str) -> Self:
        """The same samples on a device."""
        return type(self)(self.inputs.to(device), self.targets.to(device))

    def part(self, start: int, stop: int | None) -> Split:
        """The samples from `start` up to `stop`, in memory; None: to the end."""
        return Split(self.inputs[start:stop], self.targets[start:stop])

    def head(self, n: int | None) -> Split:
        """The first n samples, or as many as there are; None: all."""
        return self.part(0, n)


@dataclass(frozen=True, slots=True)
class Data:
    """Named splits on one device.

    Attributes:
        splits: name to samples.
        classes: how many classes the targets have, for tokens the size of the vocabulary; 0 where targets are no
            classes.
        shape: shape of one input, without the dimension of samples.
    """

    splits: Mapping[str, Split]
    classes: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, splits: Mapping[str, Split], classes: int | None = None) -> Self:
        """Data with shape, and unless given classes, read off the splits, of which there must be one with samples.

        Raises:
            SpecError: a label, or a token of a sequence, is not one of 0 to classes - 1.
        """
        first = next(iter(splits.values()))
        if classes is None:
            whole = [t for s in splits.values() for t in (s.inputs, s.targets) if not t.is_floating_point()]
            regression = first.targets.is_floating_point()
            classes = 0 if regression else max((int(t.max()) for t in whole), default=-1) + 1
        for name, split in splits.items():
            _check_range(f"the labels of split {name!r}", split.targets, classes)
            if split.targets.ndim == 2 and not split.targets.is_floating_point():  # else whole inputs may be features
                _check_range(f"the tokens of split {name!r}", split.inputs, classes)
        return cls(dict(splits), classes, tuple(first.inputs.shape[1:]))

    @property
    def outputs(self) -> int:
        """How many numbers a network must give for each sample, or for each position of a sequence."""
        if self.classes:
            return self.classes
        targets = self._example().targets
        return targets[0].numel() if len(targets) and targets.is_floating_point() else 0

    @property
    def kind(self) -> InputKind:
        """What one input is: whole numbers are tokens, three axes are an image [channels, height, width]."""
        if not self._example().inputs.is_floating_point():
            return "tokens"
        return "images" if len(self.shape) == 3 else "vectors"

    @property
    def sequence(self) -> bool:
        """Whether there is a class for each position [n, context], rather than for each sample."""
        targets = self._example().targets
        return not targets.is_floating_point() and targets.ndim == 2

    def _example(self) -> Split:
        return next(iter(self.splits.values())).head(1)

    def to(self, device: str) -> Data:
        """The same data on a device; what is on disk stays there, and is put on the device as it is read."""
        return Data({k: s.to(device) for k, s in self.splits.items()}, self.classes, self.shape)

    def cast(self, dtype: torch.dtype) -> Data:
        """The same with all floating-point numbers of one type."""
        return Data({k: s.cast(dtype) for k, s in self.splits.items()}, self.classes, self.shape)


def _check_range(what: str, values: Tensor, classes: int) -> None:
    """Refuse numbers that are no class. Torch would leave out -100 of cross entropy, but not of an accuracy."""
    if values.is_floating_point() or not values.numel():
        return
    least, most = (int(v) for v in values.aminmax())
    if least < 0 or (classes and most >= classes):
        allowed = f"from 0 to {classes - 1}" if classes else "from 0"
        raise SpecError(
            f"data: {what} must be whole numbers {allowed}, but {least if least < 0 else most} is among them; "
            "a sample that should not count must not be in the data"
        )


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What the spec of a source says about its data before any is loaded.

    Attributes:
        shape: shape of one input, without the dimension of samples.
        outputs: numbers that a network gives for each sample, or for each position of a sequence.
        sequence: whether inputs are tokens [context] with a class for each position.
        regression: whether targets are numbers [outputs] instead of classes.
        splits: names of the splits.
    """

    shape: tuple[int, ...]
    outputs: int
    sequence: bool = False
    regression: bool = False
    splits: tuple[str, ...] = ("train", "test")

    @property
    def tokens(self) -> int:
        """Tokens in one sample; 1 where samples are no sequences."""
        return self.shape[0] if self.sequence else 1


class Source(Section):
    """Where data come from; see `landsweep.sweeps.lab.data.DataSpec` for all of them."""

    def load(self, base: Path) -> Data:
        """The splits on the CPU.

        Args:
            base: folder that relative paths start from.

        Raises:
            SpecError: they can't be had; the message says what to change.
        """
        raise NotImplementedError

    def pinned(self, base: Path) -> Self:
        """The same with the digest of every file that it is read from; by default there is none.

        Raises:
            SpecError: a file is missing.
        """
        del base
        return self

    def dimensions(self) -> Dimensions | None:
        """Shapes and splits, from the spec alone; None where only loading tells them."""
        return None

    def stand_in(self, rows: int, base: Path) -> Data:
        """At most `rows` samples of each split with the shapes of the real ones, to time a training on."""
        data = self.load(base)
        return Data({name: s.head(rows) for name, s in data.splits.items()}, data.classes, data.shape)


class DrawnData(Source):
    """Samples drawn from a seed, as many as the fields `train` and `test` say."""

    def stand_in(self, rows: int, base: Path) -> Data:
        """The first `rows` training samples and one test sample: the others are not drawn."""
        return self.model_copy(update={"train": rows, "test": 1}).load(base)


class ImageData(Source):
    """Images that come as a training and a test split; a share of the training images can be held back."""

    validation: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda v: v is None,
        description="how many of the last training images become the split `validation`, for choosing settings",
    )

    @property
    def split_names(self) -> tuple[str, ...]:
        """`train`, `validation` where it is asked for, `test`."""
        return ("train", *(("validation",) if self.validation else ()), "test")

    def parted(self, train: Split, test: Split) -> Data:
        """Splits `train` and `test`, and `validation` where it is asked for.

        Raises:
            SpecError: it would leave no training image.
        """
        n = self.validation or 0
        if n >= len(train):
            raise SpecError(f"data.validation: {n} of {len(train)} training images leave none; give a smaller number")
        cut = len(train) - n
        splits = {"train": Split(train.inputs[:cut], train.targets[:cut])}
        if n:
            splits["validation"] = Split(train.inputs[cut:], train.targets[cut:])
        return Data.of({**splits, "test": test})


def pin(file: Path) -> str:
    """Digest of a file's content: 32 hexadecimal digits."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class FolderData(Source):
    """A data set in files of a local folder. The files' digests, not the folder's path, are its identity."""

    folder: str = Field(description="folder with the files, relative to the spec file or absolute")
    digests: dict[str, str] | None = Field(None, description="digest of each file; filled in when the spec is read")

    def files(self, base: Path) -> Sequence[Path]:
        """The files this data set is read from.

        Raises:
            SpecError: one is missing.
        """
        raise NotImplementedError

    def stand_in(self, rows: int, base: Path) -> Data:
        """`rows` random samples in each split: no file need be there."""
        data = self.dimensions()
        if data is None:
            return super().stand_in(rows, base)
        if data.sequence:
            tokens = torch.randint(data.outputs, (rows, *data.shape), generator=generator(0, "tokens"))
            split = Split(tokens, tokens)
        else:
            pixels = torch.rand((rows, *data.shape), generator=generator(0, "pixels"))
            split = Split(pixels, torch.arange(rows) % data.outputs)
        return Data.of(dict.fromkeys(data.splits, split), data.outputs)

    def pinned(self, base: Path) -> Self:
        """The same with the digest of every file."""
        return self.model_copy(update={"digests": {f.name: pin(f) for f in self.files(base)}})

    def verified(self, base: Path) -> Sequence[Path]:
        """The files, each with the content that was pinned.

        Raises:
            SpecError: one is missing or has other content than when the sweep began.
        """
        files = self.files(base)
        for file in files:
            if self.digests is not None and pin(file) != self.digests.get(file.name):
                raise SpecError(
                    f"data: {file} has other content than the spec was pinned to; "
                    "put the old file back, or give the sweep another name to start anew"
                )
        return files


def required(folder: Path, names: Sequence[Sequence[str]], source: str, where: str) -> list[Path]:
    """For each entry the first of its alternative names that is a file in the folder.

    Raises:
        SpecError: no such folder, or no file of any of an entry's names.
    """
    if not folder.is_dir():
        raise SpecError(f"data.folder: there is no folder {folder}; {source} is read from local files: {where}")
    files = [next((folder / n for n in options if (folder / n).is_file()), None) for options in names]
    missing = [" or ".join(options) for options, file in zip(names, files, strict=True) if file is None]
    if missing:
        raise SpecError(f"data.folder: {folder} lacks {', '.join(missing)}; {source} needs {len(names)} files: {where}")
    return [file for file in files if file is not None]


def images(pixels: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels [n, channels, h, w] of 0 to 255 as float32, normalised per channel."""
    scaled = torch.from_numpy(pixels.astype(np.float32) / 255)
    shape = (1, len(mean), 1, 1)
    return (scaled - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def labels(values: NDArray[Any]) -> Tensor:
    """Labels [n] as int64."""
    return torch.from_numpy(values.astype(np.int64))
