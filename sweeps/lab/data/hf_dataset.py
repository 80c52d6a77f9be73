"""Folders of the package `datasets`, as `save_to_disk` writes them: read from their files, without the package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.schema import SHORT
from landsweep.orchestrator.storage.inside import check_names
from landsweep.sweeps.lab.data.base import Data
from landsweep.sweeps.lab.data.foreign import check_arrow, check_column, is_lists_of, reads_files
from landsweep.sweeps.lab.data.pictures import Pictures
from landsweep.sweeps.lab.data.shards import OpenFiles, ShardData
from landsweep.sweeps.lab.data.stored import Arrays, Reader, StoredSplit

__all__ = ["HfDataset"]

_READABLE = "numbers, lists of numbers, or images; text is read by the source `documents`"
_DATA, _PARTS, _STATE = "dataset_info.json", "dataset_dict.json", "state.json"


class HfDataset(ShardData):
    """Rows of a data set: numbers, lists of numbers or images as inputs, and a class or numbers as targets.

    Text, and lists of tokens of different lengths, are read by the source `documents`.
    """

    source: Literal["hf_dataset"]
    shards: dict[str, str] = Field(
        {}, description="split to its folder inside of `folder`; none: the splits that the data set has"
    )
    inputs: tuple[str, ...] = Field(
        min_length=1,
        description="columns of the inputs: one with lists or images, or several with a number each",
        json_schema_extra={SHORT: [{"type": "string"}]},
    )
    targets: str = Field("label", description="column of the targets")
    classes: int | None = Field(
        None, ge=2, description="how many classes the targets are; none: those that the data set names"
    )
    pictures: Pictures | None = Field(None, description="how images become inputs: `size`, `channels`, `mean`, `std`")

    @model_validator(mode="before")
    @classmethod
    def _one_column_may_be_text(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
        if isinstance(data, Mapping) and isinstance(data.get("inputs"), str):
            return {**data, "inputs": [data["inputs"]]}
        return data

    def files_by_split(self, base: Path) -> dict[str, list[Path]]:
        place = base / self.folder
        if not place.is_dir():
            raise SpecError(f"data.folder: there is no folder {place}")
        names = self.shards
        if not names and (place / _PARTS).is_file():
            splits = _json(place / _PARTS).get("splits")
            listed = splits if isinstance(splits, list) else [splits]
            check_names(listed, "split", str(place / _PARTS))
            names = {str(name): str(name) for name in listed}
        return {split: _arrow_files(place / name) for split, name in (names or {"train": "."}).items()}

    @reads_files
    def load(self, base: Path) -> Data:
        """The splits, on disk.

        Raises:
            SpecError: files are missing, changed or cut off, or their columns are not what the spec says.
        """
        splits, shape, classes = {}, None, self.classes
        for name, files in self.verified_splits(base).items():
            columns = _Columns(self.inputs, self.targets, self.pictures)
            classes = classes or _named_classes(files[0].parent / _DATA, self.targets)
            reader = _Rows(files, columns)
            if not len(reader):
                raise SpecError(f"data: the split {name!r} of {base / self.folder} has no rows")
            inputs, targets = reader.first(1)
            if shape is not None and inputs.shape[1:] != shape:
                raise SpecError(
                    f"data: inputs of {name!r} have the shape {list(inputs.shape[1:])}, others {list(shape)}"
                )
            shape = inputs.shape[1:]
            if targets.dtype.kind != "f" and classes is None:
                raise SpecError(
                    f"data.classes: {self.targets} holds whole numbers, and the data set does not say how many classes "
                    "there are; give `classes`"
                )
            classes = reader.classes = 0 if targets.dtype.kind == "f" else classes or 0
            splits[name] = StoredSplit(name, reader, self.processes)
        assert shape is not None
        return Data(splits, classes or 0, tuple(shape))


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise SpecError(f"data: {file} can't be read: {e}") from e
    if not isinstance(content, dict):
        raise SpecError(f"data: {file} is not as `save_to_disk` writes it")
    return content


def _arrow_files(folder: Path) -> list[Path]:
    if not (folder / _STATE).is_file():
        raise SpecError(f"data.folder: {folder} has no {_STATE}; `save_to_disk` of the package `datasets` writes one")
    state = _json(folder / _STATE)
    if state.get("_indices_data_files"):
        raise SpecError(
            f"data.folder: {folder} has its rows in another order; call flatten_indices() and save it again"
        )
    try:
        names = [str(entry["filename"]) for entry in state.get("_data_files") or ()]
    except (TypeError, KeyError, IndexError) as e:
        raise SpecError(f"data.folder: {folder / _STATE} does not list files as `save_to_disk` does") from e
    if missing := [n for n in names if "/" in n or not (folder / n).is_file()]:
        raise SpecError(f"data.folder: {folder} lacks {missing[0]}, which its {_STATE} names")
    if not names:
        raise SpecError(f"data.folder: {folder / _STATE} names no files")
    return [folder / name for name in names]


def _named_classes(file: Path, column: str) -> int | None:
    """How many classes a data set names for a column; None: it names none."""
    features = _json(file).get("features") if file.is_file() else None
    feature = features.get(column) if isinstance(features, dict) else None
    names = feature.get("names") if isinstance(feature, dict) else None
    return len(names) if isinstance(names, list) and names else None


class _Columns:
    """Turns rows of a table into inputs and targets.

    Args:
        inputs: names of columns.
        targets: name of a column.
        pictures: how images become inputs.
    """

    def __init__(self, inputs: Sequence[str], targets: str, pictures: Pictures | None) -> None:
        self.inputs, self.targets, self._pictures = tuple(inputs), targets, pictures

    def read(self, rows: Sequence[tuple[Mapping[str, Any], Path]]) -> Arrays:
        """Arrays of some rows, each with the file that it is from; all files lie in one folder.

        Raises:
            SpecError: a value is not what the column should hold.
        """
        folder = rows[0][1].parent
        inputs = _array([self._input(row, file) for row, file in rows], ", ".join(self.inputs), folder)
        targets = _array([row[self.targets] for row, _ in rows], self.targets, folder)
        targets = targets.astype(np.float32)[:, None] if targets.dtype.kind == "f" and targets.ndim == 1 else targets
        return inputs.astype(np.float32), targets.astype(np.float32 if targets.dtype.kind == "f" else np.int64)

    def _input(self, row: Mapping[str, Any], file: Path) -> Any:  # noqa: ANN401 - a number, nested lists, or an array
        values = [row[name] for name in self.inputs]
        if len(values) > 1:
            return values
        if isinstance(values[0], dict) and {"bytes", "path"} <= values[0].keys():
            if self._pictures is None:
                raise SpecError(f"data.pictures: {self.inputs[0]} holds images; say what `size` they should have")
            content = values[0]["bytes"]
            if content is None:
                raise SpecError(f"data: {self.inputs[0]} of {file} holds paths of images, not the images; embed them")
            return self._pictures.decode(content, f"an image in {file}")
        return values[0] if isinstance(values[0], list) else values


def _array(values: Sequence[Any], name: str, folder: Path) -> NDArray[Any]:
    """The values of a column, or of several, as one array of numbers."""
    try:
        array = np.array(values)
    except ValueError as e:
        raise SpecError(f"data: {name} of {folder} has values of different lengths; make them equal") from e
    if array.dtype.kind not in "fiub":
        raise SpecError(
            f"data: {name} of {folder} holds {array.dtype}, which are no numbers; text is read by the source "
            "`documents`, and rows without a value must be taken out"
        )
    return array


class _Rows(Reader):
    """Rows of Arrow files, which are mapped into memory.

    Args:
        files: in order.
        columns: that are read.

    Attributes:
        classes: how many the targets are; 0: they are numbers.
    """

    def __init__(self, files: Sequence[Path], columns: _Columns) -> None:
        self._paths, self._columns, self.classes = list(files), columns, 0
        self._files = OpenFiles(partial(_opened, (*columns.inputs, columns.targets)), _forgotten)
        self._ends = np.cumsum([self._files[path].num_rows for path in files])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, positions: NDArray[np.int64]) -> Arrays:
        rows: list[tuple[Mapping[str, Any], Path]] = []
        for position in positions.tolist():
            number = int(np.searchsorted(self._ends, position, side="right"))
            file = self._paths[number]
            row = position - (int(self._ends[number - 1]) if number else 0)
            rows += [(values, file) for values in self._files[file].slice(row, 1).to_pylist()]
        inputs, targets = self._columns.read(rows)
        if self.classes and ((targets < 0) | (targets >= self.classes)).any():
            raise SpecError(
                f"data.classes: {self._columns.targets} has {targets.min()} to {targets.max()}; classes go from 0 to "
                f"{self.classes - 1}"
            )
        return inputs, targets


def _opened(columns: Sequence[str], path: Path) -> Any:  # noqa: ANN401 - an Arrow table, of a package without types
    """Columns of a file, mapped into memory: nothing is copied.

    Raises:
        SpecError: it is damaged, or lacks a column, or one holds what is neither numbers nor images.
    """
    import pyarrow as pa  # here and below: help and plans start without it

    try:
        mapped = pa.memory_map(str(path))
        check_arrow(path, pa.ipc.MessageReader.open_stream(mapped))
        mapped.seek(0)
        with pa.ipc.open_stream(mapped) as stream:
            table = stream.read_all()
        names = table.schema.names
        if lacking := [n for n in columns if n not in names]:
            raise SpecError(f"data: {path} has no column {lacking[0]!r}; it has {', '.join(names)}")
        if twice := [n for n in columns if names.count(n) > 1]:
            raise SpecError(f"data: {path} has several columns {twice[0]!r}")
        for name in columns:
            check_column(path, name, table[name], _is_readable, _READABLE)
    except (pa.ArrowException, ValueError) as e:
        raise SpecError(f"data: {path} is no Arrow file of `datasets`, or is cut off or damaged: {e}") from e
    return table.select(columns)


def _is_readable(kind: Any) -> bool:  # noqa: ANN401 - an Arrow type
    return _is_number(kind) or is_lists_of(_is_number, kind) or _is_images(kind)


def _is_number(kind: Any) -> bool:  # noqa: ANN401 - an Arrow type
    from pyarrow import types

    plain = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_integer(plain) or types.is_floating(plain) or types.is_boolean(plain))


def _is_images(kind: Any) -> bool:  # noqa: ANN401 - an Arrow type
    """Whether it is bytes and a path, as the package `datasets` stores images."""
    from pyarrow import types

    if not types.is_struct(kind) or not {"bytes", "path"} <= {field.name for field in kind}:
        return False
    plain = (types.is_binary, types.is_large_binary, types.is_string, types.is_large_string, types.is_null)
    return all(any(fits(field.type) for fits in plain) for field in kind)


def _forgotten(table: object) -> None:
    """Arrow unmaps a file when nothing refers to it any more."""
    del table
